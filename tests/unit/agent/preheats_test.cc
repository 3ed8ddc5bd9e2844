#include "agent/preheats.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "index/keyfile/room_files.h"
#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/index/rooms.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::agent {
namespace {

using namespace std::chrono_literals;
using index::HostNo;
using index::RoomNo;

constexpr const char* kImage = "reg.test/app/web:v1";

// Host 1, in the room of RoomNo(1), whose feed is real and has nobody to send to.
class PreheatsTest : public ::testing::Test {
 protected:
  explicit PreheatsTest(std::vector<std::string> wanted = {"reg.test/*"}) {
    const index::JoinedRoom joined{
        index::FactsOf(RoomNo(1), "team-1"),
        index::Membership::ByRoom(RoomNo(1), HostNo(1), 10, loop_.Wall() - 1h, loop_.Wall() + 24h)};
    SHOAL_CHECK(index::SaveRoom(dir_ / "rooms", joined).ok());
    rooms_ = *Rooms::Open(dir_ / "rooms", HostNo(1), true,
                          {[this] { return loop_.Wall(); },
                           [](const PeerId&) {},
                           [] {},
                           nullptr,
                           {{{"reg.test/*"}, "team-1"}, {{"other.test/*"}, "open"}}});
    env_ = *index::LmdbEnv::Open(dir_ / "db", Bytes(1 << 22), index::LmdbSync::kNever);
    table_ = std::make_unique<index::FeedTable>(*index::FeedTable::Open(*env_));
    feeds_ = std::make_unique<Feeds>(
        index::KeyNo(1),
        Feeds::Ports{loop_, loop_, *rooms_, *table_, [] { return std::vector<PeerId>(); },
                     [](const PeerId&, const std::string&, const index::FeedFrame&, auto) {},
                     [this](const std::string& room, const index::SharedFeedMessage& message) {
                       preheats_->OnMessage(room, message);
                     }},
        Rng(1));
    Preheats::Ports ports{loop_, *rooms_, *feeds_, HostNo(1), std::move(wanted), false};
    ports.check = [this](const std::string&, auto done) { done(there_); };
    ports.pull = [this](const std::string& image) -> Result<Preheats::Pull> {
      pulled_.push_back(image);
      return Preheats::Pull{pulled_.size(), joined_};
    };
    ports.progress = [this](std::uint64_t) { return std::optional(progress_); };
    ports.cancel = [this](std::uint64_t pull) { cancelled_.push_back(pull); };
    ports.answer = [this](const PeerId& writer, const std::string&, std::uint64_t,
                          const std::string& body, std::function<void(Status)> done) {
      answers_.emplace_back(writer, *DecodePreheatReport(body));
      loop_.Post([this, done] { done(reached_); });
    };
    preheats_ = std::make_unique<Preheats>(std::move(ports), Rng(2));
    loop_.Ask([this] {
      feeds_->Start();
      return 0;
    });
  }
  ~PreheatsTest() override { loop_.Stop(); }

  Result<std::string> Begin(const std::string& image, const std::string& room = "",
                            Duration life = 1h) {
    return loop_.Ask([&] {
      Result<std::string> got = Error{Code::kCancelled, "not called"};
      preheats_->Begin(image, room, life, [&](Result<std::string> id) { got = std::move(id); });
      return got;
    });
  }
  PreheatView View(const std::string& id) {
    return loop_.Ask([&] { return *preheats_->Find(id); });
  }
  // Host 2 says it in the room.
  void Said(const std::string& image, std::uint64_t sequence, bool withdrawn = false) {
    loop_.Ask([&] {
      index::FeedWord word;
      word.room = rooms_->RecordName(rooms_->BitOf("team-1"));
      word.sequence = sequence;
      word.written = loop_.Wall();
      word.expires = loop_.Wall() + 1h;
      word.kind = kPreheatKind;
      word.topic = image;
      word.body = EncodePreheatWord({image, withdrawn});
      preheats_->OnMessage(word.room, std::make_shared<const index::FeedMessage>(
                                          *index::FeedMessage::Sign(word, index::KeyNo(2), "")));
      return 0;
    });
    loop_.Settle();
  }

