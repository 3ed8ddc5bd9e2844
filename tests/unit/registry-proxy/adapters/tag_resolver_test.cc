#include "registry-proxy/http/tag_resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "tests/unit/numbered.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::proxy {
namespace {

using ::testing::SizeIs;

PeerId PeerOf(int number) {
  PeerId peer;
  peer.bytes[0] = static_cast<std::byte>(number);
  return peer;
}

class TagResolverTest : public ::testing::Test {
 protected:
  using UpstreamDone = std::function<void(Result<TagEntry>)>;

  TagResolverTest() { Restart({}); }

  void Restart(const std::vector<TagEntry>& kept) {
    resolver_ = std::make_unique<TagResolver>(
        TagResolver::Ports{loop_,
                           [this](const std::string& registry, const std::string& repository,
                                  const std::string& tag, UpstreamDone done) {
                             asked_.push_back(TagName(registry, repository, tag));
                             waiting_.push_back(std::move(done));
                           },
                           [](const std::string&) { return Duration(std::chrono::seconds(60)); },
                           [this](const std::string&) { return in_catalog_; },
                           [this](const std::string&) { return in_inventory_; },
                           [this](const TagEntry& entry) { learnt_.push_back(entry); },
                           [this](const std::string& name) { forgotten_.push_back(name); }},
        kept);
  }

  // Asks on the loop; the answer comes into the inbox.
  using Answers = test::Inbox<Result<TagAnswer>>;
  void Ask(Answers& answers, const std::string& tag = "v1") {
    loop_.Ask([&] {
      resolver_->Resolve("reg.test", "app/web", tag,
                         [&answers](Result<TagAnswer> answer) { answers.Put(std::move(answer)); });
      return 0;
    });
  }
  // The upstream's word on the oldest question.
  void Say(Result<TagEntry> answer) {
    ASSERT_FALSE(waiting_.empty());
    auto done = std::move(waiting_.front());
    waiting_.pop_front();
    done(std::move(answer));
    loop_.Settle();
  }
  void Say(int digest) { Say(TagEntry{"", DigestNo(digest), "type", Bytes(100), {}}); }
  static Error Away() { return {Code::kRetryLater, "the registry is away"}; }
  void Learn(int digest) {
    Answers answers;
    Ask(answers);
    Say(digest);
    ASSERT_TRUE(answers.Take()->ok());
  }
  // Expects an answer that has come already.
  static TagAnswer Take(Answers& answers) {
    EXPECT_EQ(answers.size(), 1U);
    if (answers.size() == 0) return {};
    auto answer = answers.Take();
    EXPECT_TRUE(answer->ok());
    return answer->ok() ? **answer : TagAnswer{};
  }

