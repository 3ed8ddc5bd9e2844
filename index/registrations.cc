#include "index/registrations.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "index/ticks.h"

namespace shoal::index {
namespace {

// A second each; more than the 72 hours of kTtlMax.
constexpr std::uint32_t kSlots = 1U << 18;
static_assert(std::chrono::seconds(kSlots) > kTtlMax + std::chrono::hours(1) / 4);

std::uint64_t SeedOf(const CookieSecret& secret) {
  std::uint64_t seed = 0;
  for (const auto byte : secret) seed = Mix(seed ^ static_cast<std::uint64_t>(byte));
  return seed;
}

// What a record says besides its sequence and expiry, as one number.
std::uint64_t SayingOf(const Record& record) {
  std::uint64_t hash = 0;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = Mix(hash ^ static_cast<unsigned char>(c));
    hash = Mix(hash ^ 0x100);
  };
  add(record.name);
  for (const auto& endpoint : record.endpoints) add(ToString(endpoint));
  for (const auto& relay : record.relays) add(ToString(relay));
  add("");
  for (const auto& room : record.rooms) add(room);
  return hash;
}

}  // namespace

Registrations::Registrations(RegistrationLimits limits, const CookieSecret& secret,
                             std::uint64_t epoch)
    : limits_(limits),
      secret_(secret),
      epoch_(epoch),
      spaces_(SeedOf(secret)),
      wheel_(kSlots, kNoHandle),
      copies_(1, Copy{.is_used = true}) {
  SHOAL_CHECK(limits.ttl_min >= std::chrono::seconds(1) && limits.ttl_max <= kTtlMax);
  SHOAL_CHECK(limits.ttl_min <= limits.ttl_max);
}

RendezvousError Registrations::Check(WallTime wall, const Request& request) const {
  if (request.namespaces.empty() || !std::ranges::all_of(request.namespaces, IsNamespace)) {
    return {RendezvousStatus::kInvalidNamespace,
            "a namespace must be 1 to 255 bytes of printable ASCII"};
  }
  const Record& record = request.record.record();
  if (record.expires <= wall) {
    return {RendezvousStatus::kInvalidRecord,
            "the record has expired; check the clocks of the host and the server"};
  }
  const auto it = by_id_.find(request.record.id());
  if (it == by_id_.end() || peers_[it->second].sent_ms == 0) {
    const auto apart = FromUnixMs(request.sent_ms) - wall;
    if (apart > kClockApart || apart < -kClockApart) {
      return {RendezvousStatus::kNotAuthorized,
              "the request is of another time; check the clocks of the host and the server"};
    }
    if (it == by_id_.end()) return {};
  }
  const Peer& peer = peers_[it->second];
  if (request.sent_ms <= peer.sent_ms) {
    return {RendezvousStatus::kNotAuthorized, "the request is not newer than the last one"};
  }
  // Another server may have told a newer one while this was under way.
  if (peer.owner == kOurOwner && record.sequence < peer.sequence) {
    return {RendezvousStatus::kNotAuthorized, "the record is older than the last one"};
  }
  return {};
}

bool Registrations::HasRoom(Handle peer, const std::vector<std::string>& packed) const {
  std::set<std::string_view> fresh;
  for (const auto& name : packed) {
    const Handle space = peer == kNoHandle ? kNoHandle : spaces_.Find(name);
    if (space == kNoHandle || Find(peer, space) == kNoHandle) fresh.insert(name);
  }
  const std::size_t held = peer == kNoHandle ? 0 : peers_[peer].count;
  return held + fresh.size() <= limits_.per_peer_max && size() + fresh.size() <= limits_.total_max;
}

Registrations::Taken Registrations::Register(Time now, WallTime wall, const Request& request) {
  OnDeadline(now);
  Taken taken;
  taken.error = Check(wall, request);
  if (!taken.error.ok()) return taken;
  const auto known = by_id_.find(request.record.id());
  if (known == by_id_.end() && by_id_.size() >= limits_.peers_max) {
    taken.error = {RendezvousStatus::kUnavailable, "the server knows as many peers as it will"};
    return taken;
  }
  std::vector<std::string> packed;
  packed.reserve(request.namespaces.size());
  for (const auto& name : request.namespaces) packed.push_back(PackName(name));
  if (!HasRoom(known == by_id_.end() ? kNoHandle : known->second, packed)) {
    taken.error = {RendezvousStatus::kUnavailable,
                   "the server holds as many registrations as it will"};
    return taken;
  }
  taken.ttl =
      std::clamp(request.ttl.value_or(limits_.ttl_default), limits_.ttl_min, limits_.ttl_max);
  bool is_record_new = false;
  bool says_new = false;
  const Handle peer = TakePeer(kOurOwner, request.record, is_record_new, says_new);
  peers_[peer].sent_ms = request.sent_ms;
  if (peers_[peer].sequence == request.record.record().sequence) peers_[peer].owner = kOurOwner;
  // Who has read our log has the record only while we claim something of the peer.
  if (is_record_new || peers_[peer].ours == 0) peers_[peer].logged = next_number_++;
  const Tick expires = CeilTick(now + taken.ttl);
  for (std::size_t i = 0; i < packed.size(); ++i) {
    const bool is_new = Put(now, wall, peer, packed[i], is_record_new, {kOurOwner, 0, expires});
    if (is_new || says_new) taken.news.push_back(request.namespaces[i]);
  }
  PutPeerRow(peer);
  return taken;
}

