#include "agent/replicator.h"

#include <fnmatch.h>

#include <algorithm>
#include <utility>

namespace shoal::agent {
namespace {

constexpr int kImagesAPage = 1000;

}  // namespace

Replicator::Replicator(const std::vector<ReplicateEntry>& entries, Ports ports)
    : ports_(std::move(ports)) {
  for (const auto& entry : entries) {
    patterns_.insert(patterns_.end(), entry.images.begin(), entry.images.end());
  }
}

bool Replicator::Wants(const std::string& image) const {
  return std::any_of(patterns_.begin(), patterns_.end(), [&](const std::string& pattern) {
    return fnmatch(pattern.c_str(), image.c_str(), 0) == 0;
  });
}

void Replicator::OnCatalogChanged() {
  if (patterns_.empty() || looking_) return;
  looking_ = true;
  ports_.loop.After(kLookSpacing, [this] {
    looking_ = false;
    Look();
  });
}

void Replicator::Look() {
  const Time now = ports_.loop.Now();
  std::erase_if(asked_, [now](const auto& entry) { return now - entry.second > kTryAgain; });
  std::string after;
  for (;;) {
    const auto page = ports_.catalog.Images(after, kImagesAPage);
    for (const auto& image : page) {
      after = image.name;
      if (!Wants(image.name) || asked_.contains(image.name)) continue;
      const auto held = ports_.inventory.FindImage(image.name);
      if (held && held->digest == image.digest) continue;
      asked_[image.name] = now;
      ports_.pull(image.name);
    }
    if (page.size() < kImagesAPage) return;
  }
}

}  // namespace shoal::agent
