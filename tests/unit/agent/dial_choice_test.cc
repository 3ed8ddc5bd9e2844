#include "agent/dial_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;

// "e0" to e<endpoints>, and "r0" to r<relays>.
index::Record RecordWith(int endpoints, int relays) {
  index::Record record;
  for (int i = 0; i < endpoints; ++i) record.endpoints.push_back({"e" + std::to_string(i), 1});
  for (int i = 0; i < relays; ++i) {
    record.relays.push_back({"r" + std::to_string(i), 1, PeerId{}});
  }
  return record;
}

std::vector<std::string> Order(int endpoints, int relays, int count) {
  const index::Record record = RecordWith(endpoints, relays);
  DialChoice choice;
  std::vector<std::string> order;
  for (Time now{seconds(100)}; std::ssize(order) < count; now += seconds(1)) {
    order.push_back(choice.Of(record)->host);
    choice.OnFailed(now);
  }
  return order;
}

TEST(DialChoiceTest, TriesEndpointsAndRelaysInTurn) {
  EXPECT_THAT(Order(1, 1, 3), ElementsAre("e0", "r0", "e0"));
  EXPECT_THAT(Order(3, 1, 5), ElementsAre("e0", "r0", "e1", "e2", "e0"));
  EXPECT_THAT(Order(1, 2, 4), ElementsAre("e0", "r0", "r1", "e0"));
  EXPECT_THAT(Order(2, 2, 5), ElementsAre("e0", "r0", "e1", "r1", "e0"));
  EXPECT_THAT(Order(3, 0, 4), ElementsAre("e0", "e1", "e2", "e0"));
  EXPECT_THAT(Order(0, 2, 3), ElementsAre("r0", "r1", "r0"));
}

TEST(DialChoiceTest, NowhereIsNoPlace) { EXPECT_FALSE(DialChoice().Of(RecordWith(0, 0))); }

TEST(DialChoiceTest, CallsThatFailTogetherMoveItOnce) {
  const index::Record record = RecordWith(2, 1);
  DialChoice choice;
  const Time now{seconds(100)};
  for (int i = 0; i < 5; ++i) choice.OnFailed(now + milliseconds(i));
  EXPECT_EQ(choice.Of(record)->host, "r0");
  choice.OnFailed(now + seconds(1));
  EXPECT_EQ(choice.Of(record)->host, "e1");
}

}  // namespace
}  // namespace shoal::agent
