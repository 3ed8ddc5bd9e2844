#include "index/roster.h"

#include <algorithm>

#include "base/check.h"
#include "index/membership.h"
#include "index/peer_names.h"

namespace shoal::index {
namespace {

// Less than the half that is left when its owner renews it.
constexpr Duration kRenewBefore = std::chrono::minutes(2);

}  // namespace

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

Time Roster::Lane::NextAt(int per_second, int burst) const {
  return full_at - Duration(std::chrono::seconds(1)) / per_second * (burst - 1);
}

void Roster::Lane::Take(Time now, int per_second) {
  full_at = std::max(full_at, now) + Duration(std::chrono::seconds(1)) / per_second;
}

void Roster::Schedule(Peer& peer, Time when) {
  SHOAL_CHECK(!peer.syncing);
  const PeerId& id = peer.view.record.id();
  LaneOf(peer).queue.erase({peer.next_sync, id});
  peer.next_sync = when;
  peer.known = peer.view.state == PeerState::kAlive;
  LaneOf(peer).queue.insert({when, id});
}

void Roster::EndSync(Peer& peer) {
  SHOAL_CHECK(peer.syncing);
  peer.syncing = false;
  --LaneOf(peer).syncing;
}

Duration Roster::Interval() const {
  const Duration paced = Duration(std::chrono::seconds(1)) * static_cast<std::int64_t>(alive_) /
                         std::max(1, limits_.paced);
  return std::max(limits_.sync_interval, paced);
}

// Of all that are known, as those know us who live: a host that has just come has hardly met them.
Duration Roster::RecordLife() const {
  const Duration paced = Duration(std::chrono::seconds(1)) *
                         static_cast<std::int64_t>(peers_.size()) / std::max(1, limits_.paced);
  return std::max(kRecordLifeMin, paced * 3 + 2 * kClockSkew);
}

Time Roster::NextRegular(Time now, const Peer& peer) {
  Duration interval = Interval();
  if (peer.view.state == PeerState::kGone) {
    interval *= kGonePace;
  } else if (peer.view.failures > 0) {
    interval = limits_.sync_interval;
  } else {
    interval = std::clamp((peer.expires - now) / 2, limits_.sync_interval, interval);
  }
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

void Roster::SetState(Time now, Peer& peer, PeerState state) {
  if (peer.view.state == state) return;
  const PeerId& id = peer.view.record.id();
  if (peer.view.state == PeerState::kAlive) {
    --alive_;
    peer.since = now;
    waiting_.insert({peer.since, id});
  } else if (state == PeerState::kAlive) {
    ++alive_;
    waiting_.erase({peer.since, id});
    peer.view.alive_since = now;
  }
  peer.view.state = state;
  // Into the other lane. What is being synced comes there when that ends.
  if (!peer.syncing) Schedule(peer, peer.next_sync);
}

void Roster::MakeAlive(Time now, Peer& peer, RosterActions& out) {
  peer.view.failures = 0;
  if (peer.view.state == PeerState::kGone) out.push_back(PeerAppeared{peer.view.record.id()});
  SetState(now, peer, PeerState::kAlive);
}

void Roster::MakeGone(Time now, Peer& peer, RosterActions& out) {
  if (peer.view.state == PeerState::kGone) return;
  SetState(now, peer, PeerState::kGone);
  out.push_back(PeerGone{peer.view.record.id()});
}

void Roster::Forget(const PeerId& id) {
  Peer& peer = peers_.at(id);
  if (peer.syncing) EndSync(peer);
  if (peer.view.state == PeerState::kAlive) --alive_;
  LaneOf(peer).queue.erase({peer.next_sync, id});
  expiries_.erase({peer.expires, id});
  waiting_.erase({peer.since, id});
  peers_.erase(id);
}

bool Roster::MakeRoom(Time now, RosterActions& out) {
  if (peers_.size() < limits_.peers_max) return true;
  if (waiting_.empty()) return false;
  const PeerId id = waiting_.begin()->second;
  MakeGone(now, peers_.at(id), out);
  Forget(id);
  return true;
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
    if (!MakeRoom(now, out)) {
      return refuse(Code::kExhausted,
                    "we know " + std::to_string(limits_.peers_max) + " living peers already");
    }
    it = peers_.emplace(id, Peer{.view = {.record = record}}).first;
    Peer& peer = it->second;
    peer.last_sync_start = now - kSyncSpacingMin;
    peer.since = now;
    waiting_.insert({now, id});
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
      SetState(now, peer, PeerState::kNew);
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
  MakeAlive(now, p, out);
  if (!p.syncing) return;
  if (more) {
    p.last_sync_start = now;
    LaneOf(p).Take(now, p.known ? limits_.known_per_second : limits_.others_per_second);
    out.push_back(SyncWith{peer});
    return;
  }
  EndSync(p);
  Schedule(p, NextRegular(now, p));
  if (p.expires - now < std::max(kRenewBefore, Interval() * 3 / 2)) out.push_back(Renew{peer});
  if (std::exchange(p.news, false)) BringForward(now, p);
  StartDue(now, out);
}

void Roster::OnSyncFailed(Time now, const PeerId& peer, RosterActions& out) {
  const auto it = peers_.find(peer);
  if (it == peers_.end() || !it->second.syncing) return;
  Peer& p = it->second;
  EndSync(p);
  p.news = false;
  if (++p.view.failures >= kSyncFailuresMax) MakeGone(now, p, out);
  Schedule(p, NextRegular(now, p));
  StartDue(now, out);
}

void Roster::OnDenied(Time now, const PeerId& peer, RosterActions& out) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  Peer& p = it->second;
  p.view.failures = std::max(p.view.failures, kSyncFailuresMax);
  MakeGone(now, p, out);
  if (!p.syncing) Schedule(p, NextRegular(now, p));
}

void Roster::SetRooms(Time now, std::vector<std::string> rooms, RosterActions& out) {
  rooms_ = std::move(rooms);
  std::vector<PeerId> gone;
  for (auto& [id, peer] : peers_) {
    if (SharesRoom(peer.view.record.record())) continue;
    MakeGone(now, peer, out);
    gone.push_back(id);
  }
  for (const PeerId& id : gone) Forget(id);
}

void Roster::OnHeard(Time now, const PeerId& peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return;
  Peer& p = it->second;
  p.view.last_heard = now;
  if (p.view.state == PeerState::kNew) SetState(now, p, PeerState::kAlive);
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
    MakeGone(now, peer, out);
    Forget(id);
  }
}

