#include "index/roster.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::index {

std::string_view ToString(PeerState state) {
  switch (state) {
    case PeerState::kNew:
      return "new";
    case PeerState::kAlive:
      return "alive";
    case PeerState::kGone:
      return "gone";
  }
  return "unknown";
}

Roster::Roster(RosterLimits limits, PeerId self, std::vector<std::string> rooms, Rng rng)
    : limits_(limits), self_(self), rooms_(std::move(rooms)), rng_(rng) {
  SHOAL_CHECK(limits_.syncs_max >= 1);
  SHOAL_CHECK(limits_.sync_interval > Duration(0));
}

bool Roster::SharesRoom(const Record& record) const {
  return std::ranges::any_of(record.rooms, [&](const std::string& room) {
    return std::ranges::find(rooms_, room) != rooms_.end();
  });
}

void Roster::Schedule(Peer& peer, Time when) {
  SHOAL_CHECK(!peer.syncing);
  const PeerId& id = peer.view.record.id();
  queue_.erase({peer.next_sync, id});
  peer.next_sync = when;
  queue_.insert({when, id});
}

Time Roster::NextRegular(Time now, const Peer& peer) {
  const auto interval =
      limits_.sync_interval * (peer.view.state == PeerState::kGone ? kGonePace : 1);
  const auto quarter = static_cast<std::uint64_t>(interval.count()) / 4;
  return now + interval - Duration(quarter) +
         Duration(static_cast<std::int64_t>(rng_.Below(2 * quarter + 1)));
}

void Roster::BringForward(Time now, Peer& peer) {
  if (peer.syncing) {
    peer.news = true;
    return;
  }
  const Time soonest = std::max(now, peer.last_sync_start + kSyncSpacingMin);
  if (soonest < peer.next_sync) Schedule(peer, soonest);
}

void Roster::MakeAlive(Peer& peer, RosterActions& out) {
  peer.view.failures = 0;
  if (peer.view.state == PeerState::kGone) out.push_back(PeerAppeared{peer.view.record.id()});
  peer.view.state = PeerState::kAlive;
}

void Roster::MakeGone(Peer& peer, RosterActions& out) {
  if (peer.view.state == PeerState::kGone) return;
  peer.view.state = PeerState::kGone;
  out.push_back(PeerGone{peer.view.record.id()});
}

Status Roster::OnRecord(Time now, WallTime wall, const SignedRecord& record, RosterActions& out) {
  const PeerId& id = record.id();
  const auto refuse = [&](Code code, std::string_view why) -> Status {
    return Error{code, "record of peer " + id.Short() + " not taken: " + std::string(why)};
  };
  if (id == self_) return refuse(Code::kInvalid, "it is our own");
  const WallTime expires = record.record().expires;
  if (expires <= wall) return refuse(Code::kInvalid, "it has expired; check both hosts' clocks");
  if (expires - wall > kRecordAheadMax) {
    return refuse(Code::kInvalid, "it expires more than 72 h ahead; check both hosts' clocks");
  }
  if (!SharesRoom(record.record())) return refuse(Code::kDenied, "it shares no room with us");

  auto it = peers_.find(id);
  if (it == peers_.end()) {
    if (peers_.size() >= limits_.peers_max) {
      return refuse(Code::kExhausted,
                    "we know " + std::to_string(limits_.peers_max) + " peers already");
    }
    it = peers_.emplace(id, Peer{{record, PeerState::kNew, Time{}, 0}, {}, {}, {}, false, false})
             .first;
    Peer& peer = it->second;
    peer.last_sync_start = now - kSyncSpacingMin;
    out.push_back(PeerAppeared{id});
    Schedule(peer, now);
  } else {
    Peer& peer = it->second;
    if (record.record().sequence <= peer.view.record.record().sequence) {
      return refuse(Code::kInvalid, "we hold one as new or newer");
    }
    expiries_.erase({peer.expires, id});
    peer.view.record = record;
    if (peer.view.state == PeerState::kGone) {
      peer.view.state = PeerState::kNew;
      peer.view.failures = 0;
      out.push_back(PeerAppeared{id});
      BringForward(now, peer);
    }
  }
  it->second.expires = now + (expires - wall);
  expiries_.insert({it->second.expires, id});
  StartDue(now, out);
  return Ok();
}

void Roster::OnHead(Time now, const PeerId& peer, std::uint64_t epoch, std::uint64_t head,
                    PeerCursor held, RosterActions& out) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  it->second.view.last_heard = now;
  if (held.epoch == epoch && held.cursor >= head) return;
  BringForward(now, it->second);
  StartDue(now, out);
}

void Roster::OnSynced(Time now, const PeerId& peer, bool more, RosterActions& out) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  Peer& p = it->second;
  p.view.last_heard = now;
  MakeAlive(p, out);
  if (!p.syncing) return;
  if (more) {
    p.last_sync_start = now;
    out.push_back(SyncWith{peer});
    return;
  }
  p.syncing = false;
  --syncing_;
  Schedule(p, NextRegular(now, p));
  if (std::exchange(p.news, false)) BringForward(now, p);
  StartDue(now, out);
}

