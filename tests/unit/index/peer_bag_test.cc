#include "index/peer_bag.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/unit/index/rooms.h"

namespace shoal::index {
namespace {

TEST(PeerBagTest, DoesWhatASetDoes) {
  PeerBag bag;
  std::set<PeerId> model;
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    const PeerId peer = HostNo(static_cast<int>(rng.Below(20)));
    if (rng.Below(2) == 0) {
      EXPECT_EQ(bag.Add(peer), model.insert(peer).second);
    } else {
      EXPECT_EQ(bag.Remove(peer), model.erase(peer) == 1);
    }
    ASSERT_EQ(bag.size(), model.size());
    EXPECT_EQ(bag.empty(), model.empty());
    EXPECT_EQ(bag.contains(peer), model.contains(peer));
    if (!model.empty()) {
      EXPECT_TRUE(model.contains(bag.Draw(rng)));
    }
    bag.CheckInvariants();
  }
}

TEST(PeerBagTest, EachIsAsLikely) {
  PeerBag bag;
  for (int i = 0; i < 12; ++i) (void)bag.Add(HostNo(i));
  EXPECT_TRUE(bag.Remove(HostNo(3)));
  EXPECT_TRUE(bag.Remove(HostNo(11)));
  std::map<PeerId, int> drawn;
  Rng rng(5);
  for (int i = 0; i < 10'000; ++i) ++drawn[bag.Draw(rng)];
  EXPECT_EQ(drawn.size(), 10U);
  // 1000 each; the standard deviation is 30.
  for (const auto& [peer, times] : drawn) EXPECT_NEAR(times, 1000, 150);
}

}  // namespace
}  // namespace shoal::index
