#include "index/lmdb/catalog.h"

#include <cstring>
#include <utility>

namespace shoal::index {
namespace {

constexpr char kComplete = 0;
constexpr char kPartial = 1;
constexpr std::size_t kNameBytes = 32;

template <class Tag>
std::string_view Text(const Name32<Tag>& name) {
  return AsText(name.bytes);
}

template <class Name>
Name ToName(std::string_view text) {
  Name name;
  if (text.size() >= kNameBytes) std::memcpy(name.bytes.data(), text.data(), kNameBytes);
  return name;
}

// In this machine's byte order: the files never leave it.
std::string Pack(std::uint64_t value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}

std::uint64_t Unpack(std::string_view text, std::size_t at) {
  std::uint64_t value = 0;
  if (text.size() >= at + sizeof value) std::memcpy(&value, text.data() + at, sizeof value);
  return value;
}

template <class... Parts>
std::string Join(const Parts&... parts) {
  std::string out;
  (out.append(parts), ...);
  return out;
}

std::string_view Byte(const char& byte) { return {&byte, 1}; }

constexpr char kBlobMark = 'b';
constexpr char kImageMark = 'i';
constexpr char kEnd = '\0';

std::string HolderKey(const Digest& digest, char kind, const PeerId& peer) {
  return Join(Text(digest), Byte(kind), Text(peer));
}
std::string BlobKeyOf(const PeerId& peer, const Digest& digest) {
  return Join(Text(peer), Byte(kBlobMark), Text(digest));
}
std::string ImageKeyOf(const PeerId& peer, std::string_view name) {
  return Join(Text(peer), Byte(kImageMark), name);
}
std::string ImageKey(std::string_view name, const PeerId& peer) {
  return Join(name, Byte(kEnd), Text(peer));
}

// Splits the key of table `images`.
CatalogImage ToImage(std::string_view key, std::string_view value) {
  if (key.size() < kNameBytes + 1) return {};
  const auto name_bytes = key.size() - kNameBytes - 1;
  CatalogImage image{std::string(key.substr(0, name_bytes)), ToName<Digest>(value),
                     ToName<PeerId>(key.substr(name_bytes + 1))};
  if (value.size() >= kNameBytes + sizeof(std::uint64_t)) {
    image.size = Bytes(static_cast<std::int64_t>(Unpack(value, kNameBytes)));
    image.platforms = std::string(value.substr(kNameBytes + sizeof(std::uint64_t)));
  }
  return image;
}

}  // namespace

Result<std::unique_ptr<LmdbCatalog>> LmdbCatalog::Open(LmdbEnv& env, const PeerId& self,
                                                       std::size_t keys_max) {
  Tables tables;
  for (const auto& [name, dbi] :
       {std::pair{"holders", &tables.holders}, std::pair{"keys", &tables.keys},
        std::pair{"images", &tables.images}, std::pair{"peers", &tables.peers}}) {
    auto table = env.Table(std::string("catalog.") + name);
    if (!table) return table.error();
    *dbi = *table;
  }
  return std::unique_ptr<LmdbCatalog>(new LmdbCatalog(env, self, keys_max, tables));
}

LmdbCatalog::PeerRow LmdbCatalog::RowOf(const LmdbTxn& txn, const PeerId& peer) const {
  const auto value = txn.Get(tables_.peers, Text(peer));
  if (!value) return {};
  return {{Unpack(*value, 0), Unpack(*value, 8)}, Unpack(*value, 16), Unpack(*value, 24)};
}

Status LmdbCatalog::DropBlob(LmdbTxn& txn, const PeerId& peer, const Digest& digest, PeerRow& row) {
  const auto key = BlobKeyOf(peer, digest);
  const auto value = txn.Get(tables_.keys, key);
  if (!value) return Ok();
  const char kind = value->empty() ? kComplete : value->front();
  if (auto done = txn.Delete(tables_.holders, HolderKey(digest, kind, peer)); !done) return done;
  --row.blobs;
  return txn.Delete(tables_.keys, key);
}

Status LmdbCatalog::PutBlob(LmdbTxn& txn, const PeerId& peer, const BlobHolding& blob,
                            PeerRow& row) {
  if (auto done = DropBlob(txn, peer, blob.digest, row); !done) return done;
  const char kind = blob.complete ? kComplete : kPartial;
  const auto size = Pack(static_cast<std::uint64_t>(blob.size.count()));
  if (auto done = txn.Put(tables_.holders, HolderKey(blob.digest, kind, peer), size); !done) {
    return done;
  }
  ++row.blobs;
  return txn.Put(tables_.keys, BlobKeyOf(peer, blob.digest), Join(Byte(kind), size));
}

Status LmdbCatalog::DropImage(LmdbTxn& txn, const PeerId& peer, std::string_view name,
                              PeerRow& row) {
  const auto key = ImageKeyOf(peer, name);
  const auto held = txn.Get(tables_.keys, key);
  if (!held) return Ok();
  Note(row, name, held, nullptr);
  if (auto done = txn.Delete(tables_.images, ImageKey(name, peer)); !done) return done;
  --row.images;
  return txn.Delete(tables_.keys, key);
}

Status LmdbCatalog::PutImage(LmdbTxn& txn, const PeerId& peer, const ImageHolding& image,
                             PeerRow& row) {
  const auto key = ImageKeyOf(peer, image.name);
  const auto held = txn.Get(tables_.keys, key);
  if (!held) ++row.images;
  Note(row, image.name, held, &image);
  const auto value = Join(Text(image.digest), Pack(static_cast<std::uint64_t>(image.size.count())),
                          image.platforms);
  if (auto done = txn.Put(tables_.images, ImageKey(image.name, peer), value); !done) return done;
  return txn.Put(tables_.keys, key, Text(image.digest));
}

void LmdbCatalog::Note(PeerRow& row, std::string_view name, std::optional<std::string_view> before,
                       const ImageHolding* after) const {
  if (!is_watched()) return;
  ImageChange change{std::string(name), std::nullopt, std::nullopt};
  if (before) change.before = ToName<Digest>(*before);
  if (after != nullptr) change.after = *after;
  row.changes.push_back(std::move(change));
}

Status LmdbCatalog::DropAll(LmdbTxn& txn, const PeerId& peer, PeerRow& row) {
  // By batches, since a cursor does not outlive writes beside it.
  constexpr std::size_t kBatch = 1000;
  for (;;) {
    std::vector<std::string> keys;
    txn.Walk(tables_.keys, Text(peer), [&](std::string_view key, std::string_view) {
      if (!key.starts_with(Text(peer)) || keys.size() == kBatch) return false;
      keys.emplace_back(key.substr(kNameBytes));
      return true;
    });
    if (keys.empty()) break;
    for (const std::string_view key : keys) {
      const auto rest = key.substr(1);
      auto done = key.front() == kBlobMark ? DropBlob(txn, peer, ToName<Digest>(rest), row)
                                           : DropImage(txn, peer, rest, row);
      if (!done) return done;
    }
  }
  return txn.Delete(tables_.peers, Text(peer));
}

Status LmdbCatalog::Apply(const PeerId& peer, const KeysPage& page) {
  std::vector<ImageChange> changes;
  auto written = env_.Write([&](LmdbTxn& txn) -> Status {
    PeerRow row = RowOf(txn, peer);
    if (auto follows = PageFollows(row.cursor, page); !follows) return follows;
    if (page.reset || row.cursor.epoch != page.epoch) {
      if (auto done = DropAll(txn, peer, row); !done) return done;
      row = {{}, 0, 0, std::move(row.changes)};
    }
    for (const auto& [holding, gone] : page.changes) {
      Status done = Ok();
      if (const auto* blob = std::get_if<BlobHolding>(&holding)) {
        done = gone ? DropBlob(txn, peer, blob->digest, row) : PutBlob(txn, peer, *blob, row);
      } else {
        const auto& image = std::get<ImageHolding>(holding);
        done = gone ? DropImage(txn, peer, image.name, row) : PutImage(txn, peer, image, row);
      }
      if (!done) return done;
    }
    if (row.blobs + row.images > keys_max_) return TooManyKeys(peer, keys_max_);
    changes = std::move(row.changes);
    return txn.Put(tables_.peers, Text(peer),
                   Join(Pack(page.epoch), Pack(page.cursor), Pack(row.blobs), Pack(row.images)));
  });
  if (written) Tell(changes);
  return written;
}

Status LmdbCatalog::Forget(const PeerId& peer) {
  if (CursorOf(peer).epoch == 0) return Ok();  // nothing known: no commit to wait for
  PeerRow row;
  auto written = env_.Write([&](LmdbTxn& txn) { return DropAll(txn, peer, row); });
  if (written) Tell(row.changes);
  return written;
}

PeerCursor LmdbCatalog::CursorOf(const PeerId& peer) const {
  PeerCursor cursor;
  env_.Read([&](const LmdbTxn& txn) { cursor = RowOf(txn, peer).cursor; });
  return cursor;
}

std::vector<Holder> LmdbCatalog::HoldersOf(const Digest& digest) const {
  std::vector<Holder> out;
  env_.Read([&](const LmdbTxn& txn) {
    for (const char kind : {kComplete, kPartial}) {
      const auto prefix = Join(Text(digest), Byte(kind));
      // From ourselves to the end, then from the beginning to ourselves.
      bool is_second_half = false;
      const auto take = [&](std::string_view key, std::string_view value) {
        if (out.size() == kHoldersMax || !key.starts_with(prefix)) return false;
        const auto peer = ToName<PeerId>(key.substr(prefix.size()));
        if (is_second_half && peer >= self_) return false;
        out.push_back(
            {peer, Bytes(static_cast<std::int64_t>(Unpack(value, 0))), kind == kComplete});
        return true;
      };
      txn.Walk(tables_.holders, HolderKey(digest, kind, self_), take);
      is_second_half = true;
      txn.Walk(tables_.holders, prefix, take);
    }
  });
  return out;
}

std::vector<CatalogImage> LmdbCatalog::ImagesNamed(std::string_view name) const {
  std::vector<CatalogImage> out;
  const auto prefix = Join(name, Byte(kEnd));
  env_.Read([&](const LmdbTxn& txn) {
    txn.Walk(tables_.images, prefix, [&](std::string_view key, std::string_view value) {
      if (out.size() == kHoldersMax || !key.starts_with(prefix)) return false;
      out.push_back(ToImage(key, value));
      return true;
    });
  });
  return out;
}

std::vector<CatalogImage> LmdbCatalog::Images(std::string_view after, int limit) const {
  std::vector<CatalogImage> out;
  // Every key of `after` itself starts with the name and a zero byte.
  const auto from = after.empty() ? std::string() : Join(after, Byte('\x01'));
  env_.Read([&](const LmdbTxn& txn) {
    txn.Walk(tables_.images, from, [&](std::string_view key, std::string_view value) {
      if (static_cast<int>(out.size()) >= limit) return false;
      out.push_back(ToImage(key, value));
      return true;
    });
  });
  return out;
}

void LmdbCatalog::EachImage(const std::function<void(const CatalogImage&)>& visit) const {
  env_.Read([&](const LmdbTxn& txn) {
    txn.Walk(tables_.images, {}, [&](std::string_view key, std::string_view value) {
      visit(ToImage(key, value));
      return true;
    });
  });
}

std::size_t LmdbCatalog::BlobCountOf(const PeerId& peer) const {
  std::size_t count = 0;
  env_.Read([&](const LmdbTxn& txn) { count = RowOf(txn, peer).blobs; });
  return count;
}

std::vector<PeerId> LmdbCatalog::Peers() const {
  std::vector<PeerId> out;
  env_.Read([&](const LmdbTxn& txn) {
    txn.Walk(tables_.peers, {}, [&](std::string_view key, std::string_view) {
      out.push_back(ToName<PeerId>(key));
      return true;
    });
  });
  return out;
}

}  // namespace shoal::index
