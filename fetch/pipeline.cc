#include "fetch/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shoal::fetch {

Pipeline::Pipeline(int min, int max) : min_(std::min(min, max)), max_(max), depth_(min_) {
  SHOAL_CHECK(min >= 1 && max >= 1);
}

void Pipeline::OnPiece(Time now) {
  if (!window_start_) {
    // The first piece's own time is not known here: the window begins where it ends.
    window_start_ = now;
    return;
  }
  ++in_window_;
  const Duration passed = now - *window_start_;
  if (passed < kPipelineWindow || in_window_ < 2 * depth_) return;
  Step(in_window_ / (static_cast<double>(passed.count()) * 1e-6));
  window_start_ = now;
  in_window_ = 0;
}

std::optional<Duration> Pipeline::piece_time() const {
  if (last_rate_ == 0) return std::nullopt;
  return Duration(static_cast<std::int64_t>(std::min(1e6 / last_rate_, 1e9)));
}

void Pipeline::Step(double rate) {
  const double before = std::exchange(last_rate_, rate);
  // What the last step would have changed on an empty path, by half.
  const double half = 0.5 / std::max(1, depth_ - std::max(step_, 0));
  int next = 0;
  if (before == 0) {
    next = 1;
  } else if (step_ == 1) {
    next = rate >= before * (1 + half) ? 1 : -1;
  } else if (step_ == -1) {
    next = rate <= before * (1 - half) ? 1 : -1;
  } else if (++idle_ >= kIdleWindows) {
    next = 1;
  }
  const int wanted = std::clamp(depth_ + next, min_, max_);
  step_ = wanted - depth_;
  if (step_ != 0) idle_ = 0;
  depth_ = wanted;
}

}  // namespace shoal::fetch
