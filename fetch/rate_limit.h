// RateLimit: when bytes may move, so that a rate holds. Owns no clock and waits for nobody.
//
// Rules
// - Bytes are booked one after the other on a line of time: who books gets the time from which on
//   its bytes may move, behind everybody who booked before. So those who take turns of slice()
//   bytes share the rate evenly, and wait for at most as many slices as there are others.
// - Time in which nobody wanted anything is kept for kRateBurst and then lost. So over any time T
//   at most rate * (T + kRateBurst) bytes, and one booking, may move; and while somebody always
//   wants, and is late by less than kRateBurst, exactly rate * T do.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/time.h"

namespace shoal::fetch {

// One hundredth of the 5 s over which a limit is to hold; more than a thread is late by.
inline constexpr Duration kRateBurst = std::chrono::milliseconds(50);
// One turn: many in a burst, and twenty that wait are all served within the tenth of a second.
inline constexpr Duration kRateSlice = std::chrono::milliseconds(5);
inline constexpr Bytes kSliceMin{1 << 10};
inline constexpr Bytes kSliceMax{1 << 20};
inline constexpr Bytes kRateMin{64 << 10};  // a second: below, turns would not come within a stall
inline constexpr Bytes kRateMax{std::int64_t{1} << 40};

class RateLimit {
 public:
  // per_second: kRateMin to kRateMax.
  explicit RateLimit(Bytes per_second);

  // Books `bytes`, 0 or more, and says when they may begin to move.
  Time Book(Time now, Bytes bytes);
  // Of booked bytes that will not move.
  void Return(Time now, Bytes bytes);
  // When everything that is booked has had its time.
  [[nodiscard]] Time free_at() const { return free_at_; }
  // What to book at a time.
  [[nodiscard]] Bytes slice() const { return slice_; }

 private:
  std::int64_t per_second_;
  Bytes slice_;
  Time free_at_{};
  std::int64_t rest_ = 0;  // beyond free_at_, in 1 / per_second_ microseconds
};

}  // namespace shoal::fetch