void Roster::StartDue(Time now, RosterActions& out) {
  StartDue(now, known_, limits_.known_per_second, out);
  StartDue(now, others_, limits_.others_per_second, out);
}

void Roster::StartDue(Time now, Lane& lane, int per_second, RosterActions& out) {
  while (NextStart(lane, per_second) <= now) {
    const PeerId id = lane.queue.begin()->second;
    lane.queue.erase(lane.queue.begin());
    lane.Take(now, per_second);
    Peer& peer = peers_.at(id);
    peer.next_sync = kNever;
    peer.last_sync_start = now;
    peer.syncing = true;
    ++lane.syncing;
    out.push_back(SyncWith{id});
  }
}

// With all places taken the end of a sync starts the next one.
Time Roster::NextStart(const Lane& lane, int per_second) const {
  if (lane.syncing >= limits_.syncs_max || lane.queue.empty()) return kNever;
  return std::max(lane.queue.begin()->first, lane.NextAt(per_second, limits_.burst));
}

Time Roster::NextDeadline() const {
  const Time next = expiries_.empty() ? kNever : expiries_.begin()->first;
  return std::min({next, NextStart(known_, limits_.known_per_second),
                   NextStart(others_, limits_.others_per_second)});
}

const PeerView* Roster::Find(const PeerId& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? nullptr : &it->second.view;
}

const PeerView* Roster::FindByName(PeerName name) const {
  if (peers_.empty()) return nullptr;
  // The hash of an id is made of these bytes alone.
  const std::size_t bucket = peers_.bucket(LowestOf(name));
  for (auto it = peers_.begin(bucket); it != peers_.end(bucket); ++it) {
    if (PeerNameOf(it->first) == name) return &it->second.view;
  }
  return nullptr;
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

void Roster::CheckInvariants() const {
  SHOAL_CHECK(peers_.size() <= limits_.peers_max);
  SHOAL_CHECK(expiries_.size() == peers_.size());
  SHOAL_CHECK(alive_ + waiting_.size() == peers_.size());
  std::size_t alive = 0;
  std::size_t queued = 0;
  int syncing = 0;
  for (const auto& [id, peer] : peers_) {
    const bool is_alive = peer.view.state == PeerState::kAlive;
    SHOAL_CHECK(id == peer.view.record.id() && id != self_);
    SHOAL_CHECK(SharesRoom(peer.view.record.record()));
    SHOAL_CHECK(expiries_.contains({peer.expires, id}));
    SHOAL_CHECK(is_alive != waiting_.contains({peer.since, id}));
    const Lane& lane = peer.known ? known_ : others_;
    SHOAL_CHECK(peer.syncing != lane.queue.contains({peer.next_sync, id}));
    SHOAL_CHECK(peer.syncing || peer.known == is_alive);
    SHOAL_CHECK((peer.view.state == PeerState::kGone) == (peer.view.failures >= kSyncFailuresMax));
    alive += is_alive ? 1 : 0;
    if (peer.syncing) {
      ++syncing;
    } else {
      ++queued;
    }
  }
  SHOAL_CHECK(alive == alive_);
  SHOAL_CHECK(syncing == known_.syncing + others_.syncing);
  SHOAL_CHECK(known_.syncing >= 0 && known_.syncing <= limits_.syncs_max);
  SHOAL_CHECK(others_.syncing >= 0 && others_.syncing <= limits_.syncs_max);
  SHOAL_CHECK(known_.queue.size() + others_.queue.size() == queued);
}

}  // namespace shoal::index
