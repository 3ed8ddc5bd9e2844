#include "index/registry_slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <vector>

#include "base/rng.h"
#include "tests/unit/numbered.h"
#include "tests/unit/rounds.h"

namespace shoal::index {
namespace {

using namespace std::chrono_literals;

Digest Registry(int n) {
  Digest digest;
  digest.bytes[1] = static_cast<std::byte>(n);
  return digest;
}

class RegistrySlotsTest : public ::testing::Test {
 protected:
  std::optional<int> Ask(int peer, int want, int held, int most, int registry = 0) {
    const auto granted = slots_.OnAsk(now_, Registry(registry), PeerNo(peer), {want, held, most});
    slots_.CheckInvariants();
    return granted;
  }

  Time now_{10s};
  RegistrySlots slots_{{.registries_max = 2, .members_max = 5}};
};

TEST_F(RegistrySlotsTest, GrantsWhatIsWantedUpToTheBound) {
  EXPECT_EQ(Ask(1, 2, 0, 4), 2);
  EXPECT_EQ(Ask(2, 1, 0, 4), 1);
  EXPECT_EQ(Ask(3, 1, 0, 4), 1);
  EXPECT_EQ(Ask(4, 1, 0, 4), 0);
  EXPECT_EQ(slots_.UsedOf(Registry(0)), 4);
}

TEST_F(RegistrySlotsTest, RegistriesDoNotShareABound) {
  EXPECT_EQ(Ask(1, 2, 0, 2, 0), 2);
  EXPECT_EQ(Ask(2, 2, 0, 2, 1), 2);
}

TEST_F(RegistrySlotsTest, TheSmallestBoundOfThePresentCounts) {
  EXPECT_EQ(Ask(1, 1, 0, 1), 1);
  EXPECT_EQ(Ask(2, 4, 0, 8), 0);
  now_ += kSlotLease;  // the modest one is gone
  EXPECT_EQ(Ask(2, 4, 0, 8), 4);
}

TEST_F(RegistrySlotsTest, RenewedSlotsStayAndThoseOfTheDeadComeBack) {
  EXPECT_EQ(Ask(1, 1, 0, 2), 1);
  EXPECT_EQ(Ask(2, 1, 0, 2), 1);
  for (int i = 0; i < 10; ++i) {
    now_ += kSlotLease / 2;
    EXPECT_EQ(Ask(1, 1, 1, 2), 1);
    EXPECT_EQ(Ask(3, 1, 0, 2), i == 0 ? 0 : 1) << "the second was not heard of for a lease";
  }
}

TEST_F(RegistrySlotsTest, WhatIsGivenBackIsGrantedToTheNext) {
  EXPECT_EQ(Ask(1, 1, 0, 1), 1);
  EXPECT_EQ(Ask(2, 1, 0, 1), 0);
  EXPECT_EQ(Ask(1, 0, 1, 1), 0);
  EXPECT_EQ(Ask(2, 1, 0, 1), 0) << "its connection is still open";
  EXPECT_EQ(Ask(1, 0, 0, 1), 0);
  EXPECT_EQ(Ask(2, 1, 0, 1), 1);
}

TEST_F(RegistrySlotsTest, SecondConnectionsAreTakenBackForThoseThatHaveNone) {
  EXPECT_EQ(Ask(1, 4, 0, 4), 4);
  EXPECT_EQ(Ask(2, 1, 0, 4), 0);
  EXPECT_EQ(Ask(1, 4, 4, 4), 3);
  EXPECT_EQ(Ask(2, 1, 0, 4), 0) << "taken back, and not closed yet";
  EXPECT_EQ(Ask(1, 4, 3, 4), 3);
  EXPECT_EQ(Ask(2, 1, 0, 4), 1);
  EXPECT_EQ(slots_.UsedOf(Registry(0)), 4);
}

TEST_F(RegistrySlotsTest, WhoHasHadItsTurnGoesBehindThoseThatWait) {
  EXPECT_EQ(Ask(1, 1, 0, 1), 1);
  EXPECT_EQ(Ask(2, 1, 0, 1), 0);
  now_ += 1s;
  EXPECT_EQ(Ask(3, 1, 0, 1), 0);
  EXPECT_EQ(Ask(1, 1, 1, 1), 1) << "its turn is not over";
  now_ += kSlotTurn - 1s;
  EXPECT_EQ(Ask(1, 1, 1, 1), 0);
  EXPECT_EQ(Ask(2, 1, 0, 1), 0);
  EXPECT_EQ(Ask(1, 1, 0, 1), 0) << "closed, and waits itself";
  EXPECT_EQ(Ask(3, 1, 0, 1), 0) << "it came later than the second";
  EXPECT_EQ(Ask(2, 1, 0, 1), 1);
}

TEST_F(RegistrySlotsTest, WhatAPeerHoldsByAnothersWordCounts) {
  EXPECT_EQ(Ask(1, 2, 2, 3), 2);
  EXPECT_EQ(Ask(2, 2, 2, 3), 1);
  EXPECT_EQ(Ask(3, 1, 0, 3), 0);
}

TEST_F(RegistrySlotsTest, AbsurdNumbersAreBounded) {
  constexpr int kHuge = std::numeric_limits<int>::max();
  EXPECT_EQ(Ask(1, kHuge, kHuge, kHuge), kSlotsOfOne);
  EXPECT_EQ(Ask(2, -5, -5, -5), 0);
  EXPECT_EQ(Ask(3, 1, 0, -5), 0);
  EXPECT_LE(slots_.UsedOf(Registry(0)), kSlotsOfOne);
}

TEST_F(RegistrySlotsTest, AFullTableTakesNobodyNewUntilSomebodyIsGone) {
  for (int peer = 1; peer <= 5; ++peer) EXPECT_EQ(Ask(peer, 1, 0, 100), 1);
  EXPECT_EQ(Ask(6, 1, 0, 100), 0);
  EXPECT_EQ(Ask(1, 1, 0, 1, 1), 1);
  EXPECT_EQ(Ask(1, 1, 0, 1, 2), std::nullopt);
  now_ += kSlotLease;
  EXPECT_EQ(Ask(6, 1, 0, 100, 2), 1);
  EXPECT_EQ(slots_.registry_count(), 1U);
}

// Hosts that do as docs/SWARM.md says, in any order, some of them dying, some slow to close: what
// is open stays within the bound, and everybody has a turn.
TEST(RegistrySlotsModelTest, TheBoundHoldsAndEverybodyHasATurn) {
  for (std::uint64_t seed = 1; seed <= std::uint64_t(Rounds(20)); ++seed) {
    Rng rng(seed);
    RegistrySlots slots({});
    struct Host {
      int granted = 0;
      int open = 0;
      int turns = 0;
      Time dead_until{};
    };
    std::map<int, Host> hosts;
    const int bound = 1 + static_cast<int>(rng.Below(4));
    const int count = 1 + static_cast<int>(rng.Below(8));
    Time now{10s};
    for (int step = 0; step < 5000; ++step) {
      now += 50ms;
      const int which = 1 + static_cast<int>(rng.Below(static_cast<std::uint64_t>(count)));
      Host& host = hosts[which];
      if (now < host.dead_until) continue;
      if (rng.Below(400) == 0) {
        // It dies with its connections, and comes back when nobody remembers it.
        host.dead_until = now + kSlotLease + 1s;
        host.granted = host.open = 0;
        continue;
      }
      // A blob of it ends, or a lane between two ranges is let go.
      const bool too_many = host.open > host.granted;
      if (host.open > 0 && (rng.Below(10) == 0 || (too_many && rng.Below(3) == 0))) --host.open;
      const int held = std::max(host.open, std::min(host.granted, 2));
      const auto granted = slots.OnAsk(now, Registry(0), PeerNo(which), {2, held, bound});
      slots.CheckInvariants();
      ASSERT_TRUE(granted);
      host.granted = *granted;
      if (host.open == 0 && host.granted > 0) ++host.turns;
      host.open = std::max(host.open, host.granted);
      int open = 0;
      for (const auto& [id, other] : hosts) open += other.open;
      ASSERT_LE(open, bound) << "seed " << seed << ", step " << step;
    }
    for (const auto& [id, host] : hosts) EXPECT_GE(host.turns, 3) << "seed " << seed << " " << id;
  }
}

}  // namespace
}  // namespace shoal::index