// A record that is no newer than the one held changes nothing.
Handle Registrations::TakePeer(Owner owner, const SignedRecord& signed_record, bool& is_record_new,
                               bool& says_new) {
  const Record& record = signed_record.record();
  auto it = by_id_.find(signed_record.id());
  if (it == by_id_.end()) {
    Peer fresh;
    fresh.id = signed_record.id();
    it = by_id_.emplace(signed_record.id(), peers_.Add(std::move(fresh))).first;
  }
  Peer& peer = peers_[it->second];
  const bool is_newer =
      owner == kOurOwner ? record.sequence >= peer.sequence : record.sequence > peer.sequence;
  is_record_new =
      peer.envelope == nullptr || (is_newer && *peer.envelope != signed_record.envelope());
  if (!is_record_new) return it->second;
  const std::uint64_t saying = SayingOf(record);
  says_new = peer.envelope != nullptr && saying != peer.saying;
  if (peer.number != 0) by_number_.erase(peer.number);
  peer.envelope = std::make_shared<const std::string>(signed_record.envelope());
  peer.expires = record.expires;
  peer.sequence = record.sequence;
  peer.saying = saying;
  peer.owner = owner;
  peer.number = next_number_++;
  by_number_.emplace(peer.number, it->second);
  return it->second;
}

// Returns whether the peer was not there yet.
bool Registrations::Put(Time now, WallTime wall, Handle peer, const std::string& packed,
                        bool is_record_new, const Claim& claim) {
  const Handle space = spaces_.FindOrAdd(packed);
  Handle handle = Find(peer, space);
  const bool is_new = handle == kNoHandle;
  if (is_new) {
    Entry entry;
    entry.peer = peer;
    entry.space = space;
    handle = entries_.Add(entry);
    table_.Insert(HashOf(handle), handle);
    ++spaces_[space].count;
    ++peers_[peer].count;
    SetClaims(handle, {claim});
    ++copies_[claim.owner].count;
  } else {
    Unwind(handle);
    SetClaim(now, handle, claim);
  }
  if (is_new || is_record_new) {
    if (!is_new) Unlink(handle);
    entries_[handle].number = next_number_++;
    Append(handle);
  }
  if (claim.owner == kOurOwner) {
    UnlinkFromLog(handle);
    AppendToLog(handle, next_number_++);
  }
  Wind(handle);
  PutEntryRow(now, wall, handle);
  return is_new;
}

void Registrations::PutEntryRow(Time now, WallTime wall, Handle handle) {
  const Entry& entry = entries_[handle];
  EntryRow row{entry.peer, spaces_.Packed(entry.space), entry.number, entry.logged, {}};
  for (const auto& claim : ClaimsOf(handle)) {
    const WallTime until = wall + (TickTime(claim.expires) - now);
    if (row.claims.size() == kClaimsMax || until <= wall) continue;
    row.claims.push_back({claim.owner, static_cast<std::uint32_t>(ToUnixMs(until) / 1000 + 1)});
  }
  if (!row.claims.empty()) rows_.push_back(ToRow(row));
}

RendezvousError Registrations::Unregister(Time now, WallTime wall, const Request& request) {
  OnDeadline(now);
  if (auto error = Check(wall, request); !error.ok()) return error;
  const auto it = by_id_.find(request.record.id());
  if (it == by_id_.end()) return {};
  const Handle peer = it->second;
  peers_[peer].sent_ms = request.sent_ms;
  for (const auto& name : request.namespaces) {
    const Handle space = spaces_.Find(PackName(name));
    if (space == kNoHandle) continue;
    const Handle entry = Find(peer, space);
    const auto claim = entry == kNoHandle ? std::nullopt : FindClaim(entry, kOurOwner);
    if (!claim) continue;
    Bury(now, wall, entry, claim->expires);
    DropClaim(now, wall, entry, kOurOwner);
  }
  // Else it went with the last registration.
  if (by_id_.contains(request.record.id())) PutPeerRow(peer);
  return {};
}

