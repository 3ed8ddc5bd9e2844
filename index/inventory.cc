#include "index/inventory.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::index {
namespace {

constexpr std::uint64_t kEpochMask = (std::uint64_t{1} << 53) - 1;
// The members round a key, with every number at its longest: see EncodeKeysPage.
constexpr std::size_t kKeyBytesMax = 192;
constexpr std::size_t kPageBytesSpare = 256;

}  // namespace

bool IsImageName(std::string_view name) {
  return !name.empty() && name.size() <= kImageNameBytesMax &&
         std::ranges::all_of(name,
                             [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '\\'; });
}

bool IsPlatforms(std::string_view text) {
  if (text.size() > kPlatformsBytesMax) return false;
  char before = ',';
  for (const char c : text) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                      c == '-' || c == '/';
    if (!word && (c != ',' || before == ',')) return false;
    before = c;
  }
  return text.empty() || before != ',';
}

Inventory::Inventory(std::uint64_t epoch)
    : epoch_(std::max<std::uint64_t>(epoch & kEpochMask, 1)) {}

void Inventory::Restart(std::uint64_t epoch) {
  epoch = std::max<std::uint64_t>(epoch & kEpochMask, 1);
  epoch_ = epoch == epoch_ ? epoch % kEpochMask + 1 : epoch;
}

std::uint64_t Inventory::Append(Entry entry) {
  const auto sequence = next_++;
  log_.emplace(sequence, std::move(entry));
  return sequence;
}

void Inventory::Drop(std::uint64_t sequence) {
  log_.erase(sequence);
  tombstones_.erase(sequence);
}

bool Inventory::SetBlob(const BlobHolding& blob) {
  if (blob.size < Bytes(0) || blob.size > Bytes(kBlobBytesMax)) return false;
  if (const auto it = blobs_.find(blob.digest); it != blobs_.end()) {
    if (std::get<BlobHolding>(log_.at(it->second).holding) == blob) return false;
    Drop(it->second);
  }
  if (const auto it = gone_blobs_.find(blob.digest); it != gone_blobs_.end()) {
    Drop(it->second);
    gone_blobs_.erase(it);
  }
  blobs_[blob.digest] = Append({blob, false});
  return true;
}

bool Inventory::SetImage(const ImageHolding& image) {
  if (!IsImageName(image.name) || !IsPlatforms(image.platforms) || image.size < Bytes(0) ||
      image.size > Bytes(kBlobBytesMax)) {
    return false;
  }
  if (const auto it = images_.find(image.name); it != images_.end()) {
    if (std::get<ImageHolding>(log_.at(it->second).holding) == image) return false;
    Drop(it->second);
  }
  if (const auto it = gone_images_.find(image.name); it != gone_images_.end()) {
    Drop(it->second);
    gone_images_.erase(it);
  }
  images_[image.name] = Append({image, false});
  return true;
}

bool Inventory::RemoveBlob(const Digest& digest) {
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return false;
  Bury(it->second);
  blobs_.erase(it);
  ForgetOldTombstones();
  return true;
}

bool Inventory::RemoveImage(std::string_view name) {
  const auto it = images_.find(name);
  if (it == images_.end()) return false;
  Bury(it->second);
  images_.erase(it);
  ForgetOldTombstones();
  return true;
}

// Replaces a holding by its tombstone at the log's end.
void Inventory::Bury(std::uint64_t sequence) {
  Holding holding = log_.at(sequence).holding;
  Drop(sequence);
  const auto grave = Append({holding, true});
  tombstones_.insert(grave);
  if (const auto* blob = std::get_if<BlobHolding>(&holding)) {
    gone_blobs_[blob->digest] = grave;
  } else {
    gone_images_[std::get<ImageHolding>(holding).name] = grave;
  }
}

void Inventory::ForgetOldTombstones() {
  if (tombstones_.size() <= kTombstonesMax) return;
  while (tombstones_.size() > kTombstonesMax / 2) {
    const auto oldest = *tombstones_.begin();
    const Holding& holding = log_.at(oldest).holding;
    if (const auto* blob = std::get_if<BlobHolding>(&holding)) {
      gone_blobs_.erase(blob->digest);
    } else {
      gone_images_.erase(std::get<ImageHolding>(holding).name);
    }
    Drop(oldest);
    forgotten_ = oldest;
  }
  while (!log_.empty() && log_.begin()->first < forgotten_) {
    auto node = log_.extract(log_.begin());
    const auto sequence = Append(std::move(node.mapped()));
    const Holding& holding = log_.at(sequence).holding;
    if (const auto* blob = std::get_if<BlobHolding>(&holding)) {
      blobs_[blob->digest] = sequence;
    } else {
      images_[std::get<ImageHolding>(holding).name] = sequence;
    }
  }
}

