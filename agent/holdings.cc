#include "agent/holdings.h"

#include <utility>

namespace shoal::agent {

namespace {

// Facts of images that are gone are forgotten when there are so many more than images.
constexpr std::size_t kFactsSpare = 1000;

}  // namespace

Holdings::Holdings(std::uint64_t epoch, Hooks hooks, std::size_t tags_max)
    : inventory_(epoch), hooks_(std::move(hooks)), tags_max_(tags_max) {}

bool Holdings::SetImage(const std::string& name, const Digest& digest) {
  const auto before = inventory_.FindImage(name);
  index::ImageHolding image{name, digest};
  if (const auto it = facts_.find(digest); it != facts_.end()) {
    image.size = it->second.size;
    image.platforms = it->second.platforms;
  }
  if (!inventory_.SetImage(image)) return false;
  if (hooks_.on_image) {
    hooks_.on_image({name, before ? std::optional(before->digest) : std::nullopt, image});
  }
  return true;
}

bool Holdings::RemoveImage(const std::string& name) {
  const auto before = inventory_.FindImage(name);
  if (!inventory_.RemoveImage(name)) return false;
  if (hooks_.on_image) hooks_.on_image({name, before->digest, std::nullopt});
  return true;
}

void Holdings::SetFacts(const Digest& top, const proxy::ImageFacts& facts) {
  facts_[top] = facts;
  bool changed = false;
  for (const auto& image : inventory_.Images()) {
    if (image.digest == top) changed |= SetImage(image.name, top);
  }
  if (changed) hooks_.on_changed();
  if (facts_.size() > inventory_.image_count() + kFactsSpare) DropOldFacts();
}

void Holdings::DropOldFacts() {
  std::unordered_set<Digest> held;
  for (const auto& image : inventory_.Images()) held.insert(image.digest);
  std::erase_if(facts_, [&](const auto& entry) { return !held.contains(entry.first); });
}

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
  if (const auto tags = tags_of_.find(digest); tags != tags_of_.end()) {
    for (const auto& name : tags->second) changed |= RefreshImage(name);
  }
  if (changed) hooks_.on_changed();
}

bool Holdings::RefreshImage(const std::string& name) {
  if (const auto image = images_.find(name); image != images_.end()) {
    return SetImage(name, image->second);
  }
  const auto tag = tags_.find(name);
  if (tag == tags_.end() || !IsWhole(tag->second.digest)) return RemoveImage(name);
  return SetImage(name, tag->second.digest);
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
    if (!images_.contains(name)) changed |= RefreshImage(name);
  }
  for (const auto& [name, digest] : images_) changed |= SetImage(name, digest);
  if (changed) hooks_.on_changed();
}

void Holdings::SetTag(const std::string& name, const Digest& digest) {
  if (PutTag(name, digest) && hooks_.on_tag) hooks_.on_tag(name, digest);
  if (tags_.size() > tags_max_) ForgetTag(std::string(ages_.front()));
}

void Holdings::LoadTag(const std::string& name, const Digest& digest) {
  PutTag(name, digest);
  if (tags_.size() > tags_max_) ForgetTag(std::string(ages_.front()));
}

bool Holdings::PutTag(const std::string& name, const Digest& digest) {
  const auto it = tags_.find(name);
  if (it != tags_.end() && it->second.digest == digest) {
    ages_.splice(ages_.end(), ages_, it->second.age);
    return false;
  }
  EraseTag(name);
  tags_[name] = {digest, ages_.insert(ages_.end(), name)};
  tags_of_[digest].insert(name);
  if (RefreshImage(name)) hooks_.on_changed();
  return true;
}

void Holdings::EraseTag(const std::string& name) {
  const auto it = tags_.find(name);
  if (it == tags_.end()) return;
  const auto same = tags_of_.find(it->second.digest);
  same->second.erase(name);
  if (same->second.empty()) tags_of_.erase(same);
  ages_.erase(it->second.age);
  tags_.erase(it);
}

void Holdings::ForgetTag(const std::string& name) {
  if (!tags_.contains(name)) return;
  EraseTag(name);
  if (hooks_.on_tag) hooks_.on_tag(name, std::nullopt);
  if (RefreshImage(name)) hooks_.on_changed();
}

}  // namespace shoal::agent
