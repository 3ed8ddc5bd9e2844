#include "agent/arbiters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "tests/unit/numbered.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::agent {
namespace {

using std::chrono::milliseconds;

// A lead that none of the peers is.
index::SwarmAnswer Says(int lead) { return {PeerNo(lead), milliseconds(900), {PeerNo(lead)}}; }

class ArbitersTest : public ::testing::Test {
 protected:
  void Make(bool server) {
    Arbiters::Ports ports{loop_, PeerNo(0), [this](const Digest&) { return living_; },
                          [this](const PeerId& peer, const index::SwarmAsk&, Arbiters::Done done) {
                            ++askings_;
                            asked_.insert_or_assign(peer, std::move(done));
                          },
                          nullptr};
    if (server) {
      ports.ask_server = [this](const index::SwarmAsk&, Arbiters::Done done) {
        server_ = std::move(done);
      };
    }
    arbiters_ = std::make_unique<Arbiters>(std::move(ports));
  }
  void Ask(bool whole = false, bool wants_lead = true) {
    loop_.Ask([this, whole, wants_lead] {
      arbiters_->Ask(
          {.peer = PeerNo(0), .wants_lead = wants_lead, .whole = whole, .progress = askings_},
          [this](const std::vector<PeerId>& peers) {
            met_.insert(met_.end(), peers.begin(), peers.end());
          },
          [this](const std::optional<index::SwarmAnswer>& answer) {
            ++done_;
            answer_ = answer;
          });
      return 0;
    });
  }
  // None of the arbiters is this host.
  void AskOthers() {
    for (int n = 1; n < 100 && (living_.size() < kArbiters || AreWeRanked()); ++n) {
      living_.push_back(PeerNo(n));
    }
    Make(false);
    Ask();
  }
  void Answer(const Arbiters::Done& done, std::optional<index::SwarmAnswer> answer) {
    loop_.Ask([&] {
      done(std::move(answer));
      return 0;
    });
  }
  [[nodiscard]] std::vector<PeerId> Ranked() const {
    auto all = living_;
    all.push_back(PeerNo(0));
    return index::RankArbiters(Digest{}, all, kArbiters);
  }
  [[nodiscard]] bool AreWeRanked() const { return std::ranges::count(Ranked(), PeerNo(0)) > 0; }

