// AnswerTime: how long pieces take from asking to their last byte, all holders of a download
// together, and how long nearly all of them take at most. Smoothed as TCP smooths round trips.
// Source: RFC 6298, section 2.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>

#include "base/time.h"

namespace shoal::fetch {

class AnswerTime {
 public:
  // took: not negative.
  void OnAnswer(Duration took) {
    if (!usual_) {
      usual_ = took;
      deviation_ = took / 2;
      return;
    }
    deviation_ = (deviation_ * 3 + std::chrono::abs(*usual_ - took)) / 4;
    usual_ = (*usual_ * 7 + took) / 8;
  }

  // nullopt until a piece came.
  [[nodiscard]] std::optional<Duration> usual() const { return usual_; }
  // The usual one and four times its mean deviation; 0 until a piece came.
  [[nodiscard]] Duration most() const { return usual_ ? *usual_ + deviation_ * 4 : Duration(0); }

 private:
  std::optional<Duration> usual_;
  Duration deviation_{0};
};

}  // namespace shoal::fetch
