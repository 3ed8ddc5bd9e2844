// A room of many hosts, each with the very same index::Feed, and links that delay and lose: how
// many get a message, how often, and how soon. ./dev sim feed.
#pragma once

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "index/feed.h"

namespace shoal::sim {

struct FeedRoomOptions {
  std::uint32_t hosts = 1000;
  std::uint64_t seed = 1;
  double loss = 0;  // of frames; whoever sent one hears of it after a second
  // Members that a host knows. A real one knows all; here it is a matter of memory.
  std::uint32_t known = 300;
  int messages = 20;                         // after the first
  Duration quiet = std::chrono::minutes(2);  // in which nothing is said
};

// Of some messages.
struct FeedSpread {
  int messages = 0;
  std::uint64_t given = 0;  // of messages * hosts
  double copies = 0;        // that came to a member other than the writer, of one message
  double frames = 0;        // that a member sent for one message, answers not counted
  double bytes = 0;         // of them
  Duration half{0};         // until half of the members had it, the slowest message's
  Duration last{0};         // until all had it, the slowest message's
};

struct FeedRoomResult {
  FeedSpread first;  // of the first message, which makes the tree
  FeedSpread later;
  double quiet_frames = 0;  // of a member a minute
  double quiet_bytes = 0;
  std::uint64_t hosts = 0;
  [[nodiscard]] bool all_given() const {
    return first.given == hosts &&
           later.given == hosts * static_cast<std::uint64_t>(later.messages);
  }
};

FeedRoomResult RunFeedRoom(const FeedRoomOptions& options);
std::string ToTable(const FeedRoomOptions& options, const FeedRoomResult& result);

}  // namespace shoal::sim
