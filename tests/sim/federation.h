// Index servers that federate, with very many peers: what following each other costs, and how soon
// a partition is over. ./dev sim federation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace shoal::sim {

struct FederationOptions {
  std::uint32_t peers = 100'000;
  int servers = 5;
  // Peers that register anew, with a new record, while two servers are apart from the others.
  std::vector<std::uint32_t> changes = {0, 100, 1000, 10'000};
  Duration partition = std::chrono::seconds(60);
};

// Of all servers together.
struct FederationCost {
  std::uint32_t changes = 0;
  bool is_whole = false;           // all know all in the end
  Duration time{0};                // until they did
  std::uint64_t peers_told = 0;    // by pages that came
  std::uint64_t plain_bytes = 0;   // of those pages' answers
  std::uint64_t packed_bytes = 0;  // the same by zstd, as on the wire
  std::uint64_t least_bytes = 0;   // records and namespaces that somebody lacked
  std::uint64_t snapshots = 0;
};

struct FederationResult {
  FederationCost snapshot;  // servers that know all of their own peers meet
  std::vector<FederationCost> partitions;
  [[nodiscard]] bool is_whole() const;
};

FederationResult RunFederation(const FederationOptions& options);
std::string ToTable(const FederationOptions& options, const FederationResult& result);

}  // namespace shoal::sim
