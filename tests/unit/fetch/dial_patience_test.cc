#include "fetch/dial_patience.h"

#include <gtest/gtest.h>

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart{1h};

TEST(DialPatienceTest, HasNoneWhereNothingIsKnownOrDialsAreQuick) {
  DialPatience dials;
  EXPECT_EQ(dials.At(kStart), 0us);
  for (int dial = 0; dial < 20; ++dial) dials.OnDial(kStart, 5ms);
  EXPECT_EQ(dials.At(kStart), 0us);
}

TEST(DialPatienceTest, GrowsWithTheFirstSlowDialAndShrinksWithQuickOnes) {
  DialPatience dials;
  for (int dial = 0; dial < 20; ++dial) dials.OnDial(kStart, 5ms);
  dials.OnDial(kStart, 800ms);
  EXPECT_GE(dials.At(kStart), 800ms);
  for (int dial = 0; dial < 60; ++dial) dials.OnDial(kStart, 5ms);
  EXPECT_EQ(dials.At(kStart), 0us);
}

TEST(DialPatienceTest, IsBounded) {
  DialPatience dials;
  dials.OnDial(kStart, 60s);
  EXPECT_EQ(dials.At(kStart), kDialPatienceMax);
}

TEST(DialPatienceTest, ForgetsWhatWasLongAgo) {
  DialPatience dials;
  dials.OnDial(kStart, 800ms);
  EXPECT_GT(dials.At(kStart + kDialMemory), 0us);
  EXPECT_EQ(dials.At(kStart + kDialMemory + 1us), 0us);
  dials.OnDial(kStart + kDialMemory + 1us, 5ms);
  EXPECT_EQ(dials.At(kStart + kDialMemory + 1us), 0us) << "the slow one counts no more";
}

}  // namespace
}  // namespace shoal::fetch
