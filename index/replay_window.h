// ReplayWindow: numbers that may come in any order, but each once.
#pragma once

#include <cstdint>
#include <vector>

namespace shoal::index {

// Remembers the kWidth highest numbers it took, and refuses those and all below the lowest of them.
// So requests that were under way together may overtake each other, and none can be said again.
class ReplayWindow {
 public:
  // More than one peer has under way at once.
  static constexpr std::size_t kWidth = 64;

  // Whether `number`, which is 0 or more, is taken.
  bool Take(std::int64_t number);

 private:
  std::int64_t floor_ = -1;
  std::vector<std::int64_t> taken_;  // ascending, at most kWidth
};

}  // namespace shoal::index
