// MemoryCatalog: the catalog for tests and the simulator. Nothing survives it.
#pragma once

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "index/catalog.h"

namespace shoal::index {

class MemoryCatalog : public Catalog {
 public:
  // self  where HoldersOf begins: see Catalog.
  explicit MemoryCatalog(const PeerId& self, std::size_t keys_max = kKeysOfPeerMax);

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
  struct PeerKeys {
    PeerCursor cursor;
    std::map<Digest, BlobHolding> blobs;
    std::map<std::string, ImageHolding, std::less<>> images;
  };

  // How many keys there would be.
  static std::size_t KeysAfter(const PeerKeys& keys, const KeysPage& page);
  void TakeBlob(const PeerId& peer, PeerKeys& keys, const BlobHolding& blob, bool gone);
  void TakeImage(const PeerId& peer, PeerKeys& keys, const ImageHolding& image, bool gone);
  void Unlink(const PeerId& peer, const Digest& digest, bool complete);
  void Unlink(const PeerId& peer, const std::string& image);
  void UnlinkAll(const PeerId& peer, const PeerKeys& keys);

  PeerId self_;
  std::size_t keys_max_;
  std::map<PeerId, PeerKeys> peers_;
  // Complete holders, then partial ones; each by peer.
  std::map<Digest, std::array<std::map<PeerId, Bytes>, 2>> holders_;
  std::map<std::string, std::map<PeerId, ImageHolding>, std::less<>> images_;
  std::vector<ImageChange> changes_;  // of the write under way
};

}  // namespace shoal::index
