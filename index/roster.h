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
// - At most syncs_max syncs are under way at once. A page that was not the last is followed by the
//   next one at once, in the same place.
// - A gone peer whose record still holds is tried every kGonePace intervals, so that many dead
//   hosts do not keep the living waiting. One whose record has expired is forgotten.
// - A record that expires more than kRecordAheadMax from now is refused: no agent makes one, and it
//   could not be got rid of.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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

inline constexpr int kGonePace = 4;
inline constexpr Duration kRecordAheadMax = std::chrono::hours(72);

// kNew: never heard from directly. kAlive and kNew peers may be asked for pieces.
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
  // It may not be one of us: its entries are dropped, and it is tried again as one that is gone.
  void OnDenied(Time now, const PeerId& peer, RosterActions& out);
  // We are in other rooms than before. Peers that share none are forgotten.
  void SetRooms(std::vector<std::string> rooms, RosterActions& out);
  // Bytes or an answer came from it outside a sync.
  void OnHeard(Time now, const PeerId& peer);
  void OnDeadline(Time now, WallTime wall, RosterActions& out);
  [[nodiscard]] Time NextDeadline() const;

  // Valid until the next event.
  [[nodiscard]] const PeerView* Find(const PeerId& peer) const;
  [[nodiscard]] std::vector<PeerView> Peers() const;
  // Those in state kAlive.
  [[nodiscard]] std::vector<PeerId> Alive() const;
  [[nodiscard]] std::size_t alive_count() const;

  void CheckInvariants() const;

 private:
  struct Peer {
    PeerView view;
    Time expires;    // of the record, on our own clock
    Time next_sync;  // where it stands in queue_; kNever while syncing
    Time last_sync_start;
    bool syncing = false;
    bool news = false;  // its head moved while we were syncing
  };
  using Queue = std::set<std::pair<Time, PeerId>>;

  [[nodiscard]] bool SharesRoom(const Record& record) const;
  void Schedule(Peer& peer, Time when);
  // The next regular sync after one that ended now.
  Time NextRegular(Time now, const Peer& peer);
  void BringForward(Time now, Peer& peer);
  void MakeAlive(Peer& peer, RosterActions& out);
  void MakeGone(Peer& peer, RosterActions& out);
  void StartDue(Time now, RosterActions& out);
  void Expire(Time now, WallTime wall, RosterActions& out);

  RosterLimits limits_;
  PeerId self_;
  std::vector<std::string> rooms_;
  Rng rng_;
  std::unordered_map<PeerId, Peer> peers_;
  Queue queue_;     // by next_sync: those that are not syncing
  Queue expiries_;  // by expires: all
  int syncing_ = 0;
};

}  // namespace shoal::index
