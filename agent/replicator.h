// Replicator: pulls every image that [[replicate]] names as soon as a peer holds it. On the loop.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/config.h"
#include "base/executor.h"
#include "index/catalog.h"
#include "index/inventory.h"

namespace shoal::agent {

class Replicator {
 public:
  struct Ports {
    Loop& loop;
    const index::Catalog& catalog;
    const index::Inventory& inventory;
    std::function<void(const std::string& image)> pull;
  };

  Replicator(const std::vector<ReplicateEntry>& entries, Ports ports);

  // The catalog has news. Looks at it at most every kLookSpacing.
  void OnCatalogChanged();
  // "reg.example/prod/*": `*` stands for anything, slashes too.
  [[nodiscard]] bool Wants(const std::string& image) const;

 private:
  static constexpr Duration kLookSpacing = std::chrono::seconds(1);
  // An image whose pull failed, or that somebody removed here, is tried again after this.
  static constexpr Duration kTryAgain = std::chrono::minutes(1);

  void Look();

  std::vector<std::string> patterns_;
  Ports ports_;
  bool looking_ = false;
  std::map<std::string, Time> asked_;
};

}  // namespace shoal::agent
