#include "tests/sim/feed_room.h"

#include <gtest/gtest.h>

namespace shoal::sim {
namespace {

TEST(FeedRoomTest, EachMemberIsGivenEachMessageInAboutOneCopy) {
  const auto result = RunFeedRoom({.hosts = 120, .messages = 8});
  EXPECT_TRUE(result.all_given());
  EXPECT_LT(result.later.copies, 1.3);
  EXPECT_LT(result.later.last, std::chrono::seconds(2));
}

TEST(FeedRoomTest, WithLossesEachMemberIsGivenEachMessage) {
  const auto result = RunFeedRoom({.hosts = 80, .seed = 3, .loss = 0.05, .messages = 4});
  EXPECT_TRUE(result.all_given());
}

}  // namespace
}  // namespace shoal::sim
