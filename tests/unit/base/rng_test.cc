#include "base/rng.h"

#include <gtest/gtest.h>

#include <array>

#include "base/result.h"

namespace shoal {
namespace {

TEST(RngTest, GivesTheSameNumbersForTheSameSeed) {
  Rng a(1);
  Rng b(1);
  Rng c(2);
  int same = 0;
  for (int i = 0; i < 100; ++i) {
    const auto x = a.Next();
    EXPECT_EQ(x, b.Next());
    if (x == c.Next()) ++same;
  }
  EXPECT_EQ(same, 0);
}

TEST(RngTest, StaysBelowItsBoundAndReachesAllOfIt) {
  Rng rng(3);
  std::array<int, 7> counts{};
  for (int i = 0; i < 7000; ++i) ++counts.at(rng.Below(7));
  for (const int count : counts) {
    EXPECT_GT(count, 800);
    EXPECT_LT(count, 1200);
  }
  EXPECT_EQ(rng.Below(1), 0U);
  for (int i = 0; i < 1000; ++i) {
    const double unit = rng.Unit();
    EXPECT_GE(unit, 0);
    EXPECT_LT(unit, 1);
  }
}

TEST(ResultTest, HoldsAValueOrAnError) {
  const Result<int> good = 7;
  const Result<int> bad = Error{Code::kNotFound, "no such blob"};
  EXPECT_TRUE(good.ok());
  EXPECT_EQ(*good, 7);
  EXPECT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().ToString(), "not found: no such blob");
  EXPECT_EQ(bad.error().In("store").text, "store: no such blob");
}

TEST(ResultDeathTest, StopsABugFromReadingWhatIsNotThere) {
  const Result<int> bad = Error{Code::kNotFound, "no such blob"};
  EXPECT_DEATH((void)bad.value(), "check failed");
}

}  // namespace
}  // namespace shoal
