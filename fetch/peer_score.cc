#include "fetch/peer_score.h"

#include <algorithm>

namespace shoal::fetch {

void PeerScore::OnAsked(Time now, bool idle) {
  if (!idle) return;
  sample_start_ = now;
  sample_ = Bytes(0);
}

void PeerScore::OnBytes(Time now, Bytes count) {
  sample_ += count;
  const Duration took = now - sample_start_;
  if (took < kRateSample) return;
  const double rate =
      static_cast<double>(sample_.count()) * 1e6 / static_cast<double>(took.count());
  // The weight of the newest sample: half a second of samples dominates.
  constexpr double kNewest = 0.3;
  rate_ = rate_ ? *rate_ * (1 - kNewest) + rate * kNewest : rate;
  sample_start_ = now;
  sample_ = Bytes(0);
}

void PeerScore::OnVerified() {
  failures_in_row_ = 0;
  proven_ = true;
}

void PeerScore::OnFailure(Time now) {
  Duration penalty = penalty_min_;
  for (int i = 0; i < failures_in_row_ && penalty < penalty_max_; ++i) penalty *= 2;
  ++failures_in_row_;
  usable_at_ = std::max(usable_at_, now + std::min(penalty, penalty_max_));
}

}  // namespace shoal::fetch
