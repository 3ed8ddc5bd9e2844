// BlobTable: the store's metadata in LMDB: sizes and last uses, and chains.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "fetch/chain.h"
#include "fetch/store/blob_store.h"
#include "index/lmdb/env.h"

namespace shoal::fetch {

// Chains are kept for blobs that lie in containerd too; this bounds them: 10,000 of a 1 GiB blob
// each take 320 MB, but a common layer's takes 1 KiB.
inline constexpr std::size_t kChainsMax = 10'000;

class BlobTable {
 public:
  static Result<BlobTable> Open(index::LmdbEnv& env);

  [[nodiscard]] std::map<Digest, StoredBlob> Load() const;
  // One commit for all of it.
  Status Save(const std::vector<StoredBlob>& blobs, const std::vector<Digest>& gone);
  // With the blob's chain, if that is complete.
  Status SaveWithChain(const StoredBlob& blob, const Chain& chain);

  [[nodiscard]] std::optional<Chain> FindChain(const Digest& digest) const;
  Status SaveChain(const Digest& digest, const Chain& chain);
  Status RemoveWithChain(const Digest& digest);

 private:
  BlobTable(index::LmdbEnv& env, index::Dbi blobs, index::Dbi chains)
      : env_(&env), blobs_(blobs), chains_(chains) {}
  Status PutChain(index::LmdbTxn& txn, const Digest& digest, const Chain& chain) const;

  index::LmdbEnv* env_;
  index::Dbi blobs_;
  index::Dbi chains_;
};

}  // namespace shoal::fetch
