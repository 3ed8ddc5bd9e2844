// TagCache: which digest a tag had when it was last looked up, and how long that is good for.
//
// A tag is fresh for tag_ttl after its upstream was asked. Later it is stale: to be asked again,
// and still good when the upstream cannot be reached (the answer then bears a Warning). Bounded;
// what was not looked up for the longest goes first. Wall time, so that it can be kept on disk; an
// entry from the future (the clock was set back) is stale.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/time.h"

namespace shoal::proxy {

struct TagEntry {
  std::string name;  // "docker.io/library/nginx:latest"
  Digest digest;
  std::string media_type;
  Bytes size;
  WallTime checked_at;
  bool operator==(const TagEntry&) const = default;
};

struct TagHit {
  TagEntry entry;
  bool fresh = false;
};

inline constexpr std::size_t kTagsMax = 10'000;  // an entry takes about 400 bytes

class TagCache {
 public:
  // entries_max  at least 1.
  explicit TagCache(std::size_t entries_max = kTagsMax);

  // Marks the entry used.
  std::optional<TagHit> Find(WallTime now, Duration ttl, std::string_view name);
  void Put(TagEntry entry);
  // The upstream says that there is no such tag.
  void Forget(std::string_view name);
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

  // All entries, the last used first: what an adapter keeps on disk, and gives back with Import.
  [[nodiscard]] std::vector<TagEntry> Export() const;
  void Import(const std::vector<TagEntry>& entries);

  void CheckInvariants() const;

 private:
  std::size_t entries_max_;
  std::list<TagEntry> entries_;  // the last used first
  std::unordered_map<std::string_view, std::list<TagEntry>::iterator> by_name_;  // views of names
};

}  // namespace shoal::proxy
