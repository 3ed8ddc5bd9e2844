#include "index/network_size.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace shoal::index {
namespace {

// Of a normal distribution: its standard deviation over its median deviation.
constexpr double kDeviationOfMedian = 1.4826;

const NetworkSize& LowerMedian(std::vector<NetworkSize>& sizes) {
  const auto middle = sizes.begin() + static_cast<std::ptrdiff_t>((sizes.size() - 1) / 2);
  std::ranges::nth_element(sizes, middle, {}, &NetworkSize::peers);
  return *middle;
}

}  // namespace

void NetworkSizeEstimate::OnList(const PeerId& from, RoomMask rooms,
                                 const std::vector<PeerName>& names) {
  const bool is_new = !lists_.contains(from);
  if (is_new && lists_.size() > kSizeListsMax) {  // ours is one more
    lists_.erase(
        std::ranges::min_element(lists_, {}, [](const auto& entry) { return entry.second.order; }));
  }
  List& list = lists_[from];
  list.rooms = rooms;
  list.order = ++order_;
  list.names = names;
  list.highest = std::numeric_limits<PeerName>::max();
  if (list.names.size() > kNamesSampled) {
    list.names.resize(kNamesSampled);
    list.names.shrink_to_fit();
    list.highest = list.names.back();
  }
}

NetworkSize NetworkSizeEstimate::OfPair(const List& one, const List& other) {
  const PeerName highest = std::min(one.highest, other.highest);
  const auto end_of = [&](const List& list) {
    return std::ranges::upper_bound(list.names, highest);
  };
  const auto one_end = end_of(one);
  const auto other_end = end_of(other);
  const auto n = static_cast<double>(one_end - one.names.begin());
  const auto m = static_cast<double>(other_end - other.names.begin());
  double both = 0;
  auto a = one.names.begin();
  auto b = other.names.begin();
  while (a != one_end && b != other_end) {
    if (*a == *b) {
      ++both;
      ++a;
      ++b;
    } else if (*a < *b) {
      ++a;
    } else {
      ++b;
    }
  }
  const double sampled = (n + 1) * (m + 1) / (both + 1) - 1;
  double variance =
      (n + 1) * (m + 1) * (n - both) * (m - both) / ((both + 1) * (both + 1) * (both + 2));
  const double part = (static_cast<double>(highest) + 1) /
                      (static_cast<double>(std::numeric_limits<PeerName>::max()) + 1);
  variance = variance / (part * part) + sampled / part * (1 - part) / part;
  return {sampled / part, std::sqrt(variance)};
}

std::optional<NetworkSize> NetworkSizeEstimate::OfGroup(const std::vector<const List*>& lists) {
  if (lists.size() < 2) return std::nullopt;
  std::vector<NetworkSize> medians;
  for (const List* one : lists) {
    std::vector<NetworkSize> pairs;
    for (const List* other : lists) {
      if (other != one) pairs.push_back(OfPair(*one, *other));
    }
    medians.push_back(LowerMedian(pairs));
  }
  NetworkSize size = LowerMedian(medians);
  std::vector<NetworkSize> deviations;
  for (const auto& median : medians) deviations.push_back({std::abs(median.peers - size.peers), 0});
  size.error = std::max(size.error, kDeviationOfMedian * LowerMedian(deviations).peers);
  return size;
}

std::optional<NetworkSize> NetworkSizeEstimate::Estimate() const {
  std::map<RoomMask, std::vector<const List*>> groups;
  for (const auto& [from, list] : lists_) groups[list.rooms].push_back(&list);
  std::optional<NetworkSize> largest;
  for (const auto& [rooms, lists] : groups) {
    const auto size = OfGroup(lists);
    if (size && (!largest || size->peers > largest->peers)) largest = size;
  }
  return largest;
}

}  // namespace shoal::index
