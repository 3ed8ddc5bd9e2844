#include "fetch/peer_score.h"

#include <gtest/gtest.h>

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart{1h};

TEST(PeerScoreTest, PenaltiesDoubleUpToTheirLimit) {
  PeerScore score(500ms, 30s);
  EXPECT_TRUE(score.MayAsk(kStart));
  Time now = kStart;
  for (const Duration expected : {Duration(500ms), Duration(1s), Duration(2s), Duration(4s),
                                  Duration(8s), Duration(16s), Duration(30s), Duration(30s)}) {
    score.OnFailure(now);
    EXPECT_EQ(score.usable_at(), now + expected);
    EXPECT_FALSE(score.MayAsk(now + expected - 1us));
    now += expected;
    EXPECT_TRUE(score.MayAsk(now));
  }
  EXPECT_EQ(score.failures_in_row(), 8);
}

TEST(PeerScoreTest, AGoodPieceForgivesFailures) {
  PeerScore score(500ms, 30s);
  score.OnFailure(kStart);
  score.OnFailure(kStart);
  EXPECT_FALSE(score.proven());
  score.OnVerified();
  EXPECT_TRUE(score.proven());
  EXPECT_EQ(score.failures_in_row(), 0);
  score.OnFailure(kStart + 1min);
  EXPECT_EQ(score.usable_at(), kStart + 1min + 500ms);
}

TEST(PeerScoreTest, ARateIsMeasuredWhileBusyOnly) {
  PeerScore score(500ms, 30s);
  EXPECT_FALSE(score.rate());
  score.OnAsked(kStart, true);
  score.OnBytes(kStart + 50ms, Bytes(50'000));
  EXPECT_FALSE(score.rate());
  score.OnBytes(kStart + 100ms, Bytes(50'000));
  EXPECT_DOUBLE_EQ(*score.rate(), 1e6);
  score.OnAsked(kStart + 1h, true);  // the idle hour does not count
  score.OnBytes(kStart + 1h + 100ms, Bytes(100'000));
  EXPECT_DOUBLE_EQ(*score.rate(), 1e6);
}

TEST(PeerScoreTest, TheRateFollowsAChange) {
  PeerScore score(500ms, 30s);
  score.OnAsked(kStart, true);
  for (int i = 1; i <= 10; ++i) score.OnBytes(kStart + i * 100ms, Bytes(100'000));
  for (int i = 11; i <= 20; ++i) score.OnBytes(kStart + i * 100ms, Bytes(10'000));
  EXPECT_LT(*score.rate(), 2e5);
}

}  // namespace
}  // namespace shoal::fetch
