// TagTable: the tag cache's entries on disk (LMDB), so that a restarted agent still knows tags
// when the upstream is away.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "index/lmdb/env.h"
#include "registry-proxy/tag_cache.h"

namespace shoal::proxy {

class TagTable {
 public:
  static Result<TagTable> Open(index::LmdbEnv& env);

  // The last looked up first, at most `entries_max`: the rest is removed, as the cache would never
  // hold it. Rows that cannot be read are left out.
  std::vector<TagEntry> Load(std::size_t entries_max);
  // Blocks on the disk.
  Status Save(const TagEntry& entry);
  Status Remove(const std::string& name);

 private:
  TagTable(index::LmdbEnv& env, index::Dbi table) : env_(&env), table_(table) {}

  index::LmdbEnv* env_;
  index::Dbi table_;
};

}  // namespace shoal::proxy
