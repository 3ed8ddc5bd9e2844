#include "index/memory_catalog.h"

#include <set>
#include <utility>

namespace shoal::index {

MemoryCatalog::MemoryCatalog(const PeerId& self, std::size_t keys_max)
    : self_(self), keys_max_(keys_max) {}

void MemoryCatalog::Unlink(const PeerId& peer, const Digest& digest, bool complete) {
  const auto it = holders_.find(digest);
  it->second[complete ? 0 : 1].erase(peer);
  if (it->second[0].empty() && it->second[1].empty()) holders_.erase(it);
}

void MemoryCatalog::Unlink(const PeerId& peer, const std::string& image) {
  const auto it = images_.find(image);
  it->second.erase(peer);
  if (it->second.empty()) images_.erase(it);
}

void MemoryCatalog::UnlinkAll(const PeerId& peer, const PeerKeys& keys) {
  for (const auto& [digest, blob] : keys.blobs) Unlink(peer, digest, blob.complete);
  for (const auto& [name, image] : keys.images) {
    Unlink(peer, name);
    changes_.push_back({name, image.digest, std::nullopt});
  }
}

void MemoryCatalog::TakeBlob(const PeerId& peer, PeerKeys& keys, const BlobHolding& blob,
                             bool gone) {
  if (const auto it = keys.blobs.find(blob.digest); it != keys.blobs.end()) {
    Unlink(peer, blob.digest, it->second.complete);
    keys.blobs.erase(it);
  }
  if (gone) return;
  keys.blobs[blob.digest] = blob;
  holders_[blob.digest][blob.complete ? 0 : 1][peer] = blob.size;
}

void MemoryCatalog::TakeImage(const PeerId& peer, PeerKeys& keys, const ImageHolding& image,
                              bool gone) {
  ImageChange change{image.name, std::nullopt, std::nullopt};
  if (const auto it = keys.images.find(image.name); it != keys.images.end()) {
    change.before = it->second.digest;
    Unlink(peer, image.name);
    keys.images.erase(it);
  }
  if (!gone) {
    change.after = image;
    keys.images[image.name] = image;
    images_[image.name][peer] = image;
  }
  if (change.before || change.after) changes_.push_back(std::move(change));
}

Status MemoryCatalog::Apply(const PeerId& peer, const KeysPage& page) {
  if (auto follows = PageFollows(CursorOf(peer), page); !follows) return follows;
  const auto old = peers_.find(peer);
  const bool anew = old == peers_.end() || page.reset || old->second.cursor.epoch != page.epoch;
  if (KeysAfter(anew ? PeerKeys{} : old->second, page) > keys_max_) {
    return TooManyKeys(peer, keys_max_);
  }
  auto& keys = peers_[peer];
  if (anew) {
    UnlinkAll(peer, keys);
    keys = PeerKeys{};
  }
  for (const auto& [holding, gone] : page.changes) {
    if (const auto* blob = std::get_if<BlobHolding>(&holding)) {
      TakeBlob(peer, keys, *blob, gone);
    } else {
      TakeImage(peer, keys, std::get<ImageHolding>(holding), gone);
    }
  }
  keys.cursor = {page.epoch, page.cursor};
  Tell(std::exchange(changes_, {}));
  return Ok();
}

std::size_t MemoryCatalog::KeysAfter(const PeerKeys& keys, const KeysPage& page) {
  std::set<Digest> blobs;
  std::set<std::string_view> images;
  std::size_t count = keys.blobs.size() + keys.images.size();
  // The last word on each key counts.
  for (auto it = page.changes.rbegin(); it != page.changes.rend(); ++it) {
    bool held = false;
    if (const auto* blob = std::get_if<BlobHolding>(&it->holding)) {
      if (!blobs.insert(blob->digest).second) continue;
      held = keys.blobs.contains(blob->digest);
    } else {
      const auto& name = std::get<ImageHolding>(it->holding).name;
      if (!images.insert(name).second) continue;
      held = keys.images.contains(name);
    }
    if (held && it->gone) --count;
    if (!held && !it->gone) ++count;
  }
  return count;
}

Status MemoryCatalog::Forget(const PeerId& peer) {
  const auto it = peers_.find(peer);
  if (it == peers_.end()) return Ok();
  UnlinkAll(peer, it->second);
  peers_.erase(it);
  Tell(std::exchange(changes_, {}));
  return Ok();
}

PeerCursor MemoryCatalog::CursorOf(const PeerId& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? PeerCursor{} : it->second.cursor;
}

std::vector<Holder> MemoryCatalog::HoldersOf(const Digest& digest) const {
  std::vector<Holder> out;
  const auto it = holders_.find(digest);
  if (it == holders_.end()) return out;
  for (const int partial : {0, 1}) {
    const auto& peers = it->second[static_cast<std::size_t>(partial)];
    auto from = peers.lower_bound(self_);
    for (std::size_t i = 0; i < peers.size() && out.size() < kHoldersMax; ++i, ++from) {
      if (from == peers.end()) from = peers.begin();
      out.push_back({from->first, from->second, partial == 0});
    }
  }
  return out;
}

std::vector<CatalogImage> MemoryCatalog::ImagesNamed(std::string_view name) const {
  std::vector<CatalogImage> out;
  const auto it = images_.find(name);
  if (it == images_.end()) return out;
  for (const auto& [peer, image] : it->second) {
    if (out.size() == kHoldersMax) break;
    out.push_back({it->first, image.digest, peer, image.size, image.platforms});
  }
  return out;
}

std::vector<CatalogImage> MemoryCatalog::Images(std::string_view after, int limit) const {
  std::vector<CatalogImage> out;
  for (auto it = images_.upper_bound(after); it != images_.end(); ++it) {
    for (const auto& [peer, image] : it->second) {
      if (static_cast<int>(out.size()) >= limit) return out;
      out.push_back({it->first, image.digest, peer, image.size, image.platforms});
    }
  }
  return out;
}

void MemoryCatalog::EachImage(const std::function<void(const CatalogImage&)>& visit) const {
  for (const auto& [name, holders] : images_) {
    for (const auto& [peer, image] : holders) {
      visit({name, image.digest, peer, image.size, image.platforms});
    }
  }
}

std::size_t MemoryCatalog::BlobCountOf(const PeerId& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? 0 : it->second.blobs.size();
}

std::vector<PeerId> MemoryCatalog::Peers() const {
  std::vector<PeerId> out;
  out.reserve(peers_.size());
  for (const auto& [peer, keys] : peers_) out.push_back(peer);
  return out;
}

}  // namespace shoal::index
