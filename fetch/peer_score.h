// PeerScore: how well a peer has served one download, and when it may be asked again.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/time.h"

namespace shoal::fetch {

class PeerScore {
 public:
  // The first failure costs penalty_min without being asked; each further one in a row twice as
  // much, up to penalty_max.
  PeerScore(Duration penalty_min, Duration penalty_max)
      : penalty_min_(penalty_min), penalty_max_(penalty_max) {}

  // A request was sent. `idle`: nothing else was outstanding, so the time before does not count.
  void OnAsked(Time now, bool idle);
  void OnBytes(Time now, Bytes count);
  // A piece passed: failures before it are forgiven.
  void OnVerified();
  void OnFailure(Time now);

  [[nodiscard]] bool MayAsk(Time now) const { return now >= usable_at_; }
  [[nodiscard]] Time usable_at() const { return usable_at_; }
  [[nodiscard]] int failures_in_row() const { return failures_in_row_; }
  // Whether a piece of it ever passed.
  [[nodiscard]] bool proven() const { return proven_; }
  // Bytes a second while it was busy; nullopt until measured for kRateSample.
  [[nodiscard]] std::optional<double> rate() const { return rate_; }

 private:
  // What is asked at every turn first: it lies in one line of the cache.
  Time usable_at_{};
  std::optional<double> rate_;
  int failures_in_row_ = 0;
  bool proven_ = false;
  Duration penalty_min_;
  Duration penalty_max_;
  Time sample_start_{};
  Bytes sample_;
};

// Long enough to see more than one packet train, short enough to follow a change within a piece.
inline constexpr Duration kRateSample = std::chrono::milliseconds(100);

}  // namespace shoal::fetch
