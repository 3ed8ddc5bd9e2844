// Ticks: whole seconds of Time, in four bytes.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/time.h"

namespace shoal::index {

inline std::uint32_t FloorTick(Time t) {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count());
}
inline std::uint32_t CeilTick(Time t) {
  return static_cast<std::uint32_t>(
      std::chrono::ceil<std::chrono::seconds>(t.time_since_epoch()).count());
}
inline Time TickTime(std::uint32_t tick) { return Time(std::chrono::seconds(tick)); }

}  // namespace shoal::index
