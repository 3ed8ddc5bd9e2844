#include "index/dial_bound.h"

#include <algorithm>

namespace shoal::index {

DialBound::Verdict DialBound::Ask(Time now, std::string_view network) {
  const Duration share = Duration(std::chrono::seconds(1)) / limits_.per_second_of_one;
  auto it = networks_.find(network);
  const Time whole = it == networks_.end() ? now : std::max(it->second, now);
  if (whole + share - now > share * limits_.burst) return Verdict::kNot;
  if (now >= NextSecond()) {
    second_ = now;
    dialled_ = 0;
    Forget(now);
  }
  if (dialled_ == limits_.per_second) return Verdict::kLater;
  ++dialled_;
  networks_.insert_or_assign(std::string(network), whole + share);
  return Verdict::kDial;
}

void DialBound::Forget(Time now) {
  std::erase_if(networks_, [now](const auto& entry) { return entry.second <= now; });
}

}  // namespace shoal::index
