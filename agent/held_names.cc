#include "agent/held_names.h"

#include <string_view>

namespace shoal::agent {

void HeldNames::CatchUp() {
  if (epoch_ == inventory_.epoch() && cursor_ == inventory_.head()) return;
  for (;;) {
    const auto page = inventory_.Page(epoch_, cursor_, index::kKeysPageMax);
    if (page.reset) {
      by_name_.clear();
      names_.clear();
    }
    for (const auto& change : page.changes) {
      const auto* blob = std::get_if<index::BlobHolding>(&change.holding);
      if (blob == nullptr) continue;
      if (const auto known = names_.find(blob->digest); known != names_.end()) {
        by_name_.erase(known->second);
        names_.erase(known);
      }
      if (change.gone) continue;
      const auto name = rooms_.SwarmDigest(rooms_.SwarmRoom(blob->digest), blob->digest);
      if (!name) continue;  // for no room
      by_name_[*name] = blob->digest;
      names_[blob->digest] = *name;
    }
    epoch_ = page.epoch;
    cursor_ = page.cursor;
    if (!page.more) return;
  }
}

bool HeldNames::Holds(const PeerId& asker, const index::Key& key) {
  constexpr std::string_view kBlob = "blob/";
  if (!key.starts_with(kBlob)) return false;
  const auto name = ParseDigest(std::string_view(key).substr(kBlob.size()));
  if (!name) return false;
  CatchUp();
  const auto it = by_name_.find(*name);
  return it != by_name_.end() && rooms_.MayShare(asker, it->second);
}

}  // namespace shoal::agent
