// How Registrations comes back from rows.

#include <algorithm>
#include <array>

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

// Rows that are loaded as a group: enough to hide how long memory takes, and few enough that all of
// what was called stays in the cache.
constexpr std::size_t kLoadedAtOnce = 64;
// Steps between calling something into the cache and using it.
constexpr std::size_t kAhead = 12;
constexpr char kEntryKind = 'r';
// Numbers for each that is in use, beyond which entries are sorted by them.
constexpr std::uint64_t kHolesMax = 8;

Error Corrupt(const std::string& what) {
  return {Code::kCorrupt, "the index server's database holds " + what +
                              "; stop it, remove the directory \"index\" in its data_dir and "
                              "start it again: agents register anew by themselves"};
}

}  // namespace

Result<Registrations::ReadRow> Registrations::Read(std::string_view key,
                                                   std::string_view value) const {
  ReadRow row{key, value, {}, 0};
  if (!key.starts_with(kEntryKind)) return row;
  const auto entry = ViewEntryRow(key, value);
  if (!entry) return Corrupt("a registration that cannot be read");
  row.entry = *entry;
  row.hash = spaces_.HashOf(entry->name);
  return row;
}

Status Registrations::Load(Time now, WallTime wall, std::span<const ReadRow> rows,
                           std::vector<std::string_view>& useless) {
  while (!rows.empty()) {
    if (const auto loaded = LoadEntries(now, wall, rows, useless); loaded > 0) {
      rows = rows.subspan(loaded);
      continue;
    }
    const auto used = LoadOther(now, wall, rows.front());
    if (!used) return used.error();
    if (!*used) useless.push_back(rows.front().key);
    rows = rows.subspan(1);
  }
  return Ok();
}

