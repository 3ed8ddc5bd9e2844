// FeedTable: what stands of the feeds of rooms, over restarts. Decides nothing: what it gives back
// is checked by Feed::Load as if it came from a peer.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "index/feed_message.h"
#include "index/lmdb/env.h"

namespace shoal::index {

class FeedTable {
 public:
  static Result<FeedTable> Open(LmdbEnv& env);

  // room  as records name it. Returns messages' texts in the order of writers and numbers.
  [[nodiscard]] std::vector<std::string> Load(const std::string& room) const;
  // Blocks on the disk. First takes in, then takes out.
  Status Apply(const std::string& room, const std::vector<SharedFeedMessage>& kept,
               const std::vector<FeedName>& dropped);

 private:
  FeedTable(LmdbEnv& env, Dbi table) : env_(&env), table_(table) {}

  LmdbEnv* env_;
  Dbi table_;
};

}  // namespace shoal::index
