// Time and WallTime: `now` as the cores see it. Nobody in a core reads a clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace shoal {

struct MonotonicTag {};
struct WallTag {};

using Duration = std::chrono::microseconds;

// Never runs backwards; its zero means nothing. For waits, rates and deadlines.
using Time = std::chrono::time_point<MonotonicTag, Duration>;

// Microseconds since 1970 UTC. For what crosses hosts or restarts: expiry of records.
using WallTime = std::chrono::time_point<WallTag, Duration>;

inline constexpr Time kNever = Time::max();

inline std::int64_t ToUnixMs(WallTime t) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
}
inline WallTime FromUnixMs(std::int64_t ms) { return WallTime(std::chrono::milliseconds(ms)); }

}  // namespace shoal
