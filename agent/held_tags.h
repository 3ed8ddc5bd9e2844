// HeldTags: what the mirror resolved tags to, over restarts.
#pragma once

#include <functional>
#include <string>

#include "base/digest.h"
#include "base/result.h"
#include "index/lmdb/env.h"

namespace shoal::agent {

class HeldTags {
 public:
  static Result<HeldTags> Open(index::LmdbEnv& env);

  // Rows that cannot be read are left out.
  void ForEach(const std::function<void(const std::string& name, const Digest&)>& visit) const;
  // Both block on the disk.
  Status Set(const std::string& name, const Digest& digest);
  Status Remove(const std::string& name);

 private:
  HeldTags(index::LmdbEnv& env, index::Dbi table) : env_(&env), table_(table) {}

  index::LmdbEnv* env_;
  index::Dbi table_;
};

}  // namespace shoal::agent
