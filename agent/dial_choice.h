// DialChoice: which of the places that a peer's record names is dialled next.
//
// The places are its endpoints and its relays in turn: the first endpoint, the first relay, the
// second endpoint, and so on, as one that names relays can mostly not be dialled. A place that
// works is kept.
#pragma once

#include <algorithm>
#include <optional>

#include "base/time.h"
#include "index/record.h"

namespace shoal::agent {

inline std::size_t PlacesOf(const index::Record& record) {
  return record.endpoints.size() + record.relays.size();
}

class DialChoice {
 public:
  // nullopt: the record names none.
  [[nodiscard]] std::optional<index::Endpoint> Of(const index::Record& record) const {
    const std::size_t all = PlacesOf(record);
    if (all == 0) return std::nullopt;
    const auto& endpoints = record.endpoints;
    const auto& relays = record.relays;
    const std::size_t place = place_ % all;
    const std::size_t paired = std::min(endpoints.size(), relays.size());
    if (place < 2 * paired) return place % 2 == 0 ? endpoints[place / 2] : relays[place / 2];
    const std::size_t rest = place - paired;
    return endpoints.size() > relays.size() ? endpoints[rest] : relays[rest];
  }

  // What was dialled does not answer. Several calls that began together fail together: they move on
  // once.
  void OnFailed(Time now) {
    if (moved_ && now - *moved_ < kTogether) return;
    moved_ = now;
    ++place_;
  }

 private:
  static constexpr Duration kTogether = std::chrono::milliseconds(500);

  std::size_t place_ = 0;
  std::optional<Time> moved_;
};

}  // namespace shoal::agent
