// RepositoryTable: under which repositories this host has asked for which blobs, over restarts.
#pragma once

#include <functional>
#include <string>

#include "base/digest.h"
#include "base/result.h"
#include "index/lmdb/env.h"

namespace shoal::agent {

class RepositoryTable {
 public:
  static Result<RepositoryTable> Open(index::LmdbEnv& env);

  void ForEach(
      const std::function<void(const Digest&, const std::string& repository)>& visit) const;
  // Blocks on the disk.
  Status Add(const Digest& digest, const std::string& repository);

 private:
  RepositoryTable(index::LmdbEnv& env, index::Dbi table) : env_(&env), table_(table) {}

  index::LmdbEnv* env_;
  index::Dbi table_;
};

}  // namespace shoal::agent
