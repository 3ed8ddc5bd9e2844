// RecentPeers: which peers did something lately, and in what order. A list that forgets.
#pragma once

#include <cstddef>
#include <list>
#include <unordered_map>

#include "base/digest.h"
#include "base/time.h"

namespace shoal::fetch {

class RecentPeers {
 public:
  // Remembers each for `life`, and at most `max`: beyond that the one of longest ago goes.
  RecentPeers(Duration life, std::size_t max) : life_(life), max_(max) {}

  void Add(Time now, const PeerId& peer) {
    const auto [place, fresh] = places_.try_emplace(peer, order_.end());
    if (!fresh) {
      place->second->when = now;
      order_.splice(order_.begin(), order_, place->second);
      return;
    }
    order_.push_front({peer, now});
    place->second = order_.begin();
    if (order_.size() > max_) RemoveLast();
  }
  void Remove(const PeerId& peer) {
    const auto found = places_.find(peer);
    if (found == places_.end()) return;
    order_.erase(found->second);
    places_.erase(found);
  }
  void Expire(Time now) {
    while (!order_.empty() && order_.back().when + life_ < now) RemoveLast();
  }

  [[nodiscard]] std::size_t size() const { return order_.size(); }
  [[nodiscard]] bool AnyBut(const PeerId& peer) const {
    return order_.size() > places_.count(peer);
  }

 private:
  struct Entry {
    PeerId peer;
    Time when;
  };

  void RemoveLast() {
    places_.erase(order_.back().peer);
    order_.pop_back();
  }

  Duration life_;
  std::size_t max_;
  std::list<Entry> order_;  // latest first
  std::unordered_map<PeerId, std::list<Entry>::iterator> places_;
};

}  // namespace shoal::fetch
