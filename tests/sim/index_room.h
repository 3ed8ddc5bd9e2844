// A room of very many agents that find each other from peers alone: the very same index::Roster,
// index::Gossip and index::Feed, with hosts that come and go. ./dev sim index.
//
// Each agent knows every other, so N of them know N * N peers, some 400 bytes each. In large rooms
// therefore only `whole` hosts have a roster and gossip of their own; a host that has none says,
// when it is asked whom it knows, what one that has would say. That is right as far as hosts that
// have been there for a while are alike; compare a run in which all are whole. Every host has its
// own feed; its members are those of a roster, 200 of them in a large room, and two members come to
// know each other at once: on real hosts who asks is known to who is asked a moment later.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"

namespace shoal::sim {

struct IndexRoomOptions {
  std::uint32_t hosts = 300;
  std::uint64_t seed = 1;
  std::uint32_t whole = 0;  // 0: all up to 1000 hosts, else 400
  double churn = 0.1;       // of the hosts die in an hour, and as many come
  double liars = 0.01;      // name peers that do not exist; they have no roster
  Duration start{0};        // until churn begins; 0: as long as it takes to meet all
  Duration churning = std::chrono::minutes(15);
  int messages = 10;  // in the feed, meanwhile
};

// What an agent sends of one kind, on average in a minute. As much comes in.
struct IndexCost {
  std::string kind;
  double messages = 0;
  double bytes = 0;  // with the answers
};

struct IndexRoomResult {
  std::vector<IndexCost> costs;
  Duration newcomer_knows{0};  // 90 %, the slowest of those that came last
  Duration newcomer_known{0};  // to 90 % of the whole hosts, the median of those that came
  Duration dead_noticed{0};    // by half of the whole hosts, the median
  std::uint64_t deaths = 0;
  std::uint64_t feed_given = 0;  // of feed_wanted
  std::uint64_t feed_wanted = 0;
  double feed_copies = 0;  // that came to a member, of one message
  Duration feed_half{0};   // until half of those who were there had it, the slowest message's
  Duration feed_last{0};   // until all of them had it
  double size_low = 0;     // the lowest and highest estimate of the size in the end
  double size_high = 0;
  double size_error = 0;        // the largest standard error
  std::uint64_t known_max = 0;  // peers that a roster ever knew
  std::uint64_t trace = 0;
  std::uint64_t events = 0;
  std::vector<std::string> failures;
};

IndexRoomResult RunIndexRoom(const IndexRoomOptions& options);
std::string ToTable(const IndexRoomOptions& options, const IndexRoomResult& result);

}  // namespace shoal::sim
