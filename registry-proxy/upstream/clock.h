// The clock of this adapter.
#pragma once

#include <chrono>

#include "base/time.h"

namespace shoal::proxy {

inline Time Now() {
  return Time(
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

}  // namespace shoal::proxy
