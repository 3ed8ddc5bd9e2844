#include "tests/sim/engine.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "base/rng.h"

namespace shoal::sim {
namespace {

// Near, in a bucket, or far; often at the same time as another.
Duration Wait(Rng& rng) {
  constexpr std::int64_t kSpans[] = {1, 100, 10'000, 300'000, 5'000'000};
  return Duration(static_cast<std::int64_t>(
      rng.Below(static_cast<std::uint64_t>(kSpans[rng.Below(std::size(kSpans))]))));
}

TEST(EngineTest, EventsHappenInOrderOfTimeAndThenAsTheyWerePlanned) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    Engine engine;
    std::set<std::tuple<Time, std::uint32_t>> twin;
    std::uint32_t next = 0;
    const auto plan = [&] {
      const Time at = engine.now() + Wait(rng);
      engine.At(at, EventKind::kScript, next);
      twin.emplace(at, next++);
    };
    for (int i = 0; i < 50; ++i) plan();
    while (!twin.empty()) {
      ASSERT_EQ(engine.next_at(), std::get<Time>(*twin.begin()));
      const Event event = engine.Pop();
      ASSERT_EQ(std::tuple(event.at, event.a), *twin.begin());
      ASSERT_EQ(engine.now(), event.at);
      twin.erase(twin.begin());
      for (std::uint64_t n = rng.Below(3); n > 0 && next < 2000; --n) plan();
    }
    EXPECT_TRUE(engine.empty());
    EXPECT_EQ(engine.next_at(), kNever);
  }
}

TEST(EngineTest, WhatIsPlannedForThePastHappensNow) {
  Engine engine;
  engine.At(Time(Duration(500'000)), EventKind::kScript, 1);
  engine.Pop();
  engine.At(Time(Duration(3)), EventKind::kScript, 2);
  EXPECT_EQ(engine.Pop().at, Time(Duration(500'000)));
  EXPECT_TRUE(engine.empty());
}

}  // namespace
}  // namespace shoal::sim
