// Pipeline: how many pieces a download should have asked for at a time, all holders together.
//
// Few are best: a piece that shares the link with many others arrives late, and can be passed on
// late (architecture, figures to design by). But a long path needs as many under way as it holds.
// Little's law tells both: a rate of X pieces a second, each of which takes t when it does not wait
// for others, keeps X * t pieces busy; what is asked beyond that only waits. t is taken from
// the quickest pieces of late. kSpare more are asked, so that X can grow where there is room.
#pragma once

#include "base/time.h"

namespace shoal::fetch {

class Pipeline {
 public:
  // A piece came that was asked at `asked`.
  void OnPiece(Time now, Time asked);
  // Pieces; between `min` and `max`. `min` until pieces were measured.
  [[nodiscard]] int Depth(int min, int max) const;

 private:
  double quickest_s_ = 0;  // of late
  double rate_ = 0;        // pieces a second, smoothed; 0 until measured
  Time window_start_{};
  int in_window_ = 0;
  bool begun_ = false;
};

// More than what is known to be busy.
inline constexpr int kSpare = 2;

}  // namespace shoal::fetch
