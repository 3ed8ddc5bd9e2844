#include "fetch/store/blob_table.h"

#include <array>
#include <cstring>
#include <string>

namespace shoal::fetch {
namespace {

// Both kinds of values start with two i64, little-endian: size and last use, or blob and piece
// size.
using TwoNumbers = std::array<std::int64_t, 2>;

std::string_view KeyOf(const Digest& digest) { return AsText(digest.bytes); }

std::optional<Digest> DigestOf(std::string_view key) {
  Digest digest;
  if (key.size() != digest.bytes.size()) return std::nullopt;
  std::memcpy(digest.bytes.data(), key.data(), key.size());
  return digest;
}

std::string ValueOf(const TwoNumbers& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), sizeof numbers};
}

std::optional<TwoNumbers> NumbersOf(std::string_view value) {
  TwoNumbers numbers;
  if (value.size() < sizeof numbers) return std::nullopt;
  std::memcpy(numbers.data(), value.data(), sizeof numbers);
  return numbers;
}

std::string ValueOf(const StoredBlob& blob) {
  return ValueOf(TwoNumbers{blob.size.count(), blob.last_used.time_since_epoch().count()});
}

}  // namespace

Result<BlobTable> BlobTable::Open(index::LmdbEnv& env) {
  const auto blobs = env.Table("store_blobs");
  if (!blobs) return blobs.error();
  const auto chains = env.Table("store_chains");
  if (!chains) return chains.error();
  return BlobTable(env, *blobs, *chains);
}

std::map<Digest, StoredBlob> BlobTable::Load() const {
  std::map<Digest, StoredBlob> out;
  env_->Read([&](const index::LmdbTxn& txn) {
    txn.Walk(blobs_, "", [&out](std::string_view key, std::string_view value) {
      const auto digest = DigestOf(key);
      const auto numbers = NumbersOf(value);
      if (digest && numbers) {
        const StoredBlob blob{*digest, Bytes((*numbers)[0]), WallTime(Duration((*numbers)[1]))};
        out.emplace(*digest, blob);
      }
      return true;
    });
  });
  return out;
}

Status BlobTable::Save(const std::vector<StoredBlob>& blobs, const std::vector<Digest>& gone) {
  if (blobs.empty() && gone.empty()) return Ok();
  return env_->Write([&](index::LmdbTxn& txn) -> Status {
    for (const StoredBlob& blob : blobs) {
      if (Status put = txn.Put(blobs_, KeyOf(blob.digest), ValueOf(blob)); !put) return put;
    }
    for (const Digest& digest : gone) {
      if (Status deleted = txn.Delete(blobs_, KeyOf(digest)); !deleted) return deleted;
    }
    return Ok();
  });
}

Status BlobTable::SaveWithChain(const StoredBlob& blob, const Chain& chain) {
  return env_->Write([&](index::LmdbTxn& txn) -> Status {
    if (Status put = txn.Put(blobs_, KeyOf(blob.digest), ValueOf(blob)); !put) return put;
    return chain.complete() ? PutChain(txn, blob.digest, chain) : Ok();
  });
}

std::optional<Chain> BlobTable::FindChain(const Digest& digest) const {
  std::optional<Chain> chain;
  env_->Read([&](const index::LmdbTxn& txn) {
    const auto value = txn.Get(chains_, KeyOf(digest));
    if (!value) return;
    const auto numbers = NumbersOf(*value);
    if (!numbers) return;
    const auto geometry = Geometry::Make(Bytes((*numbers)[0]), Bytes((*numbers)[1]));
    if (!geometry) return;
    auto decoded = Chain::Decode(*geometry, AsBytes(value->substr(sizeof(TwoNumbers))));
    if (decoded && decoded->complete()) chain = std::move(*decoded);
  });
  return chain;
}

Status BlobTable::SaveChain(const Digest& digest, const Chain& chain) {
  return env_->Write([&](index::LmdbTxn& txn) { return PutChain(txn, digest, chain); });
}

Status BlobTable::PutChain(index::LmdbTxn& txn, const Digest& digest, const Chain& chain) const {
  const TwoNumbers numbers{chain.geometry().blob().count(), chain.geometry().piece().count()};
  const ByteVector states = chain.Encode();
  std::string value = ValueOf(numbers);
  value.append(AsText(states));
  if (Status put = txn.Put(chains_, KeyOf(digest), value); !put) return put;
  std::size_t count = 0;
  txn.Walk(chains_, "", [&count](std::string_view, std::string_view) {
    ++count;
    return true;
  });
  if (count <= kChainsMax) return Ok();
  // Digests are evenly spread: the next one is as good as a random one.
  std::string victim;
  const auto take = [&](std::string_view key, std::string_view) {
    if (key == KeyOf(digest)) return true;
    victim = key;
    return false;
  };
  txn.Walk(chains_, KeyOf(digest), take);
  if (victim.empty()) txn.Walk(chains_, "", take);
  return txn.Delete(chains_, victim);
}

Status BlobTable::RemoveWithChain(const Digest& digest) {
  return env_->Write([&](index::LmdbTxn& txn) -> Status {
    if (Status deleted = txn.Delete(blobs_, KeyOf(digest)); !deleted) return deleted;
    return txn.Delete(chains_, KeyOf(digest));
  });
}

}  // namespace shoal::fetch
