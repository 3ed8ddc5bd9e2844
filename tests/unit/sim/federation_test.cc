#include "tests/sim/federation.h"

#include <gtest/gtest.h>

namespace shoal::sim {
namespace {

TEST(FederationSimTest, ServersThatMeetOrMeetAgainTellWhatIsLackingAndLittleMore) {
  const auto result = RunFederation({.peers = 500, .servers = 5, .changes = {0, 50}});
  ASSERT_TRUE(result.is_whole());
  EXPECT_EQ(result.snapshot.peers_told, 4U * 500U);
  EXPECT_EQ(result.snapshot.snapshots, 20U);
  EXPECT_EQ(result.partitions[0].peers_told, 0U);
  EXPECT_EQ(result.partitions[0].packed_bytes, 0U);
  EXPECT_EQ(result.partitions[1].snapshots, 0U);
  EXPECT_LT(result.partitions[1].packed_bytes, result.partitions[1].least_bytes * 2);
}

}  // namespace
}  // namespace shoal::sim
