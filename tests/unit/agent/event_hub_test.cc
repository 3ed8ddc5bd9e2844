#include "agent/event_hub.h"

#include <gtest/gtest.h>

#include "tests/unit/support/test_loop.h"

namespace shoal::agent {
namespace {

class EventHubTest : public ::testing::Test {
 protected:
  test::TestLoop loop_;
  EventHub hub_{loop_};
};

TEST_F(EventHubTest, TakesSoManyListenersAndForgetsThoseThatLeft) {
  EXPECT_FALSE(hub_.heard());
  std::vector<std::shared_ptr<AdminStream>> streams;
  for (std::size_t i = 0; i < EventHub::kListenersMax; ++i) {
    auto stream = hub_.Listen();
    ASSERT_TRUE(stream.ok());
    streams.push_back(*stream);
  }
  EXPECT_EQ(hub_.Listen().error().code, Code::kExhausted);
  streams.front()->Close();  // as when its client has gone
  hub_.Tell("peer", Json::object());
  EXPECT_TRUE(hub_.Listen().ok());
}

TEST_F(EventHubTest, ABeatFindsThoseThatLeftAQuietStream) {
  const auto stream = hub_.Listen();
  ASSERT_TRUE(stream.ok());
  (*stream)->Close();
  EXPECT_TRUE(hub_.heard());
  loop_.Advance(EventHub::kHeartbeat);
  EXPECT_FALSE(hub_.heard());
}

TEST_F(EventHubTest, StoppedItEndsStreamsAndTakesNobody) {
  const auto stream = hub_.Listen();
  ASSERT_TRUE(stream.ok());
  hub_.Stop();
  EXPECT_FALSE((*stream)->Write("x"));
  EXPECT_EQ(hub_.Listen().error().code, Code::kRetryLater);
}

}  // namespace
}  // namespace shoal::agent