void Roster::OnSyncFailed(Time now, const PeerId& peer, RosterActions& out) {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || !it->second.syncing) return;
  Peer& p = it->second;
  p.syncing = false;
  p.news = false;
  --syncing_;
  if (++p.view.failures >= kSyncFailuresMax) MakeGone(p, out);
  Schedule(p, NextRegular(now, p));
  StartDue(now, out);
}

void Roster::OnDenied(Time now, const PeerId& peer, RosterActions& out) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  Peer& p = it->second;
  p.view.failures = std::max(p.view.failures, kSyncFailuresMax);
  MakeGone(p, out);
  if (!p.syncing) Schedule(p, NextRegular(now, p));
}

void Roster::SetRooms(std::vector<std::string> rooms, RosterActions& out) {
  rooms_ = std::move(rooms);
  for (auto it = peers_.begin(); it != peers_.end();) {
    Peer& peer = it->second;
    if (SharesRoom(peer.view.record.record())) {
      ++it;
      continue;
    }
    MakeGone(peer, out);
    if (peer.syncing) --syncing_;
    queue_.erase({peer.next_sync, it->first});
    expiries_.erase({peer.expires, it->first});
    it = peers_.erase(it);
  }
}

void Roster::OnHeard(Time now, const PeerId& peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  Peer& p = it->second;
  p.view.last_heard = now;
  if (p.view.state == PeerState::kNew) p.view.state = PeerState::kAlive;
  // Whether it really is back the next sync says.
  if (p.view.state == PeerState::kGone) BringForward(now, p);
}

void Roster::OnDeadline(Time now, WallTime wall, RosterActions& out) {
  Expire(now, wall, out);
  StartDue(now, out);
}

void Roster::Expire(Time now, WallTime wall, RosterActions& out) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    const PeerId id = expiries_.begin()->second;
    Peer& peer = peers_.at(id);
    expiries_.erase(expiries_.begin());
    const WallTime expires = peer.view.record.record().expires;
    if (expires > wall) {  // the wall clock was set back
      peer.expires = now + (expires - wall);
      expiries_.insert({peer.expires, id});
      continue;
    }
    MakeGone(peer, out);
    if (peer.syncing) --syncing_;
    queue_.erase({peer.next_sync, id});
    peers_.erase(id);
  }
}

void Roster::StartDue(Time now, RosterActions& out) {
  while (syncing_ < limits_.syncs_max && !queue_.empty() && queue_.begin()->first <= now) {
    const PeerId id = queue_.begin()->second;
    queue_.erase(queue_.begin());
    Peer& peer = peers_.at(id);
    peer.next_sync = kNever;
    peer.last_sync_start = now;
    peer.syncing = true;
    ++syncing_;
    out.push_back(SyncWith{id});
  }
}

Time Roster::NextDeadline() const {
  Time next = expiries_.empty() ? kNever : expiries_.begin()->first;
  // With all places taken the end of a sync starts the next one.
  if (syncing_ < limits_.syncs_max && !queue_.empty()) {
    next = std::min(next, queue_.begin()->first);
  }
  return next;
}

const PeerView* Roster::Find(const PeerId& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? nullptr : &it->second.view;
}

std::vector<PeerView> Roster::Peers() const {
  std::vector<PeerView> out;
  out.reserve(peers_.size());
  for (const auto& [id, peer] : peers_) out.push_back(peer.view);
  return out;
}

std::vector<PeerId> Roster::Alive() const {
  std::vector<PeerId> out;
  for (const auto& [id, peer] : peers_) {
    if (peer.view.state == PeerState::kAlive) out.push_back(id);
  }
  return out;
}

std::size_t Roster::alive_count() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      peers_, [](const auto& entry) { return entry.second.view.state == PeerState::kAlive; }));
}

void Roster::CheckInvariants() const {
  SHOAL_CHECK(peers_.size() <= limits_.peers_max);
  SHOAL_CHECK(expiries_.size() == peers_.size());
  SHOAL_CHECK(syncing_ >= 0 && syncing_ <= limits_.syncs_max);
  int syncing = 0;
  for (const auto& [id, peer] : peers_) {
    SHOAL_CHECK(id == peer.view.record.id() && id != self_);
    SHOAL_CHECK(SharesRoom(peer.view.record.record()));
    SHOAL_CHECK(expiries_.contains({peer.expires, id}));
    SHOAL_CHECK(peer.syncing != queue_.contains({peer.next_sync, id}));
    SHOAL_CHECK((peer.view.state == PeerState::kGone) == (peer.view.failures >= kSyncFailuresMax));
    syncing += peer.syncing ? 1 : 0;
  }
  SHOAL_CHECK(syncing == syncing_);
  SHOAL_CHECK(queue_.size() + static_cast<std::size_t>(syncing) == peers_.size());
}

}  // namespace shoal::index
