// Catalog: what every host's catalog says of the others' holdings, a while after it became so.
#pragma once

#include <deque>
#include <vector>

#include "tests/sim/world.h"

namespace shoal::sim {

class Catalog {
 public:
  explicit Catalog(World& world) : world_(world) {}

  // The host has something of the blob; told again when it has more.
  void Add(BlobId blob, HostId host, Duration after);
  void Add(BlobId blob, HostId host) { Add(blob, host, world_.limits.catalog_after); }
  // Some of the listed hosts that are thought to live, at random. The table is kept by arrival.
  std::vector<PeerId> Known(BlobId blob, HostId asker);

 private:
  struct Entry {
    Time from;
    HostId host;
  };
  World& world_;
  std::vector<std::vector<Entry>> entries_;  // by blob, ascending in time
  std::vector<std::uint32_t> seen_;          // of each blob, how many are visible by now
};

}  // namespace shoal::sim
