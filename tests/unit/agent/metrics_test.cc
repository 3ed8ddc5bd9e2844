#include "agent/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::agent {
namespace {

using ::testing::HasSubstr;

TEST(MetricsTest, WritesCountersAndGauges) {
  const std::string text = RenderMetrics(
      {{"shoal_from_peers_bytes_total", "Bytes from peers.", Metric::Kind::kCounter,
        [] { return 1234.0; }},
       {"shoal_pulls_active", "Pulls that run.", Metric::Kind::kGauge, [] { return 2.5; }}});
  EXPECT_THAT(text, HasSubstr("# HELP shoal_from_peers_bytes_total Bytes from peers.\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE shoal_from_peers_bytes_total counter\n"));
  EXPECT_THAT(text, HasSubstr("\nshoal_from_peers_bytes_total 1234\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE shoal_pulls_active gauge\n"));
  EXPECT_THAT(text, HasSubstr("\nshoal_pulls_active 2.5\n"));
}

TEST(MetricsTest, ReadsEachNumberWhenItIsAsked) {
  double value = 1;
  const std::vector<Metric> metrics{
      {"shoal_x", "X.", Metric::Kind::kGauge, [&value] { return value; }}};
  EXPECT_THAT(RenderMetrics(metrics), HasSubstr("\nshoal_x 1\n"));
  value = 2;
  EXPECT_THAT(RenderMetrics(metrics), HasSubstr("\nshoal_x 2\n"));
}

// Byte counts must not be rounded: 2^53 is the most that a double holds exactly.
TEST(MetricsTest, WritesLargeCountsExactly) {
  const std::string text = RenderMetrics(
      {{"shoal_bytes_total", "B.", Metric::Kind::kCounter, [] { return 9007199254740991.0; }}});
  EXPECT_THAT(text, HasSubstr("\nshoal_bytes_total 9007199254740991\n"));
}

TEST(MetricsTest, NothingIsAnEmptyText) { EXPECT_EQ(RenderMetrics({}), ""); }

}  // namespace
}  // namespace shoal::agent
