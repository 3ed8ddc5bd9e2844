// Roster: the peers we know, whether they live, and whom to sync with next.
//
// Rules
// - A record is taken when it is not expired, is not ours, shares a room with us, and has a higher
//   sequence number than the one we hold (an older one is a replay).
// - A peer is `alive` while its record has not expired and fewer than kSyncFailuresMax syncs in a
//   row have failed. A gone peer's catalog entries are dropped (Gone action) once; a new record or
//   a successful sync brings it back.
// - Each living peer is synced every Interval(), give or take a quarter, so that agents that
//   started together drift apart: sync_interval, and in a large room as much longer as keeps us to
//   paced syncs a second. With a record that ends sooner, when half of its time is over. After a
//   failure, every sync_interval. A beacon that shows news (other epoch or higher head than we
//   hold) brings the sync forward, but never closer than kSyncSpacingMin to the one before.
// - Two lanes, each with its own budget a second: those that live, and all others. So a thousand
//   invented peers do not keep the living waiting.
// - At most syncs_max syncs of a lane are under way at once. A page that was not the last is
//   followed by the next one at once, in the same place.
// - Who was synced with a record that would not last until well after the next sync is asked for a
//   new one (Renew). Agents make records that last RecordLife().
// - With peers_max known the oldest that was never heard from, or is gone, makes room.
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
  // Regular syncs a second. 15,000 peers are then asked every 25 minutes; as many ask us. Each is a
  // connection of its own, some 4 kB and half a millisecond of CPU time on both sides.
  int paced = 10;
  // No more than this in a second, what has news and pages that follow counted: 30 hosts that pull
  // have news every quarter of a second.
  int known_per_second = 128;
  // Tries of those that do not live, or of whom we do not know it yet.
  int others_per_second = 20;
  // So many at once after a pause: a room of 250 is met at once.
  int burst = 256;
};

inline constexpr int kSyncFailuresMax = 3;
inline constexpr Duration kSyncSpacingMin = std::chrono::milliseconds(200);

inline constexpr int kGonePace = 4;
inline constexpr Duration kRecordAheadMax = std::chrono::hours(72);
// Of the records that agents make, in a room that is synced every sync_interval. They are renewed
// at half of it, and so a record still holds where the clock is ten minutes (kClockSkew) ahead.
inline constexpr Duration kRecordLifeMin = std::chrono::minutes(25);

// kNew: never heard from directly. kAlive and kNew peers may be asked for pieces.
enum class PeerState { kNew, kAlive, kGone };
std::string_view ToString(PeerState state);

struct PeerView {
  SignedRecord record;
  PeerState state = PeerState::kNew;
  Time last_heard;   // a sync or a byte from it; Time{} when never
  int failures = 0;  // syncs in a row
  Time alive_since;  // when it was last found to live
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
// Ask it for its present record.
struct Renew {
  PeerId peer;
};
using RosterAction = std::variant<SyncWith, PeerGone, PeerAppeared, Renew>;
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
  void SetRooms(Time now, std::vector<std::string> rooms, RosterActions& out);
  // Bytes or an answer came from it outside a sync.
  void OnHeard(Time now, const PeerId& peer);
  void OnDeadline(Time now, WallTime wall, RosterActions& out);
  [[nodiscard]] Time NextDeadline() const;

  // Valid until the next event.
  [[nodiscard]] const PeerView* Find(const PeerId& peer) const;
  // By the first 8 bytes of its id (PeerName).
  [[nodiscard]] const PeerView* FindByName(std::uint64_t name) const;
  [[nodiscard]] std::vector<PeerView> Peers() const;
  // Those in state kAlive.
  [[nodiscard]] std::vector<PeerId> Alive() const;
  [[nodiscard]] std::size_t alive_count() const { return alive_; }
  [[nodiscard]] std::size_t known_count() const { return peers_.size(); }
  // Between two regular syncs with a peer.
  [[nodiscard]] Duration Interval() const;
  // How long our own record should hold, so that those who ask us so seldom still have it.
  [[nodiscard]] Duration RecordLife() const;
  // Those that we have heard from ourselves within two intervals, and at most `fresh` ago for the
  // first time: they may be passed on. `f` is called with the view of each.
  template <class F>
  void ForEachHeard(Time now, Duration fresh, F&& f) const {
    const Duration lately = Interval() * 2;
    for (const auto& [id, peer] : peers_) {
      const PeerView& view = peer.view;
      if (view.state != PeerState::kAlive || view.last_heard == Time{}) continue;
      if (now - view.last_heard > lately || now - view.alive_since > fresh) continue;
      if (peer.expires > now) f(view);
    }
  }

  void CheckInvariants() const;

 private:
  struct Peer {
    PeerView view;
    Time expires;    // of the record, on our own clock
    Time next_sync;  // where it stands in queue_; kNever while syncing
    Time last_sync_start;
    bool syncing = false;
    bool known = false;  // the lane it is in while it waits or is synced
    bool news = false;   // its head moved while we were syncing
    Time since{};        // when it was added, or last lived: the order in which room is made
  };
  using Queue = std::set<std::pair<Time, PeerId>>;
  struct Lane {
    Queue queue;  // by next_sync: those that are not syncing
    int syncing = 0;
    // Tokens, by the time at which as many as may be had at once are there again.
    Time full_at{};
    [[nodiscard]] Time NextAt(int per_second, int burst) const;
    void Take(Time now, int per_second);
  };

  [[nodiscard]] bool SharesRoom(const Record& record) const;
  void Schedule(Peer& peer, Time when);
  // The next regular sync after one that ended now.
  Time NextRegular(Time now, const Peer& peer);
  void BringForward(Time now, Peer& peer);
  void MakeAlive(Time now, Peer& peer, RosterActions& out);
  void MakeGone(Time now, Peer& peer, RosterActions& out);
  void EndSync(Peer& peer);
  // Drops what is known of it; whatever was to be said of its end has been.
  void Forget(const PeerId& id);
  bool MakeRoom(Time now, RosterActions& out);
  [[nodiscard]] Lane& LaneOf(const Peer& peer) { return peer.known ? known_ : others_; }
  void StartDue(Time now, RosterActions& out);
  void StartDue(Time now, Lane& lane, int per_second, RosterActions& out);
  [[nodiscard]] Time NextStart(const Lane& lane, int per_second) const;
  void SetState(Time now, Peer& peer, PeerState state);
  void Expire(Time now, WallTime wall, RosterActions& out);

  RosterLimits limits_;
  PeerId self_;
  std::vector<std::string> rooms_;
  Rng rng_;
  std::unordered_map<PeerId, Peer> peers_;
  Lane known_;      // that live
  Lane others_;     // new ones, and those that are gone
  Queue expiries_;  // by expires: all
  Queue waiting_;   // by since: all that do not live
  std::size_t alive_ = 0;
};

}  // namespace shoal::index
