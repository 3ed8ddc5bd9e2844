#include "agent/held_tags.h"

#include <algorithm>

#include "index/inventory.h"

namespace shoal::agent {

Result<HeldTags> HeldTags::Open(index::LmdbEnv& env) {
  auto table = env.Table("held-tags");
  if (!table) return table.error();
  return HeldTags(env, *table);
}

void HeldTags::ForEach(
    const std::function<void(const std::string& name, const Digest&)>& visit) const {
  env_->Read([&](const index::LmdbTxn& txn) {
    txn.Walk(table_, "", [&](std::string_view name, std::string_view row) {
      Digest digest;
      if (row.size() != digest.bytes.size()) return true;
      std::ranges::copy(AsBytes(row), digest.bytes.begin());
      visit(std::string(name), digest);
      return true;
    });
  });
}

Status HeldTags::Set(const std::string& name, const Digest& digest) {
  if (!index::IsImageName(name)) return Ok();  // nor would peers be told of it
  return env_->Write(
      [&](index::LmdbTxn& txn) { return txn.Put(table_, name, AsText(digest.bytes)); });
}

Status HeldTags::Remove(const std::string& name) {
  if (!index::IsImageName(name)) return Ok();
  return env_->Write([&](index::LmdbTxn& txn) { return txn.Delete(table_, name); });
}

}  // namespace shoal::agent
