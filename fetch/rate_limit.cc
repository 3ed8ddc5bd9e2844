#include "fetch/rate_limit.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::fetch {
namespace {

constexpr std::int64_t kMicros = 1'000'000;

}  // namespace

RateLimit::RateLimit(Bytes per_second)
    : per_second_(per_second.count()),
      slice_(std::clamp(Bytes(per_second_ * kRateSlice.count() / kMicros), kSliceMin, kSliceMax)) {
  SHOAL_CHECK(per_second >= kRateMin && per_second <= kRateMax);
}

Time RateLimit::Book(Time now, Bytes bytes) {
  SHOAL_CHECK(bytes >= Bytes(0) && bytes <= kRateMax);
  if (free_at_ < now - kRateBurst) {
    free_at_ = now - kRateBurst;
    rest_ = 0;
  }
  const Time begin = free_at_;
  rest_ += bytes.count() * kMicros;
  free_at_ += Duration(rest_ / per_second_);
  rest_ %= per_second_;
  return begin;
}

void RateLimit::Return(Time now, Bytes bytes) {
  SHOAL_CHECK(bytes >= Bytes(0) && bytes <= kRateMax);
  rest_ -= bytes.count() * kMicros;
  if (rest_ < 0) {
    const std::int64_t steps = (-rest_ + per_second_ - 1) / per_second_;
    free_at_ -= Duration(steps);
    rest_ += steps * per_second_;
  }
  Book(now, Bytes(0));
}

}  // namespace shoal::fetch
