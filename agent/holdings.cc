#include "agent/holdings.h"

#include <utility>

namespace shoal::agent {

Holdings::Holdings(std::uint64_t epoch, std::function<void()> on_changed)
    : inventory_(epoch), on_changed_(std::move(on_changed)) {}

void Holdings::Refresh(const Digest& digest) {
  const auto find = [&](const auto& map) {
    const auto it = map.find(digest);
    return it == map.end() ? nullptr : &it->second;
  };
  const Bytes* whole = find(stored_);
  if (whole == nullptr) whole = find(containerd_);
  bool changed = false;
  if (whole != nullptr) {
    changed = inventory_.SetBlob({digest, *whole, true});
  } else if (const Bytes* partial = find(partial_)) {
    changed = inventory_.SetBlob({digest, *partial, false});
  } else {
    changed = inventory_.RemoveBlob(digest);
  }
  if (changed) on_changed_();
}

void Holdings::SetStored(const Digest& digest, Bytes size) {
  stored_[digest] = size;
  partial_.erase(digest);
  Refresh(digest);
}

void Holdings::SetPartial(const Digest& digest, Bytes size) {
  if (stored_.contains(digest)) return;
  partial_[digest] = size;
  Refresh(digest);
}

void Holdings::EndPartial(const Digest& digest, bool pieces) {
  if (!pieces) partial_.erase(digest);
  Refresh(digest);
}

void Holdings::RemoveStored(const Digest& digest) {
  stored_.erase(digest);
  Refresh(digest);
}

void Holdings::Drop(const Digest& digest) {
  stored_.erase(digest);
  containerd_.erase(digest);
  Refresh(digest);
}

void Holdings::SetContainerd(const fetch::ContainerdInventory& inventory) {
  std::unordered_map<Digest, Bytes> now;
  for (const auto& blob : inventory.blobs) now[blob.digest] = blob.size;
  const auto before = std::exchange(containerd_, std::move(now));
  for (const auto& [digest, size] : before) {
    if (!containerd_.contains(digest)) Refresh(digest);
  }
  for (const auto& [digest, size] : containerd_) {
    if (!before.contains(digest)) Refresh(digest);
  }

  std::map<std::string, Digest> images;
  for (const auto& image : inventory.images) {
    // CRI keeps each image under its id as well: no name that anybody pulls by.
    if (!image.name.starts_with("sha256:")) images[image.name] = image.digest;
  }
  const auto old_images = std::exchange(images_, std::move(images));
  bool changed = false;
  for (const auto& [name, digest] : old_images) {
    if (images_.contains(name)) continue;
    const auto tag = tags_.find(name);
    changed |= tag != tags_.end() ? inventory_.SetImage({name, tag->second})
                                  : inventory_.RemoveImage(name);
  }
  for (const auto& [name, digest] : images_) changed |= inventory_.SetImage({name, digest});
  if (changed) on_changed_();
}

void Holdings::SetTag(const std::string& name, const Digest& digest) {
  tags_[name] = digest;
  if (inventory_.SetImage({name, digest})) on_changed_();
}

void Holdings::ForgetTag(const std::string& name) {
  if (tags_.erase(name) == 0 || images_.contains(name)) return;
  if (inventory_.RemoveImage(name)) on_changed_();
}

}  // namespace shoal::agent
