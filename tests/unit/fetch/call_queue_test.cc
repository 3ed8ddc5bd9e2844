#include "fetch/call_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "base/rng.h"

namespace shoal::fetch {
namespace {

std::vector<CallQueue::Id> Starts(CallQueue& queue) {
  std::vector<CallQueue::Id> started;
  while (const auto id = queue.Next()) started.push_back(*id);
  queue.CheckInvariants();
  return started;
}

using Ids = std::vector<CallQueue::Id>;

TEST(CallQueueTest, StartsAtOnceBelowTheLimits) {
  CallQueue queue(10);
  EXPECT_TRUE(queue.Add(1, "a", 2));
  EXPECT_TRUE(queue.Add(2, "a", 2));
  EXPECT_EQ(Starts(queue), (Ids{1, 2}));
  EXPECT_EQ(queue.running(), 2);
}

TEST(CallQueueTest, ServesALaneInOrderOfArrival) {
  CallQueue queue(10);
  for (CallQueue::Id id = 1; id <= 5; ++id) EXPECT_TRUE(queue.Add(id, "a", 2));
  EXPECT_EQ(Starts(queue), (Ids{1, 2}));
  queue.Remove(2);
  EXPECT_EQ(Starts(queue), (Ids{3}));
  queue.Remove(4);  // gave up while it waited
  queue.Remove(1);
  EXPECT_EQ(Starts(queue), (Ids{5}));
  EXPECT_EQ(queue.waiting(), 0U);
}

TEST(CallQueueTest, AFullLaneDoesNotHoldOthersUp) {
  CallQueue queue(10);
  for (CallQueue::Id id = 1; id <= 4; ++id) EXPECT_TRUE(queue.Add(id, "a", 1));
  EXPECT_TRUE(queue.Add(5, "b", 1));
  EXPECT_EQ(Starts(queue), (Ids{1, 5}));
}

TEST(CallQueueTest, FewOfALaneDialAtOnce) {
  CallQueue queue(10);
  for (CallQueue::Id id = 1; id <= 6; ++id) EXPECT_TRUE(queue.Add(id, "a", 8));
  EXPECT_TRUE(queue.Add(7, "b", 8));
  for (int dials = 0; dials < CallQueue::kDialsMax; ++dials) queue.Dials(*queue.Next());
  EXPECT_EQ(Starts(queue), (Ids{7})) << "other hosts do not wait for them";
  queue.DialEnds(1);
  queue.DialEnds(1);
  queue.Dials(*queue.Next());
  EXPECT_EQ(Starts(queue), Ids{});
  queue.Remove(2);  // while it dials
  EXPECT_EQ(Starts(queue), (Ids{4, 5, 6}));
  queue.DialEnds(99);
}

TEST(CallQueueTest, TheOldestGoesFirstWhenAllTogetherAreTooMany) {
  CallQueue queue(2);
  EXPECT_TRUE(queue.Add(1, "a", 8));
  EXPECT_TRUE(queue.Add(2, "a", 8));
  EXPECT_TRUE(queue.Add(3, "b", 8));
  EXPECT_TRUE(queue.Add(4, "a", 8));
  EXPECT_EQ(Starts(queue), (Ids{1, 2}));
  queue.Remove(1);
  queue.Remove(2);
  EXPECT_EQ(Starts(queue), (Ids{3, 4}));
}

TEST(CallQueueTest, IgnoresTheEndOfWhatItDoesNotKnow) {
  CallQueue queue(1);
  queue.Remove(7);
  queue.CheckInvariants();
  EXPECT_EQ(queue.Next(), std::nullopt);
}

TEST(CallQueueTest, RefusesWhenTooManyWait) {
  CallQueue queue(1);
  for (CallQueue::Id id = 0; id < CallQueue::kWaitingMax; ++id) {
    ASSERT_TRUE(queue.Add(id, "a", 1));
  }
  EXPECT_FALSE(queue.Add(CallQueue::kWaitingMax, "b", 1));
  EXPECT_EQ(Starts(queue), (Ids{0}));
  EXPECT_TRUE(queue.Add(CallQueue::kWaitingMax, "b", 1));
}

TEST(CallQueueTest, AgreesWithANaiveTwin) {
  struct Call {
    CallQueue::Id id;
    std::string lane;
    bool running = false;
  };
  const std::map<std::string, int> limits = {{"a", 1}, {"b", 2}, {"c", 5}};
  Rng rng(7);
  CallQueue queue(4);
  std::vector<Call> twin;
  CallQueue::Id next = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (twin.size() < 30 && rng.Below(2) == 0) {
      const auto lane = std::next(limits.begin(), static_cast<std::ptrdiff_t>(rng.Below(3)));
      ASSERT_TRUE(queue.Add(next, lane->first, lane->second));
      twin.push_back({next++, lane->first});
    } else if (!twin.empty()) {
      const auto at = static_cast<std::ptrdiff_t>(rng.Below(twin.size()));
      queue.Remove(twin[static_cast<std::size_t>(at)].id);
      twin.erase(twin.begin() + at);
    }
    Ids expected;
    for (auto& call : twin) {
      const auto running = [&](const Call& other) { return other.running; };
      const auto beside = [&](const Call& other) {
        return other.running && other.lane == call.lane;
      };
      if (call.running || std::ranges::count_if(twin, running) >= 4) continue;
      if (std::ranges::count_if(twin, beside) >= limits.at(call.lane)) continue;
      call.running = true;
      expected.push_back(call.id);
    }
    ASSERT_EQ(Starts(queue), expected) << "step " << step;
  }
}

}  // namespace
}  // namespace shoal::fetch
