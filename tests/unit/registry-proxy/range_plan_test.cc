#include "registry-proxy/range_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/rng.h"

namespace shoal::proxy {
namespace {

using namespace std::chrono_literals;
using namespace literals;

constexpr Time kStart{1h};
constexpr Duration kStep = 10ms;

// A registry that gives each connection so much a second, and all together so much.
struct Registry {
  double each = 10e6;
  double all = 1e9;
  bool ranges = true;
};

class PlanRig {
 public:
  PlanRig(Bytes end, Registry registry, Bytes begin = 0_B)
      : registry_(registry), begin_(begin), end_(end) {
    Open(plan.Start(begin));
    plan.OnSize(end);
  }

  // Runs until it is over, or `until` has come. False when it failed.
  bool Run(Duration until = 1h) {
    while (!plan.Complete() && now < kStart + until) {
      if (!Step()) return false;
    }
    EXPECT_EQ(got_, plan.Complete() ? end_ - begin_ : got_);
    return true;
  }

  bool Step() {
    now += kStep;
    const double each =
        std::min(registry_.each, registry_.all / std::max<double>(1, plan.lanes())) * 0.01;
    std::vector<RangePlan::LaneId> lanes;
    for (const auto& [lane, ask] : requests_) lanes.push_back(lane);
    for (const auto lane : lanes) {
      if (requests_.at(lane).exact && !registry_.ranges) {
        if (!Fail(lane, true)) return false;
        continue;
      }
      Give(lane, Bytes(static_cast<std::int64_t>(each)));
    }
    Ask();
    most_lanes = std::max(most_lanes, plan.lanes());
    return true;
  }

  void Give(RangePlan::LaneId lane, Bytes count) {
    bool done = false;
    const Bytes front = plan.Front();
    const Bytes at = *plan.PositionOf(lane);
    count = std::min(count, end_ - at);  // there is no more
    const Bytes taken = plan.OnBytes(now, lane, count, &done);
    plan.CheckInvariants();
    wasted += count - taken;
    got_ += taken;
    most_ahead = std::max(most_ahead, at + taken - front);
    if (done) requests_.erase(lane);
  }
  bool Fail(RangePlan::LaneId lane, bool refused) {
    requests_.erase(lane);
    const bool goes_on = plan.OnFailed(lane, refused);
    plan.CheckInvariants();
    if (goes_on) Ask();
    return goes_on;
  }
  void Ask() {
    for (const auto& ask : plan.Next(room, connections)) Open(ask);
    plan.CheckInvariants();
  }
  void Open(const RangePlan::Ask& ask) {
    asks.push_back(ask);
    requests_[ask.lane] = ask;
  }
  [[nodiscard]] std::vector<RangePlan::LaneId> Lanes() const {
    std::vector<RangePlan::LaneId> lanes;
    for (const auto& [lane, ask] : requests_) lanes.push_back(lane);
    return lanes;
  }
  [[nodiscard]] double Seconds() const { return static_cast<double>((now - kStart).count()) / 1e6; }

  RangePlan plan{{}};
  Time now = kStart;
  int room = 8;
  int connections = 8;  // that may be opened in one moment
  int most_lanes = 0;
  Bytes most_ahead;
  Bytes wasted;
  std::vector<RangePlan::Ask> asks;