Result<bool> Registrations::LoadOther(Time now, WallTime wall, const ReadRow& row) {
  if (row.key.starts_with('p')) {
    const auto peer = ReadPeerRow(row.key, row.value);
    if (!peer || peer->peer > kPeerRowMax) return Corrupt("a peer that cannot be read");
    return LoadPeer(*peer);
  }
  if (row.key.starts_with('t')) {
    const auto tombstone = ReadTombstoneRow(row.key, row.value);
    if (!tombstone || !IsPackedName(tombstone->name)) {
      return Corrupt("a tombstone that cannot be read");
    }
    return LoadTombstone(now, wall, *tombstone);
  }
  if (row.key == MetaKey(kFloorRow)) {
    const auto number = ReadNumber(row.value);
    if (!number || *number > (std::uint64_t{1} << 62)) return Corrupt("a number beyond bounds");
    floor_ = *number;
  }
  if (row.key == MetaKey(kNextNumberRow)) {
    const auto number = ReadNumber(row.value);
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

void Registrations::ExpectRows(std::size_t rows) {
  table_.Reserve(std::min(rows, limits_.total_max));
}

// Nearly all the time goes into waiting for memory, when it is done one by one: with 5 million
// entries nothing that is looked for lies in the processor's cache. So it is called there for a
// group of rows, one step ahead of the work.
std::size_t Registrations::LoadEntries(Time now, WallTime wall, std::span<const ReadRow> rows,
                                       std::vector<std::string_view>& useless) {
  if (size() == 0) OnDeadline(now);  // the wheel begins to turn here
  std::size_t count = 0;
  while (count < std::min(rows.size(), kLoadedAtOnce) && rows[count].key.starts_with(kEntryKind)) {
    spaces_.Prefetch(rows[count++].hash);
  }
  rows = rows.first(count);
  for (const ReadRow& row : rows) spaces_.PrefetchSpace(row.hash);
  std::array<Handle, kLoadedAtOnce> made{};
  std::size_t made_count = 0;
  for (const ReadRow& row : rows) {
    const Handle handle = LoadEntry(now, wall, row);
    if (handle == kNoHandle) {
      useless.push_back(row.key);
      continue;
    }
    table_.Prefetch(HashOf(handle));
    entries_.Prefetch(wheel_[entries_[handle].expires % wheel_.size()]);
    made[made_count++] = handle;
  }
  for (const Handle handle : std::span(made).first(made_count)) {
    table_.Insert(HashOf(handle), handle);
    Wind(handle);
  }
  return count;
}

// Neither in the table nor in the wheel yet, nor in a list.
Handle Registrations::LoadEntry(Time now, WallTime wall, const ReadRow& read) {
  const EntryRowView& row = read.entry;
  std::vector<Claim> more;  // than the first
  std::optional<Claim> first;
  for (auto claims = row.claims; !claims.empty();) {
    const ClaimRow claim = TakeClaim(claims);
    const auto left =
        std::min<Duration>(WallTime(std::chrono::seconds(claim.expires_s)) - wall, limits_.ttl_max);
    if (left <= Duration(0) || claim.owner > kOwnersMax) continue;
    const Claim held{claim.owner, 0, CeilTick(now + left)};
    if (first) {
      more.push_back(held);
    } else {
      first = held;
    }
  }
  const bool is_known = row.peer < peers_.made() && peers_[row.peer].envelope != nullptr;
  if (!first || !is_known || size() >= limits_.total_max ||
      peers_[row.peer].count >= limits_.per_peer_max) {
    return kNoHandle;
  }
  Entry entry;
  entry.peer = row.peer;
  entry.space = spaces_.FindOrAdd(row.name, read.hash);
  entry.number = row.number;
  entry.owner = first->owner;
  entry.expires = first->expires;
  const auto count = [&](const Claim& claim) {
    if (claim.owner >= copies_.size()) copies_.resize(claim.owner + 1U);
    copies_[claim.owner].is_used = true;
    ++copies_[claim.owner].count;
    // Those of our log are linked at the end, when all are here.
    if (claim.owner == kOurOwner) entry.logged = row.logged;
  };
  count(*first);
  for (const auto& claim : more) count(claim);
  const Handle handle = entries_.Add(entry);
  if (!more.empty()) {
    more.insert(more.begin(), *first);
    SetClaims(handle, std::move(more));
  }
  ++spaces_[entry.space].count;
  ++peers_[row.peer].count;
  next_number_ = std::max({next_number_, row.number + 1, row.logged + 1});
  return handle;
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

void Registrations::InTurn(const std::function<void()>& one, const std::function<void()>& other) {
  one();
  other();
}

// Rows come peer by peer, and so numbers in any order. They were given out one after the other, so
// those in use lie close: each entry is put where it belongs, which is ten times as fast as
// sorting.
template <class Number>
std::vector<Handle> Registrations::InOrder(const Number& number) const {
  std::uint64_t low = ~std::uint64_t{0};
  std::uint64_t high = 0;
  std::size_t count = 0;
  const auto each = [&](const auto& visit) {
    for (Handle at = 0; at < entries_.made(); ++at) {
      if (const std::uint64_t n = number(entries_[at]); n != 0) visit(n, at);
    }
  };
  each([&](std::uint64_t n, Handle) {
    low = std::min(low, n);
    high = std::max(high, n);
    ++count;
  });
  if (count > 0 && high - low < kHolesMax * count) {
    std::vector<Handle> places(high - low + 1, kNoHandle);
    bool is_one_twice = false;
    each([&](std::uint64_t n, Handle at) {
      is_one_twice |= places[n - low] != kNoHandle;
      places[n - low] = at;
    });
    std::erase(places, kNoHandle);
    if (!is_one_twice) return places;
  }
  std::vector<std::pair<std::uint64_t, Handle>> sorted;
  sorted.reserve(count);
  each([&](std::uint64_t n, Handle at) { sorted.emplace_back(n, at); });
  std::ranges::sort(sorted);
  std::vector<Handle> order;
  order.reserve(count);
  for (const auto& [n, at] : sorted) order.push_back(at);
  return order;
}

void Registrations::LinkSpaces() {
  const auto order = InOrder([](const Entry& entry) { return entry.number; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    // Three steps ahead of the work, each of which needs what the one before it has called.
    if (i + 3 * kAhead < order.size()) entries_.Prefetch(order[i + 3 * kAhead]);
    if (i + 2 * kAhead < order.size()) {
      spaces_.PrefetchAt(entries_[order[i + 2 * kAhead]].space);
    }
    if (i + kAhead < order.size()) {
      entries_.Prefetch(spaces_[entries_[order[i + kAhead]].space].last);
    }
    Append(order[i]);
  }
}

void Registrations::LinkLog() {
  const auto order = InOrder([](const Entry& entry) { return entry.logged; });
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i + kAhead < order.size()) entries_.Prefetch(order[i + kAhead]);
    AppendToLog(order[i], entries_[order[i]].logged);
  }
}

void Registrations::Loaded(const Both& both) {
  both([this] { LinkSpaces(); }, [this] { LinkLog(); });
  // Peers whose registrations have all gone meanwhile.
  for (Handle peer = 0; peer < peers_.made(); ++peer) {
    if (peers_[peer].envelope != nullptr && peers_[peer].count == 0) DropPeer(peer);
  }
}

}  // namespace shoal::index
