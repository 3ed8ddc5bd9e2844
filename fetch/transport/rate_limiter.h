// RateLimiter: one RateLimit that data threads share, with a clock. Thread-safe.
#pragma once

#include <chrono>
#include <mutex>

#include "fetch/rate_limit.h"

namespace shoal::fetch {

// Headers of TLS records, TCP, IP and Ethernet are 5 % of full packets of 1500 bytes. Half of it is
// counted, so that neither the bytes that an agent counts nor those that an interface counts are
// off by more than half of what a limit may be off (5 %). What is received below kFullPacketsFrom
// comes through sockets with so little room (curl_call.h) that packets are not full: of 5.3 % that
// were measured at 20 Mbit/s all but a little is counted.
inline constexpr int kFramingPart = 40;
inline constexpr int kFramingPartSmall = 20;
inline constexpr Bytes kFullPacketsFrom{5'000'000};  // a second

class RateLimiter {
 public:
  enum class Of { kUploads, kDownloads };
  // per_second: what the operator said; kRateMin to kRateMax.
  explicit RateLimiter(Bytes per_second, Of what = Of::kUploads)
      : limit_(per_second),
        per_second_(per_second),
        slice_(limit_.slice()),
        framing_part_(what == Of::kDownloads && per_second < kFullPacketsFrom ? kFramingPartSmall
                                                                              : kFramingPart) {}

  static Time Now() {
    return Time(
        std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
  }

  // See RateLimit; `bytes` without framing.
  Time Book(Time now, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    return limit_.Book(now, Framed(bytes));
  }
  void Return(Time now, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    limit_.Return(now, Framed(bytes));
  }
  // For bytes that have moved already: when the next may.
  Time Account(Time now, Bytes bytes) {
    const std::lock_guard lock(mutex_);
    limit_.Book(now, Framed(bytes));
    return limit_.free_at();
  }
  [[nodiscard]] Bytes per_second() const { return per_second_; }
  [[nodiscard]] Bytes slice() const { return slice_; }

 private:
  [[nodiscard]] Bytes Framed(Bytes bytes) const {
    return Bytes(bytes.count() + bytes.count() / framing_part_);
  }

  std::mutex mutex_;
  RateLimit limit_;
  const Bytes per_second_;
  const Bytes slice_;
  const int framing_part_;
};

}  // namespace shoal::fetch
