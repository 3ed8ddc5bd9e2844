#include "tests/sim/network.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "base/rng.h"

namespace shoal::sim {
namespace {

class NetworkTest : public testing::Test {
 protected:
  FlowId Start(LinkId from, LinkId to, std::int64_t bytes, double cap = kUncapped) {
    const FlowId flow = network_.Start(from, to, cap, next_user_++);
    network_.SetMark(flow, Bytes(bytes));
    return flow;
  }
  // Runs until nothing moves; says when each flow had moved to its mark.
  std::map<std::uint32_t, double> Run() {
    std::map<std::uint32_t, double> ends;
    for (;;) {
      while (!network_.settled()) network_.Settle();
      network_.CheckInvariants();
      if (engine_.empty()) return ends;
      const Event event = engine_.Pop();
      if (!network_.OnEvent(event.a, event.b)) continue;
      ends[network_.user(event.a)] =
          static_cast<double>(engine_.now().time_since_epoch().count()) / 1e6;
      network_.Stop(event.a);
    }
  }

  Engine engine_;
  Network network_{engine_};
  std::uint32_t next_user_ = 0;
};

TEST_F(NetworkTest, OneFlowHasTheWholeLink) {
  const LinkId up = network_.AddLink(1e6);
  const LinkId down = network_.AddLink(2e6);
  Start(up, down, 3'000'000);
  EXPECT_NEAR(Run()[0], 3.0, 1e-4);
}

TEST_F(NetworkTest, FlowsOfALinkShareIt) {
  const LinkId up = network_.AddLink(1e6);
  Start(up, network_.AddLink(1e6), 1'000'000);
  Start(up, network_.AddLink(1e6), 2'000'000);
  auto ends = Run();
  EXPECT_NEAR(ends[0], 2.0, 1e-3);
  EXPECT_NEAR(ends[1], 3.0, 1e-3);  // alone after the first
}

TEST_F(NetworkTest, ALinkIsFullWhileItsFlowsFillIt) {
  const LinkId up = network_.AddLink(1e6);
  const LinkId down = network_.AddLink(2e6);
  EXPECT_FALSE(network_.Full(up));
  Start(up, down, 1'000'000);
  while (!network_.settled()) network_.Settle();
  EXPECT_TRUE(network_.Full(up));
  EXPECT_FALSE(network_.Full(down));
  Run();
  EXPECT_FALSE(network_.Full(up));
}

TEST_F(NetworkTest, WhatASlowEndLeavesIsForTheOthers) {
  const LinkId up = network_.AddLink(1e6);
  Start(up, network_.AddLink(0.1e6), 100'000);
  Start(up, network_.AddLink(1e6), 900'000);
  auto ends = Run();
  EXPECT_NEAR(ends[0], 1.0, 0.03);
  EXPECT_NEAR(ends[1], 1.0, 0.03);
}

TEST_F(NetworkTest, ACapHolds) {
  const LinkId up = network_.AddLink(1e6);
  Start(up, network_.AddLink(1e6), 1'000'000, 0.25e6);
  EXPECT_NEAR(Run()[0], 4.0, 1e-3);
}

TEST_F(NetworkTest, ABlockedFlowTakesNoShareAndGoesOnLater) {
  const LinkId up = network_.AddLink(1e6);
  const FlowId blocked = Start(up, network_.AddLink(1e6), 500'000);
  Start(up, network_.AddLink(1e6), 1'000'000);
  network_.SetBlocked(blocked, true);
  auto ends = Run();
  EXPECT_NEAR(ends[1], 1.0, 1e-3);
  EXPECT_FALSE(ends.contains(0));
  network_.SetBlocked(blocked, false);
  ends = Run();
  EXPECT_NEAR(ends[0], 1.5, 1e-3);
}

// Every link that a flow could go faster over is full, as far as changes are noticed.
TEST_F(NetworkTest, NoLinkIsOverfullWhateverComesAndGoes) {
  Rng rng(3);
  std::vector<LinkId> ups;
  std::vector<LinkId> downs;
  for (int i = 0; i < 20; ++i) {
    ups.push_back(network_.AddLink(1e5 + 1e6 * rng.Unit()));
    downs.push_back(network_.AddLink(1e5 + 1e6 * rng.Unit()));
  }

  for (int i = 0; i < 300; ++i) {
    const auto size = static_cast<std::int64_t>(1 + rng.Below(1'000'000));
    Start(ups[rng.Below(20)], downs[rng.Below(20)], size);
  }
  EXPECT_EQ(Run().size(), 300U);
}

}  // namespace
}  // namespace shoal::sim
