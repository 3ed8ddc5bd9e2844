// Our own registrations as a log that others copy.

#include <algorithm>
#include <unordered_map>

#include "index/registrations.h"
#include "index/ticks.h"

namespace shoal::index {
namespace {

constexpr std::size_t kHintsMax = 256;  // followers, and pages under way

}  // namespace

void Registrations::AppendToLog(Handle handle, std::uint64_t number) {
  Entry& entry = entries_[handle];
  entry.logged = number;
  entry.log_previous = log_last_;
  entry.log_next = kNoHandle;
  (log_last_ == kNoHandle ? log_first_ : entries_[log_last_].log_next) = handle;
  log_last_ = handle;
  ++peers_[entry.peer].ours;
  log_end_ = std::max(log_end_, number);
}

void Registrations::UnlinkFromLog(Handle handle) {
  Entry& entry = entries_[handle];
  if (entry.logged == 0) return;
  (entry.log_previous == kNoHandle ? log_first_ : entries_[entry.log_previous].log_next) =
      entry.log_next;
  (entry.log_next == kNoHandle ? log_last_ : entries_[entry.log_next].log_previous) =
      entry.log_previous;
  --peers_[entry.peer].ours;
  entry.logged = 0;
  entry.log_previous = entry.log_next = kNoHandle;
}

void Registrations::Bury(Time now, WallTime wall, Handle handle, Tick expires) {
  const Entry& entry = entries_[handle];
  Tombstone tombstone{next_number_++, expires, peers_[entry.peer].id, spaces_.Packed(entry.space)};
  log_end_ = tombstone.number;
  const WallTime until = wall + (TickTime(expires) - now);
  rows_.push_back(
      ToRow(TombstoneRow{tombstone.number, static_cast<std::uint32_t>(ToUnixMs(until) / 1000 + 1),
                         tombstone.id, tombstone.name}));
  tombstones_.push_back(std::move(tombstone));
}

void Registrations::DropTombstones(Time now) {
  while (!tombstones_.empty()) {
    const Tombstone& oldest = tombstones_.front();
    const bool has_ended = TickTime(oldest.expires) <= now;
    if (!has_ended && tombstones_.size() <= limits_.tombstones_max) return;
    if (!has_ended) {
      floor_ = oldest.number;
      rows_.push_back({MetaKey(kFloorRow), NumberValue(floor_)});
    }
    rows_.push_back({TombstoneKey(oldest.number), std::nullopt});
    tombstones_.pop_front();
  }
}

// The first of the log with a higher number. What is asked for lies near the end, or where the last
// page ended.
Handle Registrations::LogAfter(std::uint64_t number) const {
  if (number == 0) return log_first_;
  if (const auto hint = log_hints_.find(number); hint != log_hints_.end()) {
    const Handle at = hint->second;
    if (at < entries_.made() && entries_[at].logged == number) return entries_[at].log_next;
  }
  Handle after = kNoHandle;
  for (Handle at = log_last_; at != kNoHandle && entries_[at].logged > number;
       at = entries_[at].log_previous) {
    after = at;
  }
  return after;
}

bool Registrations::HasLog(std::uint64_t epoch, std::uint64_t after) const {
  return epoch != epoch_ || after < floor_ || after >= next_number_ || after < log_end_;
}

PageToSign Registrations::Log(Time now, WallTime wall, std::uint64_t epoch, std::uint64_t after,
                              const LogLimits& limits) const {
  if (epoch != epoch_ || after < floor_ || after >= next_number_) after = 0;
  PageToSign out;
  LogPage& page = out.page;
  page.epoch = epoch_;
  page.after = after;
  page.cursor = after;
  std::unordered_map<Handle, std::size_t> places;  // of peers in the page
  std::size_t entries = 0;
  const auto is_full = [&] {
    return page.peers.size() == limits.peers_max || entries == limits.entries_max;
  };
  const auto place_of = [&](const PeerId& id, Handle peer) -> LogPage::Peer& {
    const auto [it, is_new] = places.try_emplace(peer, page.peers.size());
    if (is_new) {
      page.peers.push_back({id, nullptr, {}, {}});
      // Whoever has read up to its number has it, or will have it from this page.
      out.envelopes.push_back(peers_[peer].logged > after ? peers_[peer].envelope : nullptr);
    }
    return page.peers[it->second];
  };
  Handle at = LogAfter(after);
  auto dead = std::ranges::upper_bound(tombstones_, after, {}, &Tombstone::number);
  if (after == 0) dead = tombstones_.end();  // a snapshot names what is there
  const auto bury = [&] {
    page.cursor = dead->number;
    const auto peer = by_id_.find(dead->id);
    const Handle handle = peer == by_id_.end() ? kNoHandle : peer->second;
    const Handle space = spaces_.Find(dead->name);
    const Handle entry =
        handle == kNoHandle || space == kNoHandle ? kNoHandle : Find(handle, space);
    const bool is_back = entry != kNoHandle && entries_[entry].logged != 0;
    if (!is_back) {
      ++entries;
      if (handle != kNoHandle) {
        place_of(dead->id, handle).out.push_back(UnpackName(dead->name));
      } else {
        page.peers.push_back({dead->id, nullptr, {}, {UnpackName(dead->name)}});
        out.envelopes.push_back(nullptr);
      }
    }
    ++dead;
  };
  while ((at != kNoHandle || dead != tombstones_.end()) && !is_full()) {
    if (at == kNoHandle || (dead != tombstones_.end() && dead->number < entries_[at].logged)) {
      bury();
      continue;
    }
    const Entry& entry = entries_[at];
    page.cursor = entry.logged;
    const auto claim = FindClaim(at, kOurOwner);
    const Duration left = claim ? TickTime(claim->expires) - now : Duration(0);
    if (left > Duration(0)) {
      ++entries;
      place_of(peers_[entry.peer].id, entry.peer)
          .in.emplace_back(UnpackName(spaces_.Packed(entry.space)),
                           ToUnixMs(wall + left) / 1000 + 1);
    }
    if (entry.log_next == kNoHandle || is_full()) {
      if (log_hints_.size() >= kHintsMax) log_hints_.clear();
      log_hints_[entry.logged] = at;
    }
    at = entry.log_next;
  }
  page.more = at != kNoHandle || dead != tombstones_.end();
  // What is behind is known too: what has ended, or was taken back before the snapshot.
  if (!page.more) page.cursor = std::max(page.cursor, log_end_);
  return out;
}

}  // namespace shoal::index
