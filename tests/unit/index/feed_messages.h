// Messages of a feed as a writer makes them that may go by no rule.
#pragma once

#include <memory>
#include <string>

#include "index/feed_message.h"
#include "index/signing_key.h"

namespace shoal::index {

inline SharedFeedMessage SignedMessage(const SigningKey& key, std::uint64_t sequence,
                                       std::uint64_t previous, WallTime written, Duration life,
                                       const std::string& topic) {
  FeedWord word;
  word.room = "open";
  word.sequence = sequence;
  word.previous = previous;
  word.written = written;
  word.expires = written + life;
  word.kind = "test";
  word.topic = topic;
  word.body = "{}";
  return std::make_shared<const FeedMessage>(*FeedMessage::Sign(word, key, ""));
}

}  // namespace shoal::index
