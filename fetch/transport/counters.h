// Counters: the bytes that crossed each edge, for status and metrics. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>

#include "base/digest.h"

namespace shoal::fetch {

struct Counters {
  std::atomic<std::int64_t> from_peers{0};
  std::atomic<std::int64_t> from_upstream{0};
  std::atomic<std::int64_t> to_peers{0};
  std::atomic<std::int64_t> to_runtime{0};
  std::atomic<std::int64_t> corrupt_pieces{0};
  std::atomic<std::int64_t> bans{0};
  std::atomic<std::int64_t> fetches_done{0};
  std::atomic<std::int64_t> fetches_failed{0};

  struct OfPeer {
    std::int64_t in = 0;
    std::int64_t out = 0;
  };
  // At most kPeersMax peers are told apart; bytes of further ones only count in the totals.
  static constexpr std::size_t kPeersMax = 4096;

  void AddIn(const PeerId& peer, std::int64_t bytes) {
    from_peers += bytes;
    Add(peer, bytes, &OfPeer::in);
  }
  void AddOut(const PeerId& peer, std::int64_t bytes) {
    to_peers += bytes;
    Add(peer, bytes, &OfPeer::out);
  }
  [[nodiscard]] std::map<PeerId, OfPeer> Peers() const {
    const std::lock_guard lock(mutex_);
    return peers_;
  }
  [[nodiscard]] OfPeer Of(const PeerId& peer) const {
    const std::lock_guard lock(mutex_);
    const auto it = peers_.find(peer);
    return it == peers_.end() ? OfPeer{} : it->second;
  }

 private:
  void Add(const PeerId& peer, std::int64_t bytes, std::int64_t OfPeer::*field) {
    const std::lock_guard lock(mutex_);
    if (peers_.size() < kPeersMax || peers_.contains(peer)) peers_[peer].*field += bytes;
  }

  mutable std::mutex mutex_;
  std::map<PeerId, OfPeer> peers_;
};

}  // namespace shoal::fetch