  test::TestLoop loop_;
  std::vector<PeerId> living_;
  std::map<PeerId, Arbiters::Done> asked_;
  Arbiters::Done server_;
  std::unique_ptr<Arbiters> arbiters_;
  std::vector<PeerId> met_;
  int askings_ = 0;
  int done_ = 0;
  std::optional<index::SwarmAnswer> answer_;
};

TEST_F(ArbitersTest, ALoneHostIsItsOwn) {
  Make(false);
  EXPECT_FALSE(arbiters_->any(Digest{}));
  Ask();
  ASSERT_EQ(done_, 1);
  EXPECT_EQ(answer_->lead, PeerNo(0));
}

TEST_F(ArbitersTest, AsksTheBestRankedAndWaitsForTheBest) {
  // So many others that we are none of the best.
  AskOthers();
  const auto ranked = Ranked();
  ASSERT_EQ(asked_.size(), kArbiters);
  Answer(asked_.at(ranked[2]), Says(202));
  Answer(asked_.at(ranked[1]), Says(201));
  EXPECT_EQ(done_, 0) << "the best may still answer";
  EXPECT_EQ(met_, (std::vector{PeerNo(202), PeerNo(201)})) << "members are passed on at once";
  Answer(asked_.at(ranked[0]), Says(200));
  ASSERT_EQ(done_, 1);
  EXPECT_EQ(answer_->lead, PeerNo(200));
}

TEST_F(ArbitersTest, ADeadOneIsNotWaitedForLong) {
  AskOthers();
  Answer(asked_.at(Ranked()[1]), Says(201));
  Answer(asked_.at(Ranked()[2]), std::nullopt);
  loop_.Advance(kArbiterPatience - milliseconds(1));
  EXPECT_EQ(done_, 0);
  loop_.Advance(milliseconds(1));
  ASSERT_EQ(done_, 1);
  EXPECT_EQ(answer_->lead, PeerNo(201));
  Answer(asked_.at(Ranked()[0]), Says(200));
  EXPECT_EQ(met_.back(), PeerNo(200));
  EXPECT_EQ(done_, 2) << "its word is better than what was gone by meanwhile";
  EXPECT_EQ(answer_->lead, PeerNo(200));
}

TEST_F(ArbitersTest, AWordThatComesLateFromAWorseOneIsNotPassedOn) {
  AskOthers();
  Answer(asked_.at(Ranked()[1]), Says(201));
  loop_.Advance(kArbiterPatience);
  ASSERT_EQ(done_, 1);
  Answer(asked_.at(Ranked()[2]), Says(202));
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(answer_->lead, PeerNo(201));
}

TEST_F(ArbitersTest, AWordThatComesAfterAllWereSilentCounts) {
  living_ = {PeerNo(1), PeerNo(2), PeerNo(3), PeerNo(4), PeerNo(5)};
  Make(true);
  arbiters_->Ask(
      {.peer = PeerNo(0)}, [](const auto&) {},
      [this](const auto& answer) {
        ++done_;
        answer_ = answer;
      });
  for (const auto& [peer, done] : std::map(asked_)) Answer(done, std::nullopt);
  loop_.Advance(kSilencePatience);
  ASSERT_EQ(done_, 1);
  Answer(server_, Says(300));
  EXPECT_EQ(done_, 2);
  ASSERT_TRUE(answer_);
  EXPECT_EQ(answer_->lead, PeerNo(300));
}

TEST_F(ArbitersTest, TheSameIsNotSaidAgainToOneThatHasNotAnswered) {
  AskOthers();
  const auto ranked = Ranked();
  Answer(asked_.at(ranked[1]), Says(201));
  loop_.Advance(kSilencePatience);
  ASSERT_EQ(done_, 1);
  ASSERT_EQ(askings_, 3);
  Ask();
  EXPECT_EQ(askings_, 4) << "the one that has answered";
  Answer(asked_.at(ranked[1]), Says(201));
  EXPECT_EQ(done_, 1) << "the best may still answer";
  Answer(asked_.at(ranked[0]), Says(200));
  ASSERT_EQ(done_, 2) << "what it was asked before counts";
  EXPECT_EQ(answer_->lead, PeerNo(200));
  Ask();
  EXPECT_EQ(askings_, 6) << "those two, and not the third";
}

TEST_F(ArbitersTest, WhoWishesTheLeadSaysSoAgainBeforeALeaseIsOver) {
  AskOthers();
  loop_.Advance(kRenewAgain - milliseconds(1));
  Ask();
  EXPECT_EQ(askings_, 3);
  loop_.Advance(milliseconds(1));
  Ask();
  EXPECT_EQ(askings_, 6);
  Ask(false, false);
  EXPECT_EQ(askings_, 9) << "wishes it no more";
  loop_.Advance(kRenewAgain * 2);
  Ask(false, false);
  EXPECT_EQ(askings_, 9) << "that can wait for an answer";
}

TEST_F(ArbitersTest, SomethingElseIsSaidAtOnce) {
  AskOthers();
  Ask(true);
  EXPECT_EQ(askings_, 6);
  Answer(asked_.at(Ranked()[0]), Says(200));
  EXPECT_EQ(done_, 1);
}

TEST_F(ArbitersTest, NobodyAnswers) {
  AskOthers();
  for (const auto& [peer, done] : asked_) Answer(done, std::nullopt);
  EXPECT_EQ(done_, 1);
  EXPECT_FALSE(answer_.has_value());
}

TEST_F(ArbitersTest, AllThatAreLateAreWaitedForLonger) {
  AskOthers();
  loop_.Advance(kArbiterPatience + milliseconds(1));
  EXPECT_EQ(done_, 0) << "to go by nobody is worst";
  Answer(asked_.at(Ranked()[2]), Says(202));
  ASSERT_EQ(done_, 1) << "and any is good enough now";
  EXPECT_EQ(answer_->lead, PeerNo(202));
  loop_.Advance(kSilencePatience);
  EXPECT_EQ(done_, 1);
}

TEST_F(ArbitersTest, SilenceIsOverAtLast) {
  AskOthers();
  loop_.Advance(kSilencePatience - milliseconds(1));
  EXPECT_EQ(done_, 0);
  loop_.Advance(milliseconds(1));
  EXPECT_EQ(done_, 1);
  EXPECT_FALSE(answer_.has_value());
}

TEST_F(ArbitersTest, AnIndexServerDecidesBeforePeers) {
  Make(true);
  EXPECT_TRUE(arbiters_->any(Digest{}));
  Ask();
  EXPECT_EQ(done_, 0) << "we are an arbiter, but the server may still answer";
  Answer(server_, Says(77));
  ASSERT_EQ(done_, 1);
  EXPECT_EQ(answer_->lead, PeerNo(77));
}

TEST_F(ArbitersTest, PeersDecideWhenTheIndexServerIsAway) {
  Make(true);
  Ask();
  Answer(server_, std::nullopt);
  ASSERT_EQ(done_, 1);
  EXPECT_EQ(answer_->lead, PeerNo(0));
}

TEST_F(ArbitersTest, AnswersMembersThatAskUs) {
  Make(false);
  EXPECT_EQ(arbiters_->OnAsk({.peer = PeerNo(1), .wants_lead = true}).lead, PeerNo(1));
  EXPECT_EQ(arbiters_->OnAsk({.peer = PeerNo(2), .wants_lead = true}).lead, PeerNo(1));
  arbiters_->OnPeerGone(PeerNo(1));
  EXPECT_EQ(arbiters_->OnAsk({.peer = PeerNo(2), .wants_lead = true}).lead, PeerNo(2));
}

TEST_F(ArbitersTest, AnArbiterThatKeepsNoSlotsHasNotAnsweredForThem) {
  Make(true);
  std::optional<index::SwarmAnswer> answer;
  int done = 0;
  loop_.Ask([&] {
    arbiters_->Ask(
        {.peer = PeerNo(0), .digest = {}, .slots = index::SlotAsk{1, 0, 2}}, [](const auto&) {},
        [&](std::optional<index::SwarmAnswer> said) {
          answer = std::move(said);
          ++done;
        });
    return 0;
  });
  Answer(server_, index::SwarmAnswer{});
  ASSERT_EQ(done, 1);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->slots, 1) << "our own word";
}

TEST_F(ArbitersTest, ForSlotsTheBestArbiterHasMoreTime) {
  Make(true);
  int done = 0;
  loop_.Ask([&] {
    arbiters_->Ask(
        {.peer = PeerNo(0), .digest = {}, .slots = index::SlotAsk{1, 0, 2}}, [](const auto&) {},
        [&](const auto&) { ++done; });
    return 0;
  });
  loop_.Advance(kArbiterPatience * 2);
  EXPECT_EQ(done, 0);
  loop_.Advance(kSlotArbiterPatience);
  EXPECT_EQ(done, 1);
}

}  // namespace
}  // namespace shoal::agent
