// ImageFinder: the image search of a running agent: fed by the catalog and by our own inventory,
// asked by the status API. One lock; the database thread writes, so that the loop never waits.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "index/catalog.h"
#include "index/search.h"

namespace shoal::agent {

class ImageFinder {
 public:
  // now: any thread.
  ImageFinder(std::uint64_t seed, std::function<Time()> now);

  // On the database thread, in this order: what the catalog holds at the start, once; then each
  // change.
  void Load(const index::Catalog& catalog);
  void OnPeers(const std::vector<index::ImageChange>& changes);
  void OnOurs(const index::ImageChange& change);

  // Any thread. Errors: those of ParseSearch and ImageSearch::Find.
  Result<index::SearchPage> Find(std::string_view text, std::string_view cursor, int limit) const;
  [[nodiscard]] std::size_t size() const;

 private:
  // A search is local and quick; one that is not, for want of a processor, must not hold up others.
  static constexpr Duration kPatience = std::chrono::milliseconds(500);
  // Changes that are taken under one holding of the lock: about a millisecond.
  static constexpr std::size_t kBatch = 100;

  void Take(const index::ImageChange& change, index::ImageSearch::Whose whose);

  const std::function<Time()> now_;
  mutable std::mutex mutex_;
  index::ImageSearch search_;
};

}  // namespace shoal::agent
