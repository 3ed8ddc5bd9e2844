#include "agent/rates.h"

#include <gtest/gtest.h>

namespace shoal::agent {
namespace {

using std::chrono::seconds;

TEST(RatesTest, IsWhatMovedSinceTheLastSample) {
  const PeerId peer;
  Rates rates;
  rates.Sample(Time(seconds(10)), {{peer, {1000, 0}}});
  EXPECT_EQ(rates.Of(peer).in_bps, 0);  // nothing to compare with
  rates.Sample(Time(seconds(12)), {{peer, {3000, 500}}});
  EXPECT_EQ(rates.Of(peer).in_bps, 8000);
  EXPECT_EQ(rates.Of(peer).out_bps, 2000);
  rates.Sample(Time(seconds(13)), {{peer, {3000, 500}}});
  EXPECT_EQ(rates.Of(peer).in_bps, 0);
}

TEST(RatesTest, APeerThatAppearsCountsFromNothing) {
  const PeerId peer;
  Rates rates;
  rates.Sample(Time(seconds(1)), {});
  rates.Sample(Time(seconds(2)), {{peer, {0, 125}}});
  EXPECT_EQ(rates.Of(peer).out_bps, 1000);
}

}  // namespace
}  // namespace shoal::agent
