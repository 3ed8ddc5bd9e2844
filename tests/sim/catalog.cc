#include "tests/sim/catalog.h"

#include <algorithm>

namespace shoal::sim {
namespace {

// A real catalog names no more of them either; a download asks fewer.
constexpr std::size_t kKnownMax = 64;

}  // namespace

void Catalog::Add(BlobId blob, HostId host, Duration after) {
  if (entries_.size() <= blob) {
    entries_.resize(blob + 1);
    seen_.resize(blob + 1, 0);
  }
  entries_[blob].push_back({world_.now() + after, host});
}

std::vector<PeerId> Catalog::Known(BlobId blob, HostId asker) {
  std::vector<PeerId> known;
  if (entries_.size() <= blob) return known;
  const auto& entries = entries_[blob];
  std::uint32_t& seen = seen_[blob];
  while (seen < entries.size() && entries[seen].from <= world_.now()) ++seen;
  if (seen == 0) return known;
  // A stretch from a random place on: who is listed twice is found a little more often.
  const std::uint64_t start = world_.catalog_rng.Below(seen);
  for (std::uint32_t i = 0; i < seen && known.size() < kKnownMax; ++i) {
    const HostId host = entries[(start + i) % seen].host;
    if (host == asker || !world_.hosts[host].listed) continue;
    const PeerId& id = world_.hosts[host].id;
    if (std::ranges::find(known, id) == known.end()) known.push_back(id);
  }
  return known;
}

}  // namespace shoal::sim
