// DialPatience: how long a dial may take before it counts as silence.
//
// A handshake costs two processors milliseconds. Where many hosts have none to spare it takes
// seconds, and whoever is given up for that is dialled again, which takes more of what is lacking.
// So dials are given the time that nearly all took lately, whether they were waited for or not.
#pragma once

#include <algorithm>
#include <chrono>

#include "base/time.h"
#include "fetch/answer_time.h"

namespace shoal::fetch {

// Less makes no difference beside fetch.stall, which runs after it.
inline constexpr Duration kDialPatienceMin = std::chrono::milliseconds(100);
inline constexpr Duration kDialPatienceMax = std::chrono::milliseconds(1500);
// What dials took longer ago says nothing any more.
inline constexpr Duration kDialMemory = std::chrono::seconds(10);

class DialPatience {
 public:
  // A dial succeeded. took: not negative.
  void OnDial(Time now, Duration took) {
    if (now - last_ > kDialMemory) times_ = AnswerTime();
    times_.OnAnswer(took);
    last_ = now;
  }

  // 0, or kDialPatienceMin to kDialPatienceMax.
  [[nodiscard]] Duration At(Time now) const {
    const Duration most = times_.most();
    if (now - last_ > kDialMemory || most < kDialPatienceMin) return Duration(0);
    return std::min(most, kDialPatienceMax);
  }

 private:
  AnswerTime times_;
  Time last_{};
};

}  // namespace shoal::fetch