  index::TempDir dir_;
  test::TestLoop loop_;
  std::unique_ptr<Rooms> rooms_;
  std::unique_ptr<index::LmdbEnv> env_;
  std::unique_ptr<index::FeedTable> table_;
  std::unique_ptr<Feeds> feeds_;
  std::unique_ptr<Preheats> preheats_;
  Status there_ = Ok();
  Status reached_ = Ok();
  bool joined_ = false;
  PreheatReport progress_{PreheatState::kRunning, Bytes(1), Bytes(4), ""};
  std::vector<std::string> pulled_;
  std::vector<std::uint64_t> cancelled_;
  std::vector<std::pair<PeerId, PreheatReport>> answers_;
};

TEST_F(PreheatsTest, OurOwnIsFetchedHereToo) {
  const auto id = Begin(kImage);
  ASSERT_TRUE(id) << id.error().text;
  loop_.Settle();
  EXPECT_EQ(pulled_, std::vector<std::string>{kImage});
  loop_.Advance(1s);
  auto view = View(*id);
  ASSERT_EQ(view.hosts.size(), 1U);
  EXPECT_EQ(view.hosts[0].report, progress_);
  EXPECT_FALSE(view.ended);
  progress_ = {PreheatState::kDone, Bytes(4), Bytes(4), ""};
  loop_.Advance(1s);
  EXPECT_TRUE(View(*id).ended);
  EXPECT_TRUE(answers_.empty());
}

TEST_F(PreheatsTest, WhatIsNotThereIsNotSaid) {
  there_ = Error{Code::kNotFound, "404"};
  EXPECT_FALSE(Begin(kImage));
  EXPECT_TRUE(loop_.Ask([&] { return feeds_->Standing() == 0; }));
  EXPECT_FALSE(Begin("Not/A/Name"));
}

TEST_F(PreheatsTest, TheRoomIsThatOfTheImageAndNoOther) {
  EXPECT_EQ(Begin(kImage, "open").error().code, Code::kDenied);
  EXPECT_EQ(Begin(kImage, "team-9").error().code, Code::kInvalid);
  EXPECT_EQ(Begin("nobodys.test/a:1").error().code, Code::kDenied);
  EXPECT_EQ(Begin(kImage, "", 1s).error().code, Code::kInvalid);
  ASSERT_TRUE(Begin(kImage, "team-1"));
}

TEST_F(PreheatsTest, TheWriterIsToldAtTheBeginningNowAndThenAndAtTheEnd) {
  Said(kImage, 5);
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_EQ(answers_[0].first, HostNo(2));
  EXPECT_EQ(answers_[0].second.state, PreheatState::kRunning);
  for (int i = 0; i < 12; ++i) loop_.Advance(250ms);
  EXPECT_EQ(answers_.size(), 4U);
  EXPECT_EQ(answers_.back().second.have, Bytes(1));
  progress_ = {PreheatState::kDone, Bytes(4), Bytes(4), ""};
  loop_.Advance(250ms);
  EXPECT_EQ(answers_.size(), 5U);
  EXPECT_EQ(answers_.back().second.state, PreheatState::kDone);
  loop_.Advance(60s);
  EXPECT_EQ(answers_.size(), 5U);
}

TEST_F(PreheatsTest, TheLastAnswerIsSaidAgainAFewTimes) {
  progress_ = {PreheatState::kDone, Bytes(4), Bytes(4), ""};
  reached_ = Error{Code::kRetryLater, "away"};
  Said(kImage, 5);
  for (int i = 0; i < 100; ++i) loop_.Advance(250ms);
  EXPECT_EQ(std::ranges::count_if(
                answers_, [](const auto& a) { return a.second.state == PreheatState::kDone; }),
            5);
}

TEST_F(PreheatsTest, AFailedPullIsTriedAgainBeforeItIsSaid) {
  progress_ = {PreheatState::kFailed, Bytes(0), Bytes(0), "away"};
  Said(kImage, 5);
  for (int i = 0; i < 60; ++i) loop_.Advance(250ms);
  EXPECT_EQ(pulled_.size(), 3U);
  EXPECT_EQ(answers_.back().second.state, PreheatState::kFailed);
  EXPECT_EQ(answers_.back().second.text, "away");
}

TEST_F(PreheatsTest, WhatIsNotWantedOrNotTheRoomsIsDeclined) {
  Said("other.test/a:1", 5);
  ASSERT_EQ(answers_.size(), 1U);
  EXPECT_EQ(answers_[0].second.state, PreheatState::kDeclined);
  EXPECT_TRUE(pulled_.empty());
}

TEST_F(PreheatsTest, TwoAreFetchedAtATime) {
  for (std::uint64_t i = 1; i <= 5; ++i) Said("reg.test/app/n" + std::to_string(i) + ":1", i);
  loop_.Advance(250ms);
  EXPECT_EQ(pulled_.size(), 2U);
  progress_ = {PreheatState::kDone, Bytes(4), Bytes(4), ""};
  for (int i = 0; i < 8; ++i) loop_.Advance(250ms);
  EXPECT_EQ(pulled_.size(), 5U);
}

TEST_F(PreheatsTest, WithdrawnItIsGivenUpUnlessSomebodyElseWantsIt) {
  Said(kImage, 5);
  Said(kImage, 6, true);
  EXPECT_EQ(cancelled_, std::vector<std::uint64_t>{1});
  joined_ = true;
  Said(kImage, 7);
  loop_.Advance(250ms);
  EXPECT_EQ(pulled_.size(), 2U);
  Said(kImage, 8, true);
  EXPECT_EQ(cancelled_.size(), 1U);
}

TEST_F(PreheatsTest, OurOwnCanBeWithdrawnOnce) {
  const auto id = Begin(kImage);
  ASSERT_TRUE(id);
  loop_.Settle();
  EXPECT_TRUE(loop_.Ask([&] { return preheats_->Withdraw(*id); }));
  loop_.Settle();
  EXPECT_TRUE(View(*id).withdrawn);
  EXPECT_TRUE(View(*id).ended);
  EXPECT_EQ(cancelled_.size(), 1U);
  EXPECT_FALSE(loop_.Ask([&] { return preheats_->Withdraw("77"); }));
}

TEST_F(PreheatsTest, AnswersToWhatWeDidNotSayAreRefused) {
  const auto id = Begin(kImage);
  ASSERT_TRUE(id);
  const auto body = EncodePreheatReport({PreheatState::kDone, Bytes(4), Bytes(4), ""});
  const auto room = View(*id).room;
  const auto answer = [&](const std::string& where, std::uint64_t n, const std::string& text) {
    return loop_.Ask([&] { return preheats_->OnAnswer(HostNo(3), where, n, text); });
  };
  EXPECT_EQ(answer(room, 1, body).error().code, Code::kNotFound);
  EXPECT_EQ(answer("open", std::stoull(*id), body).error().code, Code::kNotFound);
  EXPECT_EQ(answer(room, std::stoull(*id), "{").error().code, Code::kInvalid);
  EXPECT_TRUE(answer(room, std::stoull(*id), body));
  EXPECT_EQ(View(*id).hosts.size(), 2U);
}

TEST_F(PreheatsTest, WhoSaysNothingMoreIsNotWaitedFor) {
  const auto id = Begin(kImage);
  ASSERT_TRUE(id);
  const auto body = EncodePreheatReport({PreheatState::kRunning, Bytes(1), Bytes(4), ""});
  const auto room = View(*id).room;
  ASSERT_TRUE(
      loop_.Ask([&] { return preheats_->OnAnswer(HostNo(3), room, std::stoull(*id), body); }));
  progress_ = {PreheatState::kDone, Bytes(4), Bytes(4), ""};
  loop_.Advance(1s);
  EXPECT_FALSE(View(*id).ended);
  for (int i = 0; i < 20; ++i) loop_.Advance(1s);
  const auto view = View(*id);
  EXPECT_TRUE(view.ended);
  EXPECT_EQ(std::ranges::count_if(view.hosts, &PreheatHost::silent), 1);
}

TEST_F(PreheatsTest, WhatStandsIsKnownAgainAfterARestart) {
  ASSERT_TRUE(Begin(kImage));
  loop_.Settle();
  const auto room = loop_.Ask([&] { return rooms_->RecordName(rooms_->BitOf("team-1")); });
  EXPECT_EQ(table_->Load(room).size(), 1U);
  EXPECT_TRUE(table_->Load("open").empty());
  std::vector<std::string> topics;
  Feeds again(index::KeyNo(1),
              Feeds::Ports{loop_, loop_, *rooms_, *table_, [] { return std::vector<PeerId>(); },
                           [](const PeerId&, const std::string&, const index::FeedFrame&, auto) {},
                           [&](const std::string&, const index::SharedFeedMessage& message) {
                             topics.push_back(message->word().topic);
                           }},
              Rng(4));
  loop_.Ask([&] {
    again.Start();
    return 0;
  });
  EXPECT_EQ(topics, std::vector<std::string>{kImage});
  loop_.Stop();
}

}  // namespace
}  // namespace shoal::agent
