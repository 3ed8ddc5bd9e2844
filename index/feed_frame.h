// What two neighbours of a room's feed say to each other (docs/PROTOCOL.md, "The feed").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "index/feed_message.h"

namespace shoal::index {

// As a request's body may be.
inline constexpr std::size_t kFeedFrameBytesMax = std::size_t{60} << 10;
// Of messages in one frame; beside them there is room for kFeedWritersMax names twice.
inline constexpr std::size_t kFeedFrameMessageBytesMax = std::size_t{24} << 10;
// Writers of a room with something standing. Their names fit into a frame.
inline constexpr std::size_t kFeedWritersMax = 256;

struct FeedFrame {
  bool link = false;           // the sender takes the receiver for a neighbour, or would like to
  bool unlink = false;         // ... for none any more, or will not
  bool push = false;           // the messages were not asked for
  bool prune = false;          // only name messages to the sender from now on
  bool graft = false;          // push them to it from now on
  bool whole = false;          // `have` is all that the sender has: send what it lacks
  bool more = false;           // the frame was full: ask again
  std::vector<FeedName> have;  // the sender has of each writer all up to there
  std::vector<FeedName> want;  // it asks for what comes after that
  std::vector<std::string> messages;

  bool operator==(const FeedFrame&) const = default;
  // Nothing worth sending.
  [[nodiscard]] bool empty() const { return *this == FeedFrame(); }
  [[nodiscard]] std::size_t message_bytes() const;
};

std::string EncodeFeedFrame(const FeedFrame& frame);
// Errors: kExhausted over kFeedFrameBytesMax or kFeedWritersMax, kInvalid for a wrong form. The
// messages in it are not read yet.
Result<FeedFrame> DecodeFeedFrame(std::string_view text);

}  // namespace shoal::index
