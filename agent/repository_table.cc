#include "agent/repository_table.h"

#include <algorithm>

namespace shoal::agent {
namespace {

// A row: the digest's bytes, then the repository. LMDB takes keys of 511 bytes.
constexpr std::size_t kDigestBytes = 32;
constexpr std::size_t kRepositoryBytesMax = 511 - kDigestBytes;

}  // namespace

Result<RepositoryTable> RepositoryTable::Open(index::LmdbEnv& env) {
  auto table = env.Table("repositories");
  if (!table) return table.error();
  return RepositoryTable(env, *table);
}

void RepositoryTable::ForEach(
    const std::function<void(const Digest&, const std::string& repository)>& visit) const {
  env_->Read([&](const index::LmdbTxn& txn) {
    txn.Walk(table_, "", [&](std::string_view key, std::string_view) {
      if (key.size() <= kDigestBytes) return true;
      Digest digest;
      std::ranges::copy(AsBytes(key.substr(0, kDigestBytes)), digest.bytes.begin());
      visit(digest, std::string(key.substr(kDigestBytes)));
      return true;
    });
  });
}

Status RepositoryTable::Add(const Digest& digest, const std::string& repository) {
  if (repository.size() > kRepositoryBytesMax) return Ok();
  const std::string key = std::string(AsText(digest.bytes)) + repository;
  return env_->Write([&](index::LmdbTxn& txn) { return txn.Put(table_, key, "1"); });
}

}  // namespace shoal::agent