 private:
  Registry registry_;
  Bytes begin_;
  Bytes end_;
  Bytes got_;
  std::map<RangePlan::LaneId, RangePlan::Ask> requests_;
};

TEST(RangePlanTest, ASmallBlobIsOneStream) {
  PlanRig rig(15_MiB, {.each = 1e6});
  EXPECT_TRUE(rig.Run());
  EXPECT_EQ(rig.asks.size(), 1U);
  EXPECT_FALSE(rig.asks[0].end);
  EXPECT_EQ(rig.wasted, 0_B);
}

TEST(RangePlanTest, SlowConnectionsBecomeFour) {
  PlanRig rig(400_MiB, {.each = 10e6});
  EXPECT_TRUE(rig.Run());
  EXPECT_EQ(rig.most_lanes, 4);
  EXPECT_LT(rig.Seconds(), 400 * 1.048576 / 10 / 3);
  EXPECT_LE(rig.most_ahead, kRange * 4);
  EXPECT_LE(rig.wasted, 1_MiB);
}

TEST(RangePlanTest, AConnectionThatBringsNothingIsTriedOnce) {
  PlanRig rig(400_MiB, {.each = 10e6, .all = 12e6});  // two are a fifth faster than one
  EXPECT_TRUE(rig.Run());
  EXPECT_EQ(rig.most_lanes, 2);
  EXPECT_FALSE(rig.asks.back().end);  // one stream to the end again
  EXPECT_EQ(std::count_if(rig.asks.begin(), rig.asks.end(), [](auto& ask) { return !ask.end; }), 2);
}

TEST(RangePlanTest, AsManyConnectionsAsAreWorthWhile) {
  PlanRig rig(400_MiB, {.each = 10e6, .all = 20e6});
  EXPECT_TRUE(rig.Run());
  EXPECT_EQ(rig.most_lanes, 3);  // the third was tried
  EXPECT_TRUE(rig.asks.back().end);
}

TEST(RangePlanTest, ARegistryThatIgnoresRangesIsReadByTheFirstStream) {
  PlanRig rig(400_MiB, {.each = 10e6, .ranges = false});
  EXPECT_TRUE(rig.Run());
  EXPECT_EQ(rig.asks.size(), 2U);
  EXPECT_TRUE(rig.asks[1].exact);
  EXPECT_EQ(rig.wasted, 0_B);
}

TEST(RangePlanTest, BeginsAnywhere) {
  PlanRig rig(400_MiB, {.each = 10e6}, 100_MiB + 77_B);
  EXPECT_EQ(rig.asks[0].begin, 100_MiB + 77_B);
  EXPECT_TRUE(rig.Run());
}

TEST(RangePlanTest, WithoutRoomNothingIsAskedAhead) {
  PlanRig rig(100_MiB, {.each = 10e6});
  rig.room = 0;
  EXPECT_TRUE(rig.Run());
  EXPECT_EQ(rig.most_lanes, 1);
}

TEST(RangePlanTest, TheOnlyStreamFailsAsIfThereWereNoPlan) {
  PlanRig rig(100_MiB, {});
  rig.Step();
  EXPECT_FALSE(rig.Fail(rig.Lanes().front(), false));
}

TEST(RangePlanTest, ACutConnectionIsAskedAgainForTheRestWithOneLess) {
  PlanRig rig(400_MiB, {.each = 10e6});
  while (rig.plan.lanes() < 4) rig.Step();
  rig.Step();
  const auto lane = rig.Lanes().back();
  const Bytes at = *rig.plan.PositionOf(lane);
  EXPECT_TRUE(rig.Fail(lane, false));
  EXPECT_EQ(rig.plan.lanes(), 3);
  const std::size_t before = rig.asks.size();
  while (rig.asks.size() == before) rig.Step();
  EXPECT_EQ(rig.asks[before].begin, at);
  EXPECT_TRUE(rig.Run());
  EXPECT_LE(rig.plan.lanes(), 3);
}

TEST(RangePlanTest, ThatCutsWithoutEndAreTheEnd) {
  PlanRig rig(400_MiB, {.each = 10e6});
  while (rig.plan.lanes() < 4) rig.Step();
  for (int i = 0; i < kCutsMax; ++i) EXPECT_TRUE(rig.Fail(rig.Lanes().back(), false));
  EXPECT_FALSE(rig.Fail(rig.Lanes().back(), false));
}

// Whatever is cut or refused when: each byte comes once, or the whole says that it fails.
TEST(RangePlanTest, EachByteComesOnceWhateverFails) {
  int ended = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    Registry registry;
    registry.each = 1e6 + static_cast<double>(rng.Below(40'000'000));
    registry.all = registry.each * static_cast<double>(1 + rng.Below(5));
    PlanRig rig(Bytes(static_cast<std::int64_t>(1 + rng.Below(200 << 20))), registry);
    bool failed = false;
    while (!rig.plan.Complete() && !failed) {
      rig.room = static_cast<int>(rng.Below(5));
      if (!rig.Step()) failed = true;
      const auto lanes = rig.Lanes();
      if (failed || lanes.empty() || rng.Below(400) > 0) continue;
      failed = !rig.Fail(lanes[rng.Below(lanes.size())], rng.Below(3) == 0);
    }
    if (!failed) {
      EXPECT_TRUE(rig.Run());
      ++ended;
    }
    EXPECT_LE(rig.most_ahead, kRange * 4);
  }
  EXPECT_GT(ended, 50);
}

}  // namespace
}  // namespace shoal::proxy
