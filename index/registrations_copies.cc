// Registrations of other servers, beside ours: claims, copies, and how they go.

#include <algorithm>

#include "base/check.h"
#include "index/registrations.h"
#include "index/ticks.h"

namespace shoal::index {

std::vector<Registrations::Claim> Registrations::ClaimsOf(Handle handle) const {
  const Entry& entry = entries_[handle];
  if (entry.is_shared) return claims_.at(handle);
  return {{entry.owner, entry.generation, entry.expires}};
}

std::optional<Registrations::Claim> Registrations::FindClaim(Handle handle, Owner owner) const {
  const Entry& entry = entries_[handle];
  if (!entry.is_shared) {
    if (entry.owner != owner) return std::nullopt;
    return Claim{entry.owner, entry.generation, entry.expires};
  }
  const auto& claims = claims_.at(handle);
  const auto it = std::ranges::find(claims, owner, &Claim::owner);
  return it == claims.end() ? std::nullopt : std::optional(*it);
}

// The entry is not in the wheel, or expires when it did.
void Registrations::SetClaims(Handle handle, std::vector<Claim> claims) {
  Entry& entry = entries_[handle];
  entry.expires = std::ranges::max(claims, {}, &Claim::expires).expires;
  entry.is_shared = claims.size() > 1;
  if (!entry.is_shared) {
    entry.owner = claims.front().owner;
    entry.generation = claims.front().generation;
    claims_.erase(handle);
    return;
  }
  claims_[handle] = std::move(claims);
}

// In place of the owner's earlier one; claims that have ended go.
void Registrations::SetClaim(Time now, Handle handle, const Claim& claim) {
  auto claims = ClaimsOf(handle);
  std::erase_if(claims, [&](const Claim& held) {
    const bool goes = held.owner == claim.owner || TickTime(held.expires) <= now;
    if (!goes) return false;
    --copies_[held.owner].count;
    if (held.owner == kOurOwner) UnlinkFromLog(handle);
    return true;
  });
  claims.push_back(claim);
  ++copies_[claim.owner].count;
  SetClaims(handle, std::move(claims));
}

void Registrations::DropClaim(Time now, WallTime wall, Handle handle, Owner owner) {
  auto claims = ClaimsOf(handle);
  if (std::erase_if(claims, [&](const Claim& claim) { return claim.owner == owner; }) == 0) return;
  if (claims.empty()) return Drop(handle);
  --copies_[owner].count;
  if (owner == kOurOwner) UnlinkFromLog(handle);
  Unwind(handle);
  SetClaims(handle, std::move(claims));
  // One that has ended already is not in a slot that will come.
  if (entries_[handle].expires <= turned_) entries_[handle].expires = turned_ + 1;
  Wind(handle);
  PutEntryRow(now, wall, handle);
}

Owner Registrations::AddCopy() {
  for (std::size_t i = 1; i < copies_.size(); ++i) {
    const auto owner = static_cast<Owner>(i);
    if (!copies_[i].is_used && copies_[i].count == 0 && IsSwept(owner)) {
      copies_[i] = {.is_used = true};
      return owner;
    }
  }
  copies_.push_back({.is_used = true});
  return static_cast<Owner>(copies_.size() - 1);
}

void Registrations::UseCopy(Owner owner) {
  if (owner >= copies_.size()) copies_.resize(owner + 1U);
  copies_[owner].is_used = true;
}

void Registrations::BeginSnapshot(Owner owner) { ++copies_[owner].generation; }

void Registrations::EndSnapshot(Owner owner) {
  sweeps_.push_back({owner, copies_[owner].generation, 0});
}

void Registrations::DropCopy(Owner owner) {
  SHOAL_CHECK(owner != kOurOwner);
  copies_[owner].is_used = false;
  sweeps_.push_back({owner, std::nullopt, 0});
}

bool Registrations::Sweep(Time now, WallTime wall) {
  std::size_t budget = kSweptAtOnce;
  while (!sweeps_.empty() && budget > 0) {
    Sweeping& sweep = sweeps_.front();
    for (; sweep.at < entries_.made() && budget > 0; ++sweep.at, --budget) {
      if (entries_[sweep.at].peer == kNoHandle) continue;
      const auto claim = FindClaim(sweep.at, sweep.owner);
      // A later snapshot may have begun meanwhile.
      const bool goes =
          claim && (!sweep.keep || static_cast<std::int8_t>(claim->generation - *sweep.keep) < 0);
      if (goes) DropClaim(now, wall, sweep.at, sweep.owner);
    }
    if (sweep.at >= entries_.made()) sweeps_.pop_front();
  }
  return !sweeps_.empty();
}

bool Registrations::IsSwept(Owner owner) const {
  return std::ranges::none_of(sweeps_, [&](const Sweeping& sweep) { return sweep.owner == owner; });
}

std::vector<Owner> Registrations::copies() const {
  std::vector<Owner> out;
  for (std::size_t i = 1; i < copies_.size(); ++i) {
    if (copies_[i].is_used) out.push_back(static_cast<Owner>(i));
  }
  return out;
}

std::size_t Registrations::CountOf(Owner owner) const {
  return owner < copies_.size() ? copies_[owner].count : 0;
}

bool Registrations::HasRoomForCopy(bool is_new_peer, Handle peer) const {
  if (is_new_peer) return by_id_.size() < limits_.peers_max - limits_.peers_max / 8;
  return size() < limits_.total_max - limits_.total_max / 8 &&
         (peer == kNoHandle || peers_[peer].count < limits_.per_peer_max);
}

Registrations::Copied Registrations::PutCopied(Time now, WallTime wall, Owner owner,
                                               const LogPage::Peer& told) {
  SHOAL_CHECK(owner != kOurOwner && copies_[owner].is_used);
  OnDeadline(now);
  Copied out;
  auto it = by_id_.find(told.id);
  if (it == by_id_.end()) {
    const bool is_known = told.record != nullptr;
    if (!is_known) out.unknown = told.in.size();
    if (is_known && !HasRoomForCopy(true, kNoHandle)) out.left_out = told.in.size();
    if (told.in.empty() || out.unknown + out.left_out > 0) return out;
  }
  bool is_record_new = false;
  bool says_new = false;
  Handle peer = it == by_id_.end() ? kNoHandle : it->second;
  if (told.record != nullptr) peer = TakePeer(owner, *told.record, is_record_new, says_new);
  for (const auto& [name, until_s] : told.in) {
    const Duration left =
        std::min<Duration>(WallTime(std::chrono::seconds(until_s)) - wall, limits_.ttl_max);
    if (left <= Duration(0)) continue;
    const std::string packed = PackName(name);
    const Handle space = spaces_.Find(packed);
    const bool is_known = space != kNoHandle && Find(peer, space) != kNoHandle;
    if (!is_known && !HasRoomForCopy(false, peer)) {
      ++out.left_out;
      continue;
    }
    const Claim claim{owner, copies_[owner].generation, CeilTick(now + left)};
    if (Put(now, wall, peer, packed, is_record_new, claim) || says_new) out.news.push_back(name);
  }
  for (const auto& name : told.out) {
    const Handle space = spaces_.Find(PackName(name));
    const Handle entry = space == kNoHandle ? kNoHandle : Find(peer, space);
    if (entry != kNoHandle) DropClaim(now, wall, entry, owner);
  }
  it = by_id_.find(told.id);
  if (it == by_id_.end()) return out;
  if (peers_[it->second].count == 0) {
    DropPeer(it->second);  // all that was told of it has ended
  } else if (is_record_new) {
    PutPeerRow(it->second);
  }
  return out;
}

std::vector<Registrations::Shown> Registrations::Peers(std::uint64_t after,
                                                       std::size_t limit) const {
  std::vector<Shown> out;
  for (auto it = by_number_.upper_bound(after); it != by_number_.end() && out.size() < limit;
       ++it) {
    const Peer& peer = peers_[it->second];
    out.push_back({it->first, peer.envelope, peer.owner, peer.count});
  }
  return out;
}

}  // namespace shoal::index
