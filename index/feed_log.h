// FeedLog: what stands of one room's feed, and in which order it is given out.
//
// Rules
// - A writer's messages are given out in the order of their numbers, each once. One whose
//   `previous` was not given out yet is held for kFeedGapWait; then it is given out without.
// - Of a writer messages_at_once are taken, and one more in kFeedStretch. What is beyond is held
// too.
// - What has a lower number than the last that was given out is never given out any more.
// - Of a writer the last message on each topic stands, until it ends. Its highest number is
//   remembered until the last that was taken of it would have ended, so that nothing comes back.
// - Caps: FeedLogLimits. What goes beyond costs the writer its own oldest, and the room the oldest
//   of the writer with most bytes; a writer too many is refused.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "index/feed_frame.h"
#include "index/feed_message.h"
#include "index/feed_pace.h"

namespace shoal::index {

inline constexpr Duration kFeedGapWait = std::chrono::seconds(3);

struct FeedLogLimits {
  std::size_t writers = kFeedWritersMax;
  std::size_t messages_of_writer = 64;
  std::size_t held_of_writer = 16;
  // No honest writer's wait: what may stand comes to a latecomer, and a burst right after it.
  std::size_t messages_at_once = messages_of_writer + kFeedBurst;
  std::size_t bytes = std::size_t{4} << 20;  // of the messages that stand
};

// What one event did.
struct FeedChanges {
  std::vector<SharedFeedMessage> given;  // in their writers' order
  std::vector<FeedName> dropped;         // stand no more
};

class FeedLog {
 public:
  // kHeld: until what is before it is here; kPaced: until its turn.
  enum class Taken { kGiven, kHeld, kPaced, kKnown };

  explicit FeedLog(FeedLogLimits limits) : limits_(limits) {}

  // A message that was verified; it stands until `until` at the latest.
  // Errors: kExhausted when there are too many writers.
  Result<Taken> Add(Time now, WallTime wall, const SharedFeedMessage& message, WallTime until,
                    FeedChanges& changes);
  // Whether Add would say kKnown.
  [[nodiscard]] bool Knows(const FeedName& name) const;
  // Gives out what waited long enough, and drops what has ended.
  void OnTime(Time now, WallTime wall, FeedChanges& changes);
  // Drops what `stays` does not approve of.
  void Keep(const std::function<bool(const FeedMessage&)>& stays, FeedChanges& changes);

  // The highest number that was given out; 0 when nothing is known of the writer.
  [[nodiscard]] std::uint64_t Head(const PeerId& writer) const;
  // The number for `previous` of the writer's next message on `topic`.
  [[nodiscard]] std::uint64_t Previous(WallTime wall, const PeerId& writer,
                                       const std::string& topic) const;
  // Of each writer with something standing the number of the last.
  [[nodiscard]] std::vector<FeedName> Heads() const;
  // What stands of a writer after a number, in order.
  [[nodiscard]] std::vector<SharedFeedMessage> After(const FeedName& name) const;
  [[nodiscard]] std::vector<SharedFeedMessage> All() const;
  [[nodiscard]] SharedFeedMessage Find(const FeedName& name) const;
  // Whether a message waits for one that comes before it, or for its turn.
  [[nodiscard]] bool IsHolding(const PeerId& writer) const;
  // When the writer's next message is taken; later than now when it has said more than that.
  [[nodiscard]] Time TakesAt(const PeerId& writer) const;
  // When something that is held may be given out.
  [[nodiscard]] Time NextRelease() const;

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t writers() const { return writers_.size(); }
  void CheckInvariants() const;

 private:
  struct Standing {
    SharedFeedMessage message;
    WallTime until;
  };
  struct Writer {
    std::uint64_t head = 0;
    WallTime until;     // when the last of what was taken ends
    Time gap = kNever;  // when it is no more waited for what is missing; kNever: nothing is
    FeedPace pace;
    std::size_t bytes = 0;
    std::map<std::uint64_t, Standing> standing;
    std::map<std::uint64_t, Standing> held;
  };
  using Writers = std::map<PeerId, Writer>;

  void Give(Time now, Writer& writer, Standing standing, FeedChanges& changes);
  // When the first that is held may be given out.
  [[nodiscard]] static Time ReleaseAt(const Writer& writer);
  // Gives out what is held and need not wait any more.
  void Release(Time now, Writer& writer, FeedChanges& changes);
  void Drop(Writer& writer, std::map<std::uint64_t, Standing>::iterator it, FeedChanges& changes);
  void Trim(FeedChanges& changes);
  bool MakeRoom(WallTime wall);

  FeedLogLimits limits_;
  Writers writers_;
  std::size_t bytes_ = 0;
  std::size_t size_ = 0;
};

}  // namespace shoal::index
