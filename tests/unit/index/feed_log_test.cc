#include "index/feed_log.h"

#include <gtest/gtest.h>

#include "tests/unit/index/feed_messages.h"
#include "tests/unit/index/rooms.h"

namespace shoal::index {
namespace {

using namespace std::chrono_literals;

class FeedLogTest : public testing::Test {
 protected:
  explicit FeedLogTest(FeedLogLimits limits = {}) : log(limits) {}

  SharedFeedMessage Message(int writer, std::uint64_t sequence, std::uint64_t previous,
                            const std::string& topic, Duration life = 1h) {
    return SignedMessage(KeyNo(writer), sequence, previous, wall, life, topic);
  }
  Result<FeedLog::Taken> Add(const SharedFeedMessage& message) {
    auto taken = log.Add(now, wall, message, message->word().expires, changes);
    log.CheckInvariants();
    return taken;
  }
  std::vector<std::uint64_t> Given() {
    std::vector<std::uint64_t> numbers;
    for (const auto& message : changes.given) numbers.push_back(message->word().sequence);
    changes.given.clear();
    return numbers;
  }
  void Pass(Duration time) {
    now += time;
    wall += time;
    log.OnTime(now, wall, changes);
    log.CheckInvariants();
  }

  using Numbers = std::vector<std::uint64_t>;
  Time now{1000s};
  WallTime wall = TestWall();
  FeedLog log;
  FeedChanges changes;
};

TEST_F(FeedLogTest, WhatComesEarlyWaitsForWhatIsBeforeIt) {
  EXPECT_EQ(*Add(Message(1, 30, 20, "c")), FeedLog::Taken::kHeld);
  EXPECT_EQ(*Add(Message(1, 20, 10, "b")), FeedLog::Taken::kHeld);
  EXPECT_EQ(*Add(Message(1, 20, 10, "b")), FeedLog::Taken::kKnown);
  EXPECT_TRUE(Given().empty());
  EXPECT_EQ(*Add(Message(1, 10, 0, "a")), FeedLog::Taken::kGiven);
  EXPECT_EQ(Given(), (Numbers{10, 20, 30}));
  EXPECT_EQ(log.NextRelease(), kNever);
}

TEST_F(FeedLogTest, WhatNobodyHasIsNotWaitedForAndNotGivenLater) {
  EXPECT_EQ(*Add(Message(1, 30, 20, "c")), FeedLog::Taken::kHeld);
  Pass(2900ms);
  EXPECT_TRUE(Given().empty());
  Pass(100ms);
  EXPECT_EQ(Given(), (Numbers{30}));
  EXPECT_EQ(*Add(Message(1, 20, 0, "b")), FeedLog::Taken::kKnown);
  EXPECT_TRUE(Given().empty());
}

TEST_F(FeedLogTest, TheLastOnATopicStands) {
  (void)Add(Message(1, 10, 0, "a"));
  (void)Add(Message(1, 20, 10, "b"));
  (void)Add(Message(1, 30, 20, "a"));
  (void)Add(Message(2, 5, 0, "a"));
  ASSERT_EQ(changes.dropped.size(), 1U);
  EXPECT_EQ(changes.dropped[0], (FeedName{HostNo(1), 10}));
  EXPECT_EQ(log.size(), 3U);
  EXPECT_EQ(log.After({HostNo(1), 0}).size(), 2U);
  EXPECT_EQ(log.After({HostNo(1), 20}).size(), 1U);
  EXPECT_EQ(log.Previous(wall, HostNo(1), "a"), 20U);
  EXPECT_EQ(log.Previous(wall, HostNo(1), "z"), 30U);
  EXPECT_EQ(log.Previous(wall, HostNo(2), "a"), 0U);
}

TEST_F(FeedLogTest, AWriterPushesOutItsOwnOldestOnly) {
  (void)Add(Message(2, 5, 0, "kept"));
  for (std::uint64_t i = 1; i <= 70; ++i) {
    (void)Add(Message(1, i, i - 1, "topic" + std::to_string(i)));
  }
  EXPECT_EQ(log.size(), 65U);
  EXPECT_EQ(log.After({HostNo(1), 0}).front()->word().sequence, 7U);
  EXPECT_NE(log.Find({HostNo(2), 5}), nullptr);
}

TEST_F(FeedLogTest, TooManyHeldAreNotKept) {
  for (std::uint64_t i = 0; i < 40; ++i) {
    (void)Add(Message(1, 100 + i * 2, 99 + i * 2, "topic" + std::to_string(i)));
  }
  EXPECT_TRUE(log.IsHolding(HostNo(1)));
  Pass(3s);
  EXPECT_EQ(Given(), (Numbers{100}));
  for (int i = 0; i < 30; ++i) Pass(3s);
  EXPECT_EQ(Given().size(), 15U);
}

TEST(FeedLogCapTest, TheWriterWithMostLosesItsOldestWhenARoomIsFull) {
  struct Log : FeedLogTest {
    Log() : FeedLogTest({.bytes = 4000}) {}
    void TestBody() override {}
    using FeedLogTest::Add;
    using FeedLogTest::log;
    using FeedLogTest::Message;
  } rig;
  (void)rig.Add(rig.Message(2, 1, 0, "small"));
  for (std::uint64_t i = 1; i <= 20; ++i) {
    (void)rig.Add(rig.Message(1, i, i - 1, "topic" + std::to_string(i)));
  }
  EXPECT_LE(rig.log.bytes(), 4000U);
  EXPECT_NE(rig.log.Find({HostNo(2), 1}), nullptr);
  EXPECT_NE(rig.log.Find({HostNo(1), 20}), nullptr);
  EXPECT_EQ(rig.log.Find({HostNo(1), 1}), nullptr);
}

}  // namespace
}  // namespace shoal::index