void Registrations::Drop(Handle handle) {
  for (const auto& claim : ClaimsOf(handle)) --copies_[claim.owner].count;
  claims_.erase(handle);
  UnlinkFromLog(handle);
  const Entry entry = entries_[handle];
  rows_.push_back({EntryKey(entry.peer, spaces_.Packed(entry.space)), std::nullopt});
  Unwind(handle);
  Unlink(handle);
  table_.Erase(HashOf(handle), handle);
  entries_.Remove(handle);
  if (--spaces_[entry.space].count == 0) spaces_.Remove(entry.space);
  if (--peers_[entry.peer].count == 0) DropPeer(entry.peer);
}

void Registrations::DropPeer(Handle peer) {
  rows_.push_back({PeerKey(peer), std::nullopt});
  by_number_.erase(peers_[peer].number);
  by_id_.erase(peers_[peer].id);
  peers_.Remove(peer);
}

void Registrations::PutPeerRow(Handle handle) {
  const Peer& peer = peers_[handle];
  rows_.push_back(
      ToRow(PeerRow{handle, peer.id, peer.sent_ms, peer.number, peer.sequence, peer.saying,
                    peer.logged, ToUnixMs(peer.expires), peer.owner, *peer.envelope}));
}

std::vector<Row> Registrations::TakeRows() {
  if (next_number_ != stored_number_) {
    stored_number_ = next_number_;
    rows_.push_back({MetaKey(kNextNumberRow), NumberValue(next_number_)});
  }
  return std::exchange(rows_, {});
}

void Registrations::OnDeadline(Time now) {
  DropTombstones(now);
  const Tick until = FloorTick(now);
  if (entries_.size() == 0) {
    turned_ = until;
    return;
  }
  // Slots further back than one turn of the wheel are the same slots again.
  if (until - turned_ > kSlots) turned_ = until - kSlots;
  std::size_t dropped = 0;
  while (turned_ < until) {
    Handle handle = wheel_[(turned_ + 1) % kSlots];
    while (handle != kNoHandle) {
      const Handle next = entries_[handle].slot_next;
      if (entries_[handle].expires <= until) {
        if (dropped == kDroppedAtOnce) return;
        Drop(handle);
        ++dropped;
      }
      handle = next;
    }
    ++turned_;
  }
}

Time Registrations::NextDeadline() const {
  return entries_.size() == 0 ? kNever : TickTime(turned_ + 1);
}

Handle Registrations::Find(Handle peer, Handle space) const {
  const auto hash = Mix(static_cast<std::uint64_t>(peer) << 32 | space);
  return table_.Find(
      hash, [&](Handle h) { return entries_[h].space == space && entries_[h].peer == peer; });
}

std::uint64_t Registrations::HashOf(Handle entry) const {
  return Mix(static_cast<std::uint64_t>(entries_[entry].peer) << 32 | entries_[entry].space);
}

void Registrations::Append(Handle handle) {
  Entry& entry = entries_[handle];
  auto& space = spaces_[entry.space];
  entry.previous = space.last;
  entry.next = kNoHandle;
  (space.last == kNoHandle ? space.first : entries_[space.last].next) = handle;
  space.last = handle;
}

void Registrations::Unlink(Handle handle) {
  const Entry& entry = entries_[handle];
  auto& space = spaces_[entry.space];
  (entry.previous == kNoHandle ? space.first : entries_[entry.previous].next) = entry.next;
  (entry.next == kNoHandle ? space.last : entries_[entry.next].previous) = entry.previous;
}

void Registrations::Wind(Handle handle) {
  Entry& entry = entries_[handle];
  Handle& slot = wheel_[entry.expires % kSlots];
  entry.slot_previous = kNoHandle;
  entry.slot_next = slot;
  if (slot != kNoHandle) entries_[slot].slot_previous = handle;
  slot = handle;
}

void Registrations::Unwind(Handle handle) {
  const Entry& entry = entries_[handle];
  (entry.slot_previous == kNoHandle ? wheel_[entry.expires % kSlots]
                                    : entries_[entry.slot_previous].slot_next) = entry.slot_next;
  if (entry.slot_next != kNoHandle) entries_[entry.slot_next].slot_previous = entry.slot_previous;
}

}  // namespace shoal::index
