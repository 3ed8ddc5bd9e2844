#include "fetch/pipeline.h"

#include <algorithm>
#include <cmath>

namespace shoal::fetch {
namespace {

// The quickest time rises by this with each piece, so that it follows a path that got longer
// within some fifty pieces.
constexpr double kForget = 1.02;
// A rate is taken over at least this time and this many pieces, smoothed by half.
constexpr Duration kWindow = std::chrono::milliseconds(100);
constexpr int kWindowPieces = 4;

double Seconds(Duration d) { return static_cast<double>(d.count()) * 1e-6; }

}  // namespace

void Pipeline::OnPiece(Time now, Time asked) {
  const double took = std::max(Seconds(now - asked), 1e-6);
  quickest_s_ = quickest_s_ == 0 ? took : std::min(took, quickest_s_ * kForget);
  if (!begun_) {
    begun_ = true;
    window_start_ = asked;
  }
  ++in_window_;
  const Duration passed = now - window_start_;
  if (passed < kWindow || in_window_ < kWindowPieces) return;
  const double rate = in_window_ / Seconds(passed);
  rate_ = rate_ == 0 ? rate : (rate_ + rate) / 2;
  window_start_ = now;
  in_window_ = 0;
}

int Pipeline::Depth(int min, int max) const {
  if (rate_ == 0) return std::min(min, max);
  const double busy = std::ceil(std::min(rate_ * quickest_s_, 1e6));
  return std::clamp(static_cast<int>(busy) + kSpare, std::min(min, max), max);
}

}  // namespace shoal::fetch