std::optional<BlobHolding> Inventory::FindBlob(const Digest& digest) const {
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return std::nullopt;
  return std::get<BlobHolding>(log_.at(it->second).holding);
}

std::optional<ImageHolding> Inventory::FindImage(std::string_view name) const {
  const auto it = images_.find(name);
  if (it == images_.end()) return std::nullopt;
  return std::get<ImageHolding>(log_.at(it->second).holding);
}

std::vector<ImageHolding> Inventory::Images() const {
  std::vector<ImageHolding> out;
  out.reserve(images_.size());
  for (const auto& [name, sequence] : images_) {
    out.push_back(std::get<ImageHolding>(log_.at(sequence).holding));
  }
  return out;
}

std::vector<BlobHolding> Inventory::Blobs(std::optional<Digest> after, int limit) const {
  std::vector<BlobHolding> out;
  auto it = after ? blobs_.upper_bound(*after) : blobs_.begin();
  for (; it != blobs_.end() && static_cast<int>(out.size()) < limit; ++it) {
    out.push_back(std::get<BlobHolding>(log_.at(it->second).holding));
  }
  return out;
}

void Inventory::Touch(const Digest& digest) {
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return;
  Entry entry = log_.at(it->second);
  Drop(it->second);
  it->second = Append(std::move(entry));
}

KeysPage Inventory::Page(std::uint64_t epoch, std::uint64_t cursor, int limit,
                         const std::function<bool(const Holding&)>& visible) const {
  KeysPage page;
  page.epoch = epoch_;
  page.reset = epoch != epoch_ || cursor > head() || cursor < forgotten_;
  if (page.reset) cursor = 0;
  limit = std::clamp(limit, 1, kKeysPageMax);
  std::size_t bytes = kPageBytesSpare;
  page.cursor = cursor;
  int scanned = 0;
  for (auto it = log_.upper_bound(cursor); it != log_.end(); ++it) {
    const auto& [sequence, entry] = *it;
    // Who forgets everything needs no tombstones.
    if (page.reset && entry.gone) continue;
    if (!visible(entry.holding)) {
      // The last one that was looked at moves the cursor on.
      page.cursor = sequence;
      if (++scanned < kKeysScanned) continue;
      page.more = true;
      break;
    }
    bytes += kKeyBytesMax;
    if (const auto* image = std::get_if<ImageHolding>(&entry.holding)) {
      bytes += image->name.size() + image->platforms.size();
    }
    if (static_cast<int>(page.changes.size()) == limit || bytes > kKeysPageBytesMax) {
      page.more = true;
      break;
    }
    page.cursor = sequence;
    page.changes.push_back({entry.holding, entry.gone});
  }
  if (!page.more) page.cursor = head();
  return page;
}

void Inventory::CheckInvariants() const {
  SHOAL_CHECK(tombstones_.size() <= kTombstonesMax);
  SHOAL_CHECK(log_.size() == blobs_.size() + images_.size() + tombstones_.size());
  SHOAL_CHECK(tombstones_.size() == gone_blobs_.size() + gone_images_.size());
  SHOAL_CHECK(log_.empty() || log_.rbegin()->first < next_);
  SHOAL_CHECK(log_.empty() || log_.begin()->first > forgotten_);
  for (const auto& [digest, sequence] : blobs_) {
    const auto& entry = log_.at(sequence);
    SHOAL_CHECK(!entry.gone && std::get<BlobHolding>(entry.holding).digest == digest);
  }
  for (const auto& [name, sequence] : images_) {
    const auto& entry = log_.at(sequence);
    SHOAL_CHECK(!entry.gone && std::get<ImageHolding>(entry.holding).name == name);
  }
  for (const auto sequence : tombstones_) SHOAL_CHECK(log_.at(sequence).gone);
}

}  // namespace shoal::index
