// LmdbCatalog: the catalog on disk. Holders of a digest are neighbours in one ordered table, so
// that finding them is one seek.
//
// Tables
//   holders  digest, kind, peer    -> size       kind: 0 complete, 1 partial
//   keys     peer, 'b', digest     -> kind, size
//            peer, 'i', name       -> digest
//   images   name, 0, peer         -> digest, size, platforms; rows of before have the digest alone
//   peers    peer                  -> epoch, cursor, blobs, images
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "index/catalog.h"
#include "index/lmdb/env.h"

namespace shoal::index {

class LmdbCatalog : public Catalog {
 public:
  // env   outlives the catalog.
  // self  where HoldersOf begins: see Catalog.
  static Result<std::unique_ptr<LmdbCatalog>> Open(LmdbEnv& env, const PeerId& self,
                                                   std::size_t keys_max = kKeysOfPeerMax);

  Status Apply(const PeerId& peer, const KeysPage& page) override;
  Status Forget(const PeerId& peer) override;
  [[nodiscard]] PeerCursor CursorOf(const PeerId& peer) const override;
  [[nodiscard]] std::vector<Holder> HoldersOf(const Digest& digest) const override;
  [[nodiscard]] std::vector<CatalogImage> ImagesNamed(std::string_view name) const override;
  [[nodiscard]] std::vector<CatalogImage> Images(std::string_view after, int limit) const override;
  void EachImage(const std::function<void(const CatalogImage&)>& visit) const override;
  [[nodiscard]] std::size_t BlobCountOf(const PeerId& peer) const override;
  [[nodiscard]] std::vector<PeerId> Peers() const override;

 private:
  struct Tables {
    Dbi holders = 0;
    Dbi keys = 0;
    Dbi images = 0;
    Dbi peers = 0;
  };
  struct PeerRow {
    PeerCursor cursor;
    std::uint64_t blobs = 0;
    std::uint64_t images = 0;
    // Not kept: what is to be told when the write is done.
    std::vector<ImageChange> changes{};
  };

  LmdbCatalog(LmdbEnv& env, const PeerId& self, std::size_t keys_max, Tables tables)
      : env_(env), self_(self), keys_max_(keys_max), tables_(tables) {}

  [[nodiscard]] PeerRow RowOf(const LmdbTxn& txn, const PeerId& peer) const;
  Status PutBlob(LmdbTxn& txn, const PeerId& peer, const BlobHolding& blob, PeerRow& row);
  Status PutImage(LmdbTxn& txn, const PeerId& peer, const ImageHolding& image, PeerRow& row);
  Status DropBlob(LmdbTxn& txn, const PeerId& peer, const Digest& digest, PeerRow& row);
  Status DropImage(LmdbTxn& txn, const PeerId& peer, std::string_view name, PeerRow& row);
  // row: its counts are not looked at.
  Status DropAll(LmdbTxn& txn, const PeerId& peer, PeerRow& row);
  // Remembers the change for those who watch.
  void Note(PeerRow& row, std::string_view name, std::optional<std::string_view> before,
            const ImageHolding* after) const;

  LmdbEnv& env_;
  PeerId self_;
  std::size_t keys_max_;
  Tables tables_;
};

}  // namespace shoal::index
