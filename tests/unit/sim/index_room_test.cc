#include "tests/sim/index_room.h"

#include <gtest/gtest.h>

namespace shoal::sim {
namespace {

using std::chrono::minutes;

TEST(IndexRoomTest, AllWhoLiveKnowEachOtherAndTheDeadGo) {
  const auto result = RunIndexRoom({.hosts = 120,
                                    .whole = 60,
                                    .churn = 2,
                                    .liars = 0.05,
                                    .churning = minutes(3),
                                    .messages = 4});
  EXPECT_TRUE(result.failures.empty()) << result.failures.front();
  EXPECT_GT(result.deaths, 5U);
  EXPECT_LT(result.newcomer_knows, std::chrono::seconds(10));
  EXPECT_GT(result.feed_wanted, 0U);
}

TEST(IndexRoomTest, OneSeedGivesOneTrace) {
  const IndexRoomOptions options{
      .hosts = 60, .seed = 3, .churn = 1, .churning = minutes(2), .messages = 2};
  const auto one = RunIndexRoom(options);
  EXPECT_TRUE(one.failures.empty()) << one.failures.front();
  EXPECT_EQ(one.trace, RunIndexRoom(options).trace);
  auto other = options;
  other.seed = 4;
  EXPECT_NE(one.trace, RunIndexRoom(other).trace);
}

}  // namespace
}  // namespace shoal::sim
