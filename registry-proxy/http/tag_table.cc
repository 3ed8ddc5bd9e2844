#include "registry-proxy/http/tag_table.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/json.h"

namespace shoal::proxy {
namespace {

// LMDB's bound on keys; longer names are not kept.
constexpr std::size_t kNameBytesMax = 511;
constexpr std::size_t kRowBytesMax = 4096;

Result<TagEntry> Read(std::string_view name, std::string_view row) {
  auto json = ParseJson(row, kRowBytesMax);
  if (!json) return json.error();
  auto digest_text = GetString(*json, "digest");
  auto media_type = GetString(*json, "type");
  auto size = GetInt(*json, "size", -1, std::int64_t{1} << 40);
  auto checked = GetInt(*json, "checked_ms", 0, std::int64_t{1} << 53);
  if (!digest_text || !media_type || !size || !checked) {
    return Error{Code::kCorrupt, "a tag's row is not readable"};
  }
  auto digest = ParseDigest(*digest_text);
  if (!digest) return digest.error();
  return TagEntry{std::string(name), *digest, *media_type, Bytes(*size), FromUnixMs(*checked)};
}

}  // namespace

Result<TagTable> TagTable::Open(index::LmdbEnv& env) {
  auto table = env.Table("tags");
  if (!table) return table.error();
  return TagTable(env, *table);
}

std::vector<TagEntry> TagTable::Load(std::size_t entries_max) {
  std::vector<TagEntry> entries;
  env_->Read([&](const index::LmdbTxn& txn) {
    txn.Walk(table_, "", [&](std::string_view name, std::string_view row) {
      if (auto entry = Read(name, row)) entries.push_back(std::move(*entry));
      return true;
    });
  });
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.checked_at > b.checked_at; });
  if (entries.size() <= entries_max) return entries;
  const Status trimmed = env_->Write([&](index::LmdbTxn& txn) {
    for (std::size_t i = entries_max; i < entries.size(); ++i) {
      if (auto removed = txn.Delete(table_, entries[i].name); !removed) return removed;
    }
    return Ok();
  });
  if (!trimmed) spdlog::warn("old tags were not forgotten: {}", trimmed.error().text);
  entries.resize(entries_max);
  return entries;
}

Status TagTable::Save(const TagEntry& entry) {
  if (entry.name.size() > kNameBytesMax) return Ok();
  Json row = Json::object();
  row["digest"] = Json::string(ToString(entry.digest));
  row["type"] = Json::string(entry.media_type);
  row["size"] = Json::number(entry.size.count());
  row["checked_ms"] = Json::number(ToUnixMs(entry.checked_at));
  return env_->Write(
      [&](index::LmdbTxn& txn) { return txn.Put(table_, entry.name, row.serialize()); });
}

Status TagTable::Remove(const std::string& name) {
  if (name.size() > kNameBytesMax) return Ok();
  return env_->Write([&](index::LmdbTxn& txn) { return txn.Delete(table_, name); });
}

}  // namespace shoal::proxy
