// How much one writer may say in a feed (docs/FEED.md, "How much one member may say"): its numbers
// are rationed. What a number is worth hangs on the message alone, so that all members agree.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/time.h"

namespace shoal::index {

// A number is the start of a stretch of the writer's clock, in microseconds. 32 messages at once
// are more than people say by hand; one in 5 s of 4 KiB is 0.8 KiB/s that each member passes on.
inline constexpr Duration kFeedStretch = std::chrono::seconds(5);
inline constexpr int kFeedBurst = 32;
// How long before its stretch a number may be used.
inline constexpr Duration kFeedAhead = kFeedStretch * (kFeedBurst - 1);

// Whether the writer had this number when it wrote.
[[nodiscard]] bool IsFeedNumber(std::uint64_t sequence, WallTime written);

// The number of the writer's next message, after `head`, its last one's; 0: there is none.
// Errors: kRetryLater, with the time until it may say something again.
Result<std::uint64_t> NextFeedNumber(WallTime wall, std::uint64_t head);

// That no more may be said until `wait` has passed. kRetryLater.
Error TooMuchSaid(Duration wait);

// So many at once, and then one in every so often: what a member takes of one writer, so that
// numbers saved up do not come all at once; and whom it asks to be a neighbour.
class FeedPace {
 public:
  // When the next one may be taken; not after now: at once.
  [[nodiscard]] Time NextAt() const { return next_at_; }
  void Take(Time now, std::size_t at_once, Duration each);

 private:
  Time next_at_{};
  Time paid_until_{};  // by what was taken
};

}  // namespace shoal::index
