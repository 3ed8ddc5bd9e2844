#include "index/dial_bound.h"

#include <gtest/gtest.h>

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Verdict = DialBound::Verdict;

TEST(DialBoundTest, GivesANetworkItsBurstAndThenItsRate) {
  DialBound bound({.per_second = 100, .burst = 3, .per_second_of_one = 2});
  Time now{seconds(10)};
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bound.Ask(now, "10.0.0.1"), Verdict::kDial);
  EXPECT_EQ(bound.Ask(now, "10.0.0.1"), Verdict::kNot);
  EXPECT_EQ(bound.Ask(now, "10.0.0.2"), Verdict::kDial);
  now += milliseconds(499);
  EXPECT_EQ(bound.Ask(now, "10.0.0.1"), Verdict::kNot);
  now += milliseconds(1);
  EXPECT_EQ(bound.Ask(now, "10.0.0.1"), Verdict::kDial);
  EXPECT_EQ(bound.Ask(now, "10.0.0.1"), Verdict::kNot);
  now += seconds(60);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(bound.Ask(now, "10.0.0.1"), Verdict::kDial);
  EXPECT_EQ(bound.Ask(now, "10.0.0.1"), Verdict::kNot);
}

TEST(DialBoundTest, PutsOffWhatIsTooMuchOfAll) {
  DialBound bound({.per_second = 5, .burst = 2, .per_second_of_one = 1});
  Time now{seconds(10)};
  for (int i = 0; i < 5; ++i) EXPECT_EQ(bound.Ask(now, std::to_string(i)), Verdict::kDial);
  EXPECT_EQ(bound.Ask(now, "another"), Verdict::kLater);
  now = bound.NextSecond();
  // What was put off has cost its network nothing.
  EXPECT_EQ(bound.Ask(now, "another"), Verdict::kDial);
  EXPECT_EQ(bound.Ask(now, "another"), Verdict::kDial);
  EXPECT_EQ(bound.Ask(now, "another"), Verdict::kNot);
}

TEST(DialBoundTest, ForgetsNetworksThatHaveTheirBurstBack) {
  DialBound bound({.per_second = 50, .burst = 4, .per_second_of_one = 1});
  Time now{seconds(10)};
  int dialled = 0;
  for (int second = 0; second < 100; ++second) {
    for (int i = 0; i < 80; ++i) {
      const auto verdict = bound.Ask(now, std::to_string(second) + "." + std::to_string(i));
      dialled += verdict == Verdict::kDial ? 1 : 0;
    }
    now += seconds(1);
    EXPECT_LE(bound.size(), 100U);
  }
  EXPECT_EQ(dialled, 50 * 100);
}

}  // namespace
}  // namespace shoal::index
