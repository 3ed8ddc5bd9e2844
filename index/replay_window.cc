#include "index/replay_window.h"

#include <algorithm>

namespace shoal::index {

bool ReplayWindow::Take(std::int64_t number) {
  if (number <= floor_) return false;
  const auto at = std::ranges::lower_bound(taken_, number);
  if (at != taken_.end() && *at == number) return false;
  taken_.insert(at, number);
  if (taken_.size() > kWidth) {
    floor_ = taken_.front();
    taken_.erase(taken_.begin());
  }
  return true;
}

}  // namespace shoal::index
