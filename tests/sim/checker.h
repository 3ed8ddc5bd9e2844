// Checker: notes what must not be, as seen from outside of the cores.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace shoal::sim {

class Checker {
 public:
  void Fail(Time now, const std::string& what) {
    ++count_;
    if (failures_.size() < kKept) {
      failures_.push_back("at " + std::to_string(now.time_since_epoch().count()) + " us: " + what);
    }
  }
  void Expect(bool right, Time now, const std::string& what) {
    if (!right) Fail(now, what);
  }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }

 private:
  static constexpr std::size_t kKept = 10;

  std::uint64_t count_ = 0;
  std::vector<std::string> failures_;
};

}  // namespace shoal::sim
