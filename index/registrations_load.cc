// How Registrations comes back from rows.

#include <algorithm>

#include "index/registrations.h"
#include "index/ticks.h"

namespace shoal::index {
namespace {

// Numbers that were given out and not yet kept when the server died: what one group of commits can
// hold, and far more.
constexpr std::uint64_t kNumbersSkipped = 1'000'000;
// No row of ours has a higher one, whatever the limits were.
constexpr std::uint32_t kPeerRowMax = 10'000'000;
// Far more than there are servers: those of copies that are being dropped count too.
constexpr Owner kOwnersMax = 1000;

Error Corrupt(const std::string& what) {
  return {Code::kCorrupt, "the index server's database holds " + what +
                              "; stop it, remove the directory \"index\" in its data_dir and "
                              "start it again: agents register anew by themselves"};
}

}  // namespace

Result<bool> Registrations::Load(Time now, WallTime wall, std::string_view key,
                                 std::string_view value) {
  if (key.starts_with('p')) {
    const auto row = ReadPeerRow(key, value);
    if (!row || row->peer > kPeerRowMax) return Corrupt("a peer that cannot be read");
    return LoadPeer(*row);
  }
  if (key.starts_with('r')) {
    const auto row = ReadEntryRow(key, value);
    if (!row || UnpackName(row->name).empty()) {
      return Corrupt("a registration that cannot be read");
    }
    return LoadEntry(now, wall, *row);
  }
  if (key.starts_with('t')) {
    const auto row = ReadTombstoneRow(key, value);
    if (!row || UnpackName(row->name).empty()) return Corrupt("a tombstone that cannot be read");
    return LoadTombstone(now, wall, *row);
  }
  if (key == MetaKey(kFloorRow)) {
    const auto number = ReadNumber(value);
    if (!number || *number > (std::uint64_t{1} << 62)) return Corrupt("a number beyond bounds");
    floor_ = *number;
  }
  if (key == MetaKey(kNextNumberRow)) {
    const auto number = ReadNumber(value);
    if (!number || *number > (std::uint64_t{1} << 62)) return Corrupt("a number beyond bounds");
    next_number_ = *number + kNumbersSkipped;
  }
  return true;
}

Result<bool> Registrations::LoadPeer(const PeerRow& row) {
  if (by_id_.contains(row.id) || row.peer < peers_.made() || by_number_.contains(row.number) ||
      row.number == 0) {
    return Corrupt("a peer twice");
  }
  if (by_id_.size() >= limits_.peers_max) return false;
  Peer peer;
  peer.id = row.id;
  peer.envelope = std::make_shared<const std::string>(row.envelope);
  peer.expires = FromUnixMs(row.expires_ms);
  peer.sequence = row.sequence;
  peer.saying = row.saying;
  peer.number = row.number;
  peer.sent_ms = row.sent_ms;
  peer.logged = row.logged;
  peer.owner = row.owner;
  next_number_ = std::max(next_number_, row.number + 1);
  peers_.AddAt(row.peer, std::move(peer));
  by_id_.emplace(row.id, row.peer);
  by_number_.emplace(row.number, row.peer);
  return true;
}

Result<bool> Registrations::LoadEntry(Time now, WallTime wall, const EntryRow& row) {
  std::vector<Claim> claims;
  for (const auto& claim : row.claims) {
    const auto left =
        std::min<Duration>(WallTime(std::chrono::seconds(claim.expires_s)) - wall, limits_.ttl_max);
    if (left <= Duration(0) || claim.owner > kOwnersMax) continue;
    claims.push_back({claim.owner, 0, CeilTick(now + left)});
  }
  const bool is_known = row.peer < peers_.made() && peers_[row.peer].envelope != nullptr;
  if (claims.empty() || !is_known || size() >= limits_.total_max ||
      peers_[row.peer].count >= limits_.per_peer_max) {
    return false;
  }
  if (size() == 0) OnDeadline(now);  // the wheel begins to turn here
  const Handle space = spaces_.FindOrAdd(row.name);
  Entry entry;
  entry.peer = row.peer;
  entry.space = space;
  entry.number = row.number;
  const Handle handle = entries_.Add(entry);
  for (const auto& claim : claims) {
    if (claim.owner >= copies_.size()) copies_.resize(claim.owner + 1U);
    copies_[claim.owner].is_used = true;
    ++copies_[claim.owner].count;
    // Those of our log are linked at the end, when all are here.
    if (claim.owner == kOurs) entries_[handle].logged = row.logged;
  }
  SetClaims(handle, std::move(claims));
  table_.Insert(HashOf(handle), handle, [this](Handle h) { return HashOf(h); });
  const Handle last = spaces_[space].last;
  // Rows come peer by peer, and so numbers in any order: sorted at the end.
  if (last != kNoHandle && entries_[last].number > row.number &&
      (unsorted_.empty() || unsorted_.back() != space)) {
    unsorted_.push_back(space);
  }
  Append(handle);
  Wind(handle);
  ++spaces_[space].count;
  ++peers_[row.peer].count;
  next_number_ = std::max({next_number_, row.number + 1, row.logged + 1});
  return true;
}

Result<bool> Registrations::LoadTombstone(Time now, WallTime wall, const TombstoneRow& row) {
  const auto left =
      std::min<Duration>(WallTime(std::chrono::seconds(row.expires_s)) - wall, limits_.ttl_max);
  if (left <= Duration(0) || tombstones_.size() >= limits_.tombstones_max) return false;
  tombstones_.push_back({row.number, CeilTick(now + left), row.id, row.name});
  log_end_ = std::max(log_end_, row.number);
  next_number_ = std::max(next_number_, row.number + 1);
  return true;
}

void Registrations::Loaded() {
  std::ranges::sort(unsorted_);
  // Not std::ranges::unique: clang 14 does not compile its result with this library.
  unsorted_.erase(std::unique(unsorted_.begin(), unsorted_.end()), unsorted_.end());
  std::vector<std::pair<std::uint64_t, Handle>> order;
  for (const Handle space : unsorted_) {
    order.clear();
    for (Handle at = spaces_[space].first; at != kNoHandle; at = entries_[at].next) {
      order.emplace_back(entries_[at].number, at);
    }
    std::ranges::sort(order);
    spaces_[space].first = spaces_[space].last = kNoHandle;
    for (const auto& [number, handle] : order) Append(handle);
  }
  unsorted_ = {};
  std::vector<std::pair<std::uint64_t, Handle>> log;
  for (Handle at = 0; at < entries_.made(); ++at) {
    if (entries_[at].logged != 0) log.emplace_back(entries_[at].logged, at);
  }
  std::ranges::sort(log);
  for (const auto& [number, handle] : log) AppendToLog(handle, number);
  // Peers whose registrations have all gone meanwhile.
  for (Handle peer = 0; peer < peers_.made(); ++peer) {
    if (peers_[peer].envelope != nullptr && peers_[peer].count == 0) DropPeer(peer);
  }
}

}  // namespace shoal::index
