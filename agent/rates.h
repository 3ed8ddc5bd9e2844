// Rates: how fast bytes come from and go to each peer, from the counters. On the loop.
#pragma once

#include <cstdint>
#include <map>

#include "base/time.h"
#include "fetch/transport/counters.h"

namespace shoal::agent {

struct PeerRate {
  std::int64_t in_bps = 0;  // bits a second
  std::int64_t out_bps = 0;
};

class Rates {
 public:
  // Between two samples.
  static constexpr Duration kEvery = std::chrono::seconds(1);

  // Takes a sample: the rate of a peer is what it moved since the one before.
  void Sample(Time now, const std::map<PeerId, fetch::Counters::OfPeer>& totals);
  [[nodiscard]] PeerRate Of(const PeerId& peer) const;

 private:
  Time last_{};
  std::map<PeerId, fetch::Counters::OfPeer> totals_;
  std::map<PeerId, PeerRate> rates_;  // of those that moved anything
};

}  // namespace shoal::agent
