#include "registry-proxy/tag_cache.h"

#include <utility>

#include "base/check.h"

namespace shoal::proxy {

TagCache::TagCache(std::size_t entries_max) : entries_max_(entries_max) {
  SHOAL_CHECK(entries_max >= 1);
}

std::optional<TagHit> TagCache::Find(WallTime now, Duration ttl, std::string_view name) {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, it->second);
  const TagEntry& entry = entries_.front();
  const bool fresh = entry.checked_at <= now && now - entry.checked_at < ttl;
  return TagHit{entry, fresh};
}

void TagCache::Put(TagEntry entry) {
  Forget(entry.name);
  entries_.push_front(std::move(entry));
  by_name_.emplace(entries_.front().name, entries_.begin());
  if (entries_.size() > entries_max_) {
    by_name_.erase(entries_.back().name);
    entries_.pop_back();
  }
}

void TagCache::Forget(std::string_view name) {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return;
  const auto entry = it->second;
  by_name_.erase(it);
  entries_.erase(entry);
}

std::vector<TagEntry> TagCache::Export() const { return {entries_.begin(), entries_.end()}; }

void TagCache::Import(const std::vector<TagEntry>& entries) {
  for (auto it = entries.rbegin(); it != entries.rend(); ++it) Put(*it);
}

void TagCache::CheckInvariants() const {
  SHOAL_CHECK(entries_.size() == by_name_.size());
  SHOAL_CHECK(entries_.size() <= entries_max_);
  for (const auto& [name, entry] : by_name_) SHOAL_CHECK(name.data() == entry->name.data());
}

}  // namespace shoal::proxy
