// Catalog: what this host knows others hold. Read without any message.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/result.h"
#include "index/inventory.h"

namespace shoal::index {

struct Holder {
  PeerId peer;
  Bytes size;
  bool complete = true;
};

struct CatalogImage {
  std::string name;
  Digest digest;
  PeerId peer;
  Bytes size{0};            // as the peer says; 0 unknown
  std::string platforms{};  // as the peer says; "" unknown
};

// A peer's image came, changed or went.
struct ImageChange {
  std::string name;
  std::optional<Digest> before;       // what the peer held under the name
  std::optional<ImageHolding> after;  // what it holds now
};

// How far we have followed a peer's log.
struct PeerCursor {
  std::uint64_t epoch = 0;
  std::uint64_t cursor = 0;
};

inline constexpr int kHoldersMax = 64;  // more holders of one blob never help one pull
inline constexpr std::size_t kKeysOfPeerMax = 1'000'000;

// Whether `page` may be taken after `held`: a page that says there is more must move the cursor on,
// or an asker would never come to the end. Errors: kInvalid.
Status PageFollows(const PeerCursor& held, const KeysPage& page);
Error TooManyKeys(const PeerId& peer, std::size_t keys_max);

// Called on the loop thread. index/lmdb keeps it on disk; MemoryCatalog (tests, simulator) does
// not; both pass tests/contract/catalog_contract.h.
class Catalog {
 public:
  virtual ~Catalog() = default;

  // Told of every change of an image, after it was taken, on the thread that wrote it. To be given
  // before the first write; what is there already is read by Images.
  using OnImages = std::function<void(const std::vector<ImageChange>& changes)>;
  void Watch(OnImages on_images) { on_images_ = std::move(on_images); }

  // Takes one page of a peer's log: drops what we knew first if `page.reset`.
  // Errors: kExhausted when the disk or map is full or the peer claims too much, kInvalid when the
  // page does not follow what we hold; the catalog is as before.
  virtual Status Apply(const PeerId& peer, const KeysPage& page) = 0;
  // Forgets everything about a peer.
  virtual Status Forget(const PeerId& peer) = 0;

  [[nodiscard]] virtual PeerCursor CursorOf(const PeerId& peer) const = 0;
  // At most kHoldersMax, complete ones first, each kind in the order of ids from our own on and
  // round: so that of very many holders each host knows others, and none is everybody's.
  [[nodiscard]] virtual std::vector<Holder> HoldersOf(const Digest& digest) const = 0;
  // Who has an image by its exact name; at most kHoldersMax.
  [[nodiscard]] virtual std::vector<CatalogImage> ImagesNamed(std::string_view name) const = 0;
  // All images in the order of names, then peers, of names after `after`, at most `limit`. A page
  // may end inside the holders of a name; names are never left out.
  [[nodiscard]] virtual std::vector<CatalogImage> Images(std::string_view after,
                                                         int limit) const = 0;
  // Every image of every peer, in the order of Images, all of one moment.
  virtual void EachImage(const std::function<void(const CatalogImage&)>& visit) const = 0;
  [[nodiscard]] virtual std::size_t BlobCountOf(const PeerId& peer) const = 0;
  [[nodiscard]] virtual std::vector<PeerId> Peers() const = 0;

 protected:
  [[nodiscard]] bool is_watched() const { return on_images_ != nullptr; }
  void Tell(const std::vector<ImageChange>& changes) const {
    if (on_images_ && !changes.empty()) on_images_(changes);
  }

 private:
  OnImages on_images_;
};

}  // namespace shoal::index
