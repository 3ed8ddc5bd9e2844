#include "index/peer_index.h"

namespace shoal::index {

Key RoomKey(std::string_view room) { return "room/" + std::string(room); }

Key BlobKey(const Digest& digest) { return "blob/" + shoal::ToString(digest); }

void PeerIndex::AskSwarm(const SwarmAsk&, OnSwarm done) { done(std::nullopt); }

}  // namespace shoal::index
