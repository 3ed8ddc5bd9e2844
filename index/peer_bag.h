// PeerBag: some peers, one of whom can be drawn by chance.
#pragma once

#include <cstddef>
#include <unordered_map>
#include <vector>

#include "base/check.h"
#include "base/digest.h"
#include "base/rng.h"

namespace shoal::index {

class PeerBag {
 public:
  // Returns whether it was not here.
  bool Add(const PeerId& peer) {
    if (!places_.emplace(peer, peers_.size()).second) return false;
    peers_.push_back(peer);
    return true;
  }
  // Returns whether it was here. Another one takes its place, so that nothing is moved up.
  bool Remove(const PeerId& peer) {
    const auto it = places_.find(peer);
    if (it == places_.end()) return false;
    const std::size_t place = it->second;
    places_.erase(it);
    if (place + 1 != peers_.size()) {
      peers_[place] = peers_.back();
      places_[peers_[place]] = place;
    }
    peers_.pop_back();
    return true;
  }
  // Each as likely. There must be one.
  [[nodiscard]] const PeerId& Draw(Rng& rng) const {
    SHOAL_CHECK(!peers_.empty());
    return peers_[rng.Below(peers_.size())];
  }

  [[nodiscard]] bool contains(const PeerId& peer) const { return places_.contains(peer); }
  [[nodiscard]] bool empty() const { return peers_.empty(); }
  [[nodiscard]] std::size_t size() const { return peers_.size(); }
  void CheckInvariants() const {
    SHOAL_CHECK(peers_.size() == places_.size());
    for (std::size_t i = 0; i < peers_.size(); ++i) SHOAL_CHECK(places_.at(peers_[i]) == i);
  }

 private:
  std::vector<PeerId> peers_;
  std::unordered_map<PeerId, std::size_t> places_;  // in peers_
};

}  // namespace shoal::index
