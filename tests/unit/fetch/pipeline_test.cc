#include "fetch/pipeline.h"

#include <gtest/gtest.h>

#include <deque>

namespace shoal::fetch {
namespace {

using std::chrono::milliseconds;

// A path that takes `latency` for each piece however many are under way, and brings at most one
// piece each `spacing`. Keeps as many under way as the pipeline says; returns the mean depth of the
// second half.
double MeanDepth(Duration latency, Duration spacing, int max) {
  constexpr int kPieces = 2000;
  Pipeline pipeline(4, max);
  Time now{std::chrono::seconds(1)};
  Time link_free = now;
  std::deque<Time> under_way;  // when each comes
  double sum = 0;
  for (int piece = 0; piece < kPieces; ++piece) {
    while (static_cast<int>(under_way.size()) < pipeline.depth()) {
      link_free = std::max(link_free, now) + spacing;
      under_way.push_back(std::max(link_free, now + latency));
    }
    now = std::max(now, under_way.front());
    under_way.pop_front();
    pipeline.OnPiece(now);
    if (piece >= kPieces / 2) sum += pipeline.depth();
  }
  return 2 * sum / kPieces;
}

TEST(PipelineTest, BeginsWithTheLeast) {
  EXPECT_EQ(Pipeline(4, 16).depth(), 4);
  EXPECT_EQ(Pipeline(4, 2).depth(), 2) << "never more than is allowed";
}

TEST(PipelineTest, AFullLinkKeepsFew) {
  EXPECT_LE(MeanDepth(milliseconds(1), milliseconds(84), 16), 5);
}

TEST(PipelineTest, ALongPathGetsMany) {
  // 100 ms away at ten pieces in that time: ten are under way when the link is full.
  EXPECT_GE(MeanDepth(milliseconds(100), milliseconds(10), 16), 8);
}

TEST(PipelineTest, AVeryLongPathGetsAllThatIsAllowed) {
  EXPECT_GE(MeanDepth(milliseconds(1000), milliseconds(1), 16), 15);
}

}  // namespace
}  // namespace shoal::fetch
