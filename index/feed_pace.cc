#include "index/feed_pace.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace shoal::index {
namespace {

constexpr std::uint64_t kStretchUs = static_cast<std::uint64_t>(kFeedStretch.count());

WallTime StartOf(std::uint64_t sequence) {
  return WallTime(Duration(static_cast<std::int64_t>(sequence)));
}

}  // namespace

bool IsFeedNumber(std::uint64_t sequence, WallTime written) {
  return sequence % kStretchUs == 0 && written < StartOf(sequence) + kFeedStretch &&
         written >= StartOf(sequence) - kFeedAhead;
}

Result<std::uint64_t> NextFeedNumber(WallTime wall, std::uint64_t head) {
  const auto clock = static_cast<std::uint64_t>(
      std::max<std::int64_t>(wall.time_since_epoch().count(), kFeedStretch.count()));
  const std::uint64_t next = std::max(clock / kStretchUs, head / kStretchUs + 1) * kStretchUs;
  const Duration wait = StartOf(next) - kFeedAhead - wall;
  if (wait <= Duration(0)) return next;
  return TooMuchSaid(wait);
}

Error TooMuchSaid(Duration wait) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait);
  return Error{Code::kRetryLater,
               "this host has said as much in the room as it may (" + std::to_string(kFeedBurst) +
                   " messages at once, and one every " +
                   std::to_string(kFeedStretch / std::chrono::seconds(1)) + " s); try again in " +
                   std::to_string(seconds.count()) + " s",
               wait};
}

void FeedPace::Take(Time now, std::size_t at_once, Duration each) {
  SHOAL_CHECK(at_once >= 1);
  paid_until_ = std::max(paid_until_, now) + each;
  next_at_ = paid_until_ - each * static_cast<std::int64_t>(at_once - 1);
}

}  // namespace shoal::index
