// Roster: the peers we know, whether they live, and whom to sync with next.
//
// Rules
// - A record is taken when it is not expired, is not ours, shares a room with us, and has a higher
//   sequence number than the one we hold (an older one is a replay).
// - A peer is `alive` while its record has not expired and fewer than kSyncFailuresMax syncs in a
//   row have failed. A gone peer's catalog entries are dropped (Gone action) once; a new record or
//   a successful sync brings it back.
// - Each peer is synced every sync_interval, give or take a quarter, so that agents that started
//   together drift apart; a beacon that shows news (other epoch or higher head than we hold) brings
//   the sync forward, but never closer than kSyncSpacingMin to the one before.
// - At most syncs_max syncs are under way at once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "index/catalog.h"
#include "index/record.h"

namespace shoal::index {

struct RosterLimits {
  Duration sync_interval = std::chrono::seconds(10);
  int syncs_max = 16;
  std::size_t peers_max = 20'000;
};

inline constexpr int kSyncFailuresMax = 3;
inline constexpr Duration kSyncSpacingMin = std::chrono::milliseconds(200);

enum class PeerState { kNew, kAlive, kGone };
std::string_view ToString(PeerState state);

struct PeerView {
  SignedRecord record;
  PeerState state = PeerState::kNew;
  Time last_heard;   // a sync or a byte from it; Time{} when never
  int failures = 0;  // syncs in a row
};

// Ask this peer for its keys after `cursor`.
struct SyncWith {
  PeerId peer;
};
// Drop what the catalog says of this peer.
struct PeerGone {
  PeerId peer;
};
struct PeerAppeared {
  PeerId peer;
};
using RosterAction = std::variant<SyncWith, PeerGone, PeerAppeared>;
using RosterActions = std::vector<RosterAction>;

class Roster {
 public:
  Roster(RosterLimits limits, PeerId self, std::vector<std::string> rooms, Rng rng);

  // A verified record from any peer index. Returns why it was not taken, if it was not.
  Status OnRecord(Time now, WallTime wall, const SignedRecord& record, RosterActions& out);
  // A beacon or an answer says how far the peer's log goes; `held` is how far we have followed it.
  void OnHead(Time now, const PeerId& peer, std::uint64_t epoch, std::uint64_t head,
              PeerCursor held, RosterActions& out);
  // `more`: the page was not the last; sync again at once.
  void OnSynced(Time now, const PeerId& peer, bool more, RosterActions& out);
  void OnSyncFailed(Time now, const PeerId& peer, RosterActions& out);
  // Bytes or an answer came from it outside a sync.
  void OnHeard(Time now, const PeerId& peer);
  void OnDeadline(Time now, WallTime wall, RosterActions& out);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] const PeerView* Find(const PeerId& peer) const;
  [[nodiscard]] std::vector<PeerView> Peers() const;
  [[nodiscard]] std::vector<PeerId> Alive() const;
  [[nodiscard]] std::size_t alive_count() const;

  void CheckInvariants() const;

 private:
  struct Peer {
    PeerView view;
    Time next_sync;
    Time last_sync_start;
    bool syncing = false;
  };

  RosterLimits limits_;
  PeerId self_;
  std::vector<std::string> rooms_;
  Rng rng_;
  std::unordered_map<PeerId, Peer> peers_;
  int syncing_ = 0;
};

}  // namespace shoal::index
