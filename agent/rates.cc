#include "agent/rates.h"

namespace shoal::agent {

void Rates::Sample(Time now, const std::map<PeerId, fetch::Counters::OfPeer>& totals) {
  const double seconds = static_cast<double>((now - last_).count()) / 1e6;
  const bool first = last_ == Time{};
  last_ = now;
  rates_.clear();
  if (!first && seconds > 0) {
    for (const auto& [peer, total] : totals) {
      const auto before = totals_[peer];
      if (total.in == before.in && total.out == before.out) continue;
      const auto bps = [seconds](std::int64_t bytes) {
        return static_cast<std::int64_t>(static_cast<double>(bytes) * 8 / seconds);
      };
      rates_[peer] = {bps(total.in - before.in), bps(total.out - before.out)};
    }
  }
  totals_ = totals;
}

PeerRate Rates::Of(const PeerId& peer) const {
  const auto it = rates_.find(peer);
  return it == rates_.end() ? PeerRate{} : it->second;
}

}  // namespace shoal::agent
