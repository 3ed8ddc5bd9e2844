#include "fetch/pipeline.h"

#include <gtest/gtest.h>

#include <deque>

namespace shoal::fetch {
namespace {

using std::chrono::milliseconds;

// A path that takes `latency` for each piece however many are under way, and brings at most one
// piece each `spacing`. Keeps as many under way as the pipeline says.
int SettledDepth(Duration latency, Duration spacing, int max) {
  Pipeline pipeline;
  Time now{std::chrono::seconds(1)};
  Time link_free = now;
  std::deque<std::pair<Time, Time>> under_way;  // asked, comes
  for (int piece = 0; piece < 2000; ++piece) {
    while (static_cast<int>(under_way.size()) < pipeline.Depth(4, max)) {
      link_free = std::max(link_free, now) + spacing;
      under_way.emplace_back(now, std::max(link_free, now + latency));
    }
    now = std::max(now, under_way.front().second);
    pipeline.OnPiece(now, under_way.front().first);
    under_way.pop_front();
  }
  return pipeline.Depth(4, max);
}

TEST(PipelineTest, BeginsWithTheLeast) {
  EXPECT_EQ(Pipeline().Depth(4, 16), 4);
  EXPECT_EQ(Pipeline().Depth(4, 2), 2) << "never more than is allowed";
}

TEST(PipelineTest, AFullLinkKeepsFew) {
  EXPECT_LE(SettledDepth(milliseconds(1), milliseconds(84), 16), 6);
}

TEST(PipelineTest, ALongPathGetsMany) {
  // 100 ms away at ten pieces in that time: ten are under way when the link is full.
  EXPECT_GE(SettledDepth(milliseconds(100), milliseconds(10), 16), 10);
}

TEST(PipelineTest, StaysWithinItsBounds) {
  EXPECT_EQ(SettledDepth(milliseconds(1000), milliseconds(1), 16), 16);
}

}  // namespace
}  // namespace shoal::fetch
