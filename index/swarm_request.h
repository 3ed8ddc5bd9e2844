// The JSON by which peers ask an index server about swarms. docs/PROTOCOL.md, "Swarms at an index
// server".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "index/signed_request.h"
#include "index/swarm_table.h"

namespace shoal::index {

// Of one request: the layers of an image and some more.
inline constexpr std::size_t kSwarmAsksMax = 100;
// Peers whose records the asker has. Eight bytes each keep the request small.
inline constexpr std::size_t kSwarmKnownMax = 256;

// The first eight bytes of a peer id.
using PeerPrefix = std::uint64_t;
PeerPrefix PrefixOf(const PeerId& peer);

struct SwarmRequest {
  RecordPtr record;  // the asker's
  std::int64_t sent_ms = 0;
  std::vector<SwarmAsk> asks;     // 1 to kSwarmAsksMax, all with the asker's id
  std::vector<PeerPrefix> known;  // whose records need not be told; at most kSwarmKnownMax
};
struct SwarmReply {
  std::vector<std::pair<Digest, SwarmAnswer>> swarms;  // as asked
  std::vector<RecordPtr> records;                      // of members, as far as the server has them
};

std::string EncodeSwarmRequest(const SwarmRequest& request, const PeerId& server,
                               const SigningKey& key);
struct SwarmRequestOrError {
  RendezvousError error;
  std::vector<SwarmRequest> request;  // one when there is no error
};
SwarmRequestOrError DecodeSwarmRequest(std::string_view text, const PeerId& server,
                                       const ReadRecord& read = ReadAnew,
                                       const std::optional<PeerId>& shown = std::nullopt);

std::string EncodeSwarmReply(const SwarmReply& reply);
// The member "swarms" of an answer. Errors: kInvalid.
Result<std::vector<std::pair<Digest, SwarmAnswer>>> ReadSwarms(const Json& answer);

}  // namespace shoal::index
