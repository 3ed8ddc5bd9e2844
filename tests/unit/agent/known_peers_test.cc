#include "agent/known_peers.h"

#include <gtest/gtest.h>

#include "tests/unit/index/records.h"

namespace shoal::agent {
namespace {

using index::KeyNo;
using index::SignedRecord;

SignedRecord RecordNo(int n, WallTime expires) {
  const auto key = KeyNo(n);
  index::Record record;
  record.key = key.public_key();
  record.name = "host-" + std::to_string(n);
  record.endpoints = {{"10.0.0." + std::to_string(n), 7381}};
  record.rooms = {"open"};
  record.sequence = 1;
  record.expires = expires;
  return SignedRecord::Sign(record, key);
}

TEST(KnownPeersTest, ReadsWhatItWroteAndLeavesOutTheRest) {
  const WallTime later = FromUnixMs(1'790'000'000'000);
  const std::string text = ToText({RecordNo(1, later), RecordNo(2, later)});
  const auto read = ParseKnownPeers("nonsense\n" + text + "\n\n{}\n", 10);
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(read[1].id(), KeyNo(2).id());
  EXPECT_EQ(ParseKnownPeers(text, 1).size(), 1U);
  EXPECT_TRUE(ParseKnownPeers(text.substr(0, text.size() / 3), 10).empty());
}

}  // namespace
}  // namespace shoal::agent