  test::TestLoop loop_;
  std::vector<std::string> asked_;
  std::deque<UpstreamDone> waiting_;
  std::vector<index::CatalogImage> in_catalog_;
  std::optional<Digest> in_inventory_;
  std::vector<TagEntry> learnt_;
  std::vector<std::string> forgotten_;
  std::unique_ptr<TagResolver> resolver_;
};

TEST_F(TagResolverTest, AsksTheUpstreamAndKeepsItsAnswerFresh) {
  Answers answers;
  Ask(answers);
  EXPECT_EQ(answers.size(), 0U);
  Say(1);
  const TagAnswer first = Take(answers);
  EXPECT_EQ(first.digest, DigestNo(1));
  EXPECT_EQ(first.media_type, "type");
  EXPECT_EQ(first.size, Bytes(100));
  EXPECT_FALSE(first.stale);
  ASSERT_THAT(learnt_, SizeIs(1));
  EXPECT_EQ(learnt_[0].name, "reg.test/app/web:v1");

  loop_.Advance(std::chrono::seconds(59));
  Ask(answers);
  const TagAnswer again = Take(answers);
  EXPECT_EQ(again.digest, DigestNo(1));
  EXPECT_THAT(asked_, SizeIs(1));
  EXPECT_EQ(first.origin.ToString(), "upstream");
  EXPECT_EQ(again.origin.ToString(), "local");

  loop_.Advance(std::chrono::seconds(2));
  Ask(answers);
  Say(2);
  EXPECT_EQ(Take(answers).digest, DigestNo(2));
  EXPECT_THAT(asked_, SizeIs(2));
}

TEST_F(TagResolverTest, AsksOneQuestionForMany) {
  Answers answers;
  for (int i = 0; i < 5; ++i) Ask(answers);
  Ask(answers, "v2");
  EXPECT_THAT(asked_, SizeIs(2));
  Say(1);
  EXPECT_EQ(answers.size(), 5U);
  Say(2);
  EXPECT_EQ(answers.size(), 6U);
}

TEST_F(TagResolverTest, AnswersAsLastKnownWhenTheUpstreamIsAway) {
  Learn(1);
  loop_.Advance(std::chrono::minutes(5));
  Answers answers;
  Ask(answers);
  Say(Away());
  const TagAnswer answer = Take(answers);
  EXPECT_EQ(answer.digest, DigestNo(1));
  EXPECT_TRUE(answer.stale);
}

TEST_F(TagResolverTest, DoesNotWaitForARegistryThatIsResting) {
  Learn(1);
  loop_.Advance(std::chrono::minutes(5));
  Answers answers;
  Ask(answers);
  Say(Away());
  Take(answers);
  Ask(answers);
  EXPECT_TRUE(Take(answers).stale);
  EXPECT_THAT(asked_, SizeIs(2));
  // What nobody knows is asked all the same.
  Ask(answers, "unknown");
  EXPECT_THAT(asked_, SizeIs(3));
  Say(Away());
  EXPECT_FALSE(answers.Take()->ok());
  // And it is asked again once it has rested.
  loop_.Advance(kRestAfterTrouble);
  Ask(answers);
  EXPECT_THAT(asked_, SizeIs(4));
  Say(3);
  const TagAnswer answer = Take(answers);
  EXPECT_EQ(answer.digest, DigestNo(3));
  EXPECT_FALSE(answer.stale);
}

TEST_F(TagResolverTest, AnswersAsLastKnownWhenTheUpstreamIsSlow) {
  Learn(1);
  loop_.Advance(std::chrono::minutes(5));
  Answers answers;
  Ask(answers);
  loop_.Advance(kStaleAfter - std::chrono::milliseconds(1));
  EXPECT_EQ(answers.size(), 0U);
  loop_.Advance(std::chrono::milliseconds(1));
  EXPECT_TRUE(Take(answers).stale);
  // Whoever comes while the question is still open waits no longer, and asks no second one.
  Ask(answers);
  EXPECT_TRUE(Take(answers).stale);
  EXPECT_THAT(asked_, SizeIs(2));
  // The late answer counts.
  Say(2);
  Ask(answers);
  EXPECT_EQ(Take(answers).digest, DigestNo(2));
}

TEST_F(TagResolverTest, WaitsForASlowUpstreamWhenNothingIsKnown) {
  Answers answers;
  Ask(answers);
  loop_.Advance(kStaleAfter * 3);
  EXPECT_EQ(answers.size(), 0U);
  Ask(answers);
  EXPECT_THAT(asked_, SizeIs(1));
  Say(1);
  EXPECT_EQ(answers.size(), 2U);
}

TEST_F(TagResolverTest, TheTimerOfAnEarlierQuestionDoesNotCutALaterOneShort) {
  in_inventory_ = DigestNo(7);
  Answers answers;
  Ask(answers);
  loop_.Advance(kStaleAfter - std::chrono::milliseconds(1));
  Say(Error{Code::kDenied, "it wants a password"});
  EXPECT_FALSE(answers.Take()->ok());
  Ask(answers);
  loop_.Advance(std::chrono::milliseconds(1));
  EXPECT_EQ(answers.size(), 0U);
  loop_.Advance(kStaleAfter);
  EXPECT_EQ(Take(answers).digest, DigestNo(7));
}

TEST_F(TagResolverTest, GoesByMostPeersWhenTheUpstreamIsAway) {
  in_catalog_ = {
      {"n", DigestNo(1), PeerOf(1)}, {"n", DigestNo(2), PeerOf(2)}, {"n", DigestNo(2), PeerOf(3)}};
  Answers answers;
  Ask(answers);
  Say(Away());
  const TagAnswer answer = Take(answers);
  EXPECT_EQ(answer.digest, DigestNo(2));
  EXPECT_TRUE(answer.stale);
  EXPECT_EQ(answer.media_type, "");
  EXPECT_EQ(answer.size, Bytes(-1));
  EXPECT_EQ(answer.origin.ToString(), "peers");
}

TEST_F(TagResolverTest, WhatThisHostHoldsComesBeforeWhatPeersSay) {
  in_catalog_ = {{"n", DigestNo(2), PeerOf(2)}, {"n", DigestNo(2), PeerOf(3)}};
  in_inventory_ = DigestNo(7);
  Answers answers;
  Ask(answers);
  Say(Away());
  EXPECT_EQ(Take(answers).digest, DigestNo(7));
}

TEST_F(TagResolverTest, ForgetsATagThatTheUpstreamSaysIsGone) {
  Learn(1);
  loop_.Advance(std::chrono::minutes(5));
  Answers answers;
  Ask(answers);
  Say(Error{Code::kNotFound, "no such tag"});
  auto gone = answers.Take();
  ASSERT_FALSE(gone->ok());
  EXPECT_EQ(gone->error().code, Code::kNotFound);
  EXPECT_EQ(forgotten_, std::vector<std::string>{"reg.test/app/web:v1"});
  Ask(answers);
  Say(Away());
  auto away = answers.Take();
  ASSERT_FALSE(away->ok());
  EXPECT_EQ(away->error().code, Code::kRetryLater);
}

TEST_F(TagResolverTest, ARefusalIsPassedOnThoughAnAnswerIsKnown) {
  Learn(1);
  loop_.Advance(std::chrono::minutes(5));
  Answers answers;
  Ask(answers);
  Say(Error{Code::kDenied, "it wants a password"});
  auto denied = answers.Take();
  ASSERT_FALSE(denied->ok());
  EXPECT_EQ(denied->error().code, Code::kDenied);
}

TEST_F(TagResolverTest, KnowsWhatAnEarlierRunKept) {
  Learn(1);
  const std::vector<TagEntry> kept = learnt_;
  Restart(kept);
  Answers answers;
  Ask(answers);
  EXPECT_EQ(Take(answers).digest, DigestNo(1));
  EXPECT_THAT(asked_, SizeIs(1));
}

TEST_F(TagResolverTest, WhoeverIsAnsweredMayAskAgainAtOnce) {
  Answers answers;
  loop_.Ask([&] {
    resolver_->Resolve("reg.test", "app/web", "v1", [&](const Result<TagAnswer>& answer) {
      EXPECT_FALSE(answer.ok());
      resolver_->Resolve("reg.test", "app/web", "v1",
                         [&](Result<TagAnswer> again) { answers.Put(std::move(again)); });
    });
    return 0;
  });
  Say(Error{Code::kNotFound, "no such tag"});
  EXPECT_THAT(asked_, SizeIs(2));
  Say(4);
  EXPECT_EQ(Take(answers).digest, DigestNo(4));
}

}  // namespace
}  // namespace shoal::proxy
