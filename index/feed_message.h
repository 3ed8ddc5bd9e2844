// A message of a room's feed: a member's signed word to all of them (docs/FEED.md).
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "index/signing_key.h"

namespace shoal::index {

inline constexpr std::size_t kFeedMessageBytesMax = 4096;
inline constexpr std::size_t kFeedTopicBytesMax = 512;  // an image's name fits
inline constexpr std::size_t kFeedBodyBytesMax = 1024;
inline constexpr std::size_t kFeedKindBytesMax = 32;
inline constexpr Duration kFeedLifeMax = std::chrono::hours(7 * 24);

// What names a message; also "all of this writer up to here".
struct FeedName {
  PeerId writer;
  std::uint64_t sequence = 0;
  auto operator<=>(const FeedName&) const = default;
};

// What a writer says.
struct FeedWord {
  std::string room;            // as records name it
  std::uint64_t sequence = 0;  // 1 to 2^53; a later one of the writer has a higher one
  std::uint64_t previous = 0;  // of its last message that still stands; 0: none
  WallTime written;
  WallTime expires;
  std::string kind;   // 1 to 32 bytes of a-z and -
  std::string topic;  // a later message of the writer on the same topic takes this one's place
  std::string body;   // a JSON object
};

class FeedMessage {
 public:
  // membership  the writer's, as its text; "" in the open room.
  // Errors      kInvalid for what no member would take, kExhausted when it is too long.
  static Result<FeedMessage> Sign(const FeedWord& word, const SigningKey& writer,
                                  std::string_view membership);
  // Reads {"payload", "key", "signature", "membership"}, but does not look at the signature.
  // Errors: kExhausted over kFeedMessageBytesMax, kInvalid for a wrong form.
  static Result<FeedMessage> Read(std::string_view text);

  // Whether the writer's key has signed it.
  [[nodiscard]] bool IsSigned() const;

  [[nodiscard]] const FeedWord& word() const { return word_; }
  [[nodiscard]] const PeerId& writer() const { return writer_; }
  [[nodiscard]] FeedName name() const { return {writer_, word_.sequence}; }
  [[nodiscard]] const std::string& membership() const { return membership_; }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  FeedWord word_;
  PeerId writer_;
  PublicKey key_;
  Signature signature_{};
  std::string payload_;
  std::string membership_;
  std::string text_;
};

// Owners: the log, and whoever was given it.
using SharedFeedMessage = std::shared_ptr<const FeedMessage>;

}  // namespace shoal::index
