#include "agent/image_finder.h"

#include <utility>

namespace shoal::agent {

using index::ImageSearch;

ImageFinder::ImageFinder(std::uint64_t seed, std::function<Time()> now)
    : now_(std::move(now)), search_(seed) {}

void ImageFinder::Take(const index::ImageChange& change, ImageSearch::Whose whose) {
  const bool same = change.before && change.after && *change.before == change.after->digest;
  if (same) {
    search_.Update(*change.after);
    return;
  }
  // First the new one: an image that only moves from holder to holder stays.
  if (change.after) search_.Add(now_(), *change.after, whose);
  if (change.before) search_.Remove(change.name, *change.before, whose);
}

void ImageFinder::Load(const index::Catalog& catalog) {
  // The holders of a name come one after the other.
  std::vector<std::pair<index::ImageHolding, std::uint32_t>> batch;
  const auto add = [&] {
    const std::lock_guard lock(mutex_);
    for (const auto& [image, holders] : batch) {
      search_.Add(now_(), image, ImageSearch::Whose::kPeer, holders);
    }
    batch.clear();
  };
  catalog.EachImage([&](const index::CatalogImage& image) {
    if (!batch.empty() && batch.back().first.name == image.name &&
        batch.back().first.digest == image.digest) {
      ++batch.back().second;
      return;
    }
    if (batch.size() == kBatch) add();
    batch.push_back({{image.name, image.digest, image.size, image.platforms}, 1});
  });
  add();
}

void ImageFinder::OnPeers(const std::vector<index::ImageChange>& changes) {
  for (std::size_t at = 0; at < changes.size();) {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < kBatch && at < changes.size(); ++i, ++at) {
      Take(changes[at], ImageSearch::Whose::kPeer);
    }
  }
}

void ImageFinder::OnOurs(const index::ImageChange& change) {
  const std::lock_guard lock(mutex_);
  Take(change, ImageSearch::Whose::kOurs);
}

Result<index::SearchPage> ImageFinder::Find(std::string_view text, std::string_view cursor,
                                            int limit) const {
  const auto query = index::ParseSearch(text);
  if (!query) return query.error();
  const Time until = now_() + kPatience;
  const std::lock_guard lock(mutex_);
  return search_.Find(*query, cursor, limit, {.stop = [&] { return now_() > until; }});
}

std::size_t ImageFinder::size() const {
  const std::lock_guard lock(mutex_);
  return search_.size();
}

}  // namespace shoal::agent
