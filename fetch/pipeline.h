// Pipeline: how many pieces a download should have asked for at a time, all holders together.
//
// Few are best: a piece that shares the link with many others arrives late, and can be passed on
// late (architecture, figures to design by). But a long path needs as many under way as it holds.
//
// So it climbs: one more is asked, and kept, while the rate grows by at least half of what one more
// would bring on an empty path; else one fewer, while the rate does not fall by as much. At the
// least depth it tries one more each kIdleWindows windows.
#pragma once

#include <optional>

#include "base/time.h"

namespace shoal::fetch {

class Pipeline {
 public:
  // min, max  pieces; at least 1.
  Pipeline(int min, int max);

  void OnPiece(Time now);
  // Pieces.
  [[nodiscard]] int depth() const { return depth_; }
  // From one piece to the next; nullopt until measured.
  [[nodiscard]] std::optional<Duration> piece_time() const;

 private:
  void Step(double rate);

  int min_;
  int max_;
  int depth_;
  int step_ = 0;  // the last one: 1, -1, 0
  int idle_ = 0;  // windows without a step
  double last_rate_ = 0;
  std::optional<Time> window_start_;
  int in_window_ = 0;
};

// A rate is taken over at least this time, and twice as many pieces as are under way.
inline constexpr Duration kPipelineWindow = std::chrono::milliseconds(100);
inline constexpr int kIdleWindows = 4;

}  // namespace shoal::fetch
