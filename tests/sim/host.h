// Host: what one simulated machine is and has. The parts of the simulator act on it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "fetch/download.h"
#include "fetch/upload_desk.h"
#include "index/swarm_table.h"
#include "tests/sim/blobs.h"
#include "tests/sim/network.h"

namespace shoal::sim {

using HostId = std::uint32_t;
using FetchId = std::uint32_t;
using AnswerId = std::uint32_t;

inline constexpr HostId kNoHost = ~HostId{0};

// How a host treats those that ask it.
enum class Lie {
  kHonest,
  kWrongBytes,   // sends bytes that are not the piece's, under the true chain
  kForgedChain,  // has a chain of its own, and bytes that lead along it
  kOverclaims,   // says that it has all, and refuses
  kMute,         // says that it has all, and sends nothing
};

struct Disk {
  double rate = 1e9;             // bytes a second
  Bytes room{Bytes(1LL << 50)};  // what still fits
  Time free_at{};                // what was given to it before is written by then
  Time hashed_at{};              // and hashed; in order, as pieces of one answer are
};

// What an earlier run left in the store.
struct Leftover {
  fetch::Chain chain;
  fetch::PieceMap have;
};

struct Host {
  PeerId id;
  LinkId up = 0;
  LinkId down = 0;
  bool running = true;  // its agent; a machine whose agent does not run refuses connections
  bool dark = false;    // nothing gets in or out, and nobody is told
  bool listed = true;   // the others' rosters have it
  Lie lie = Lie::kHonest;
  Disk disk;
  fetch::DownloadLimits limits;

  std::map<BlobId, FetchId> fetching;
  std::map<BlobId, const Cut*> whole;
  std::map<BlobId, Leftover> partial;
  std::vector<AnswerId> giving;
  std::unique_ptr<fetch::UploadDesk> desk;
  std::unique_ptr<index::SwarmTable> table;  // of the digests that it is an arbiter of

  // For checkers and the report.
  std::uint64_t messages = 0;  // sent
  std::uint32_t polls = 0;     // questions for maps that it holds back
  Bytes given;
};

}  // namespace shoal::sim
