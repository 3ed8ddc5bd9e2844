// SwarmDesk: an index server's side of the swarms: who may ask, and whose records go with the
// answer. What is answered is SwarmTable's. docs/PROTOCOL.md, "Swarms at an index server".
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

#include "index/replay_window.h"
#include "index/swarm_request.h"
#include "index/swarm_table.h"

namespace shoal::index {

struct SwarmDeskLimits {
  SwarmLimits table;
  std::size_t peers_max = 20'000;   // about 3 KiB each; the one that asked longest ago makes room
  std::size_t records_max = 1'000;  // of one answer: at most 4 MiB
};

// Rules
// - Each request of a peer has a `sent` of its own; those that were under way together may overtake
//   each other (ReplayWindow), so that askings about several blobs need not wait for one another.
// - A peer that is not remembered must have a `sent` within kClockApart of our clock: what was
//   recorded long ago cannot be said again once the peer is forgotten.
// - A member's record is told unless the asker names it as known. It is the newest with which the
//   member asked; expired ones are not told.
class SwarmDesk {
 public:
  static constexpr Duration kClockApart = std::chrono::hours(1);

  explicit SwarmDesk(SwarmDeskLimits limits) : limits_(limits), table_(limits.table) {}

  RendezvousError OnRequest(Time now, WallTime wall, const SwarmRequest& request,
                            SwarmReply& reply);

  [[nodiscard]] std::size_t peer_count() const { return peers_.size(); }
  [[nodiscard]] std::size_t blob_count() const { return table_.blob_count(); }
  void CheckInvariants() const;

 private:
  struct Peer {
    RecordPtr record;
    ReplayWindow sent;
    std::list<PeerId>::iterator place;
  };

  RendezvousError Admit(WallTime wall, const SwarmRequest& request);
  void GiveRecords(WallTime wall, const SwarmRequest& request, SwarmReply& reply) const;

  SwarmDeskLimits limits_;
  SwarmTable table_;
  std::unordered_map<PeerId, Peer> peers_;
  std::list<PeerId> order_;  // the one that asked longest ago first
};

}  // namespace shoal::index
