// What the status API answers of rooms' feeds and of preheats (docs/OPERATING.md, "Status API").
#pragma once

#include <functional>
#include <string>

#include "agent/admin_server.h"
#include "agent/asio_loop.h"
#include "agent/preheats.h"
#include "agent/rooms.h"
#include "index/feed.h"

namespace shoal::agent {

using PeerNames = std::function<std::string(const PeerId&)>;  // on the loop

struct PreheatParts {
  AsioLoop& loop;
  Preheats& preheats;
  const Rooms& rooms;
  PeerNames name_of;
};

// /v1/preheats and below. Not on the loop: it may wait until the image is found.
AdminReply PreheatReply(const PreheatParts& parts, const AdminRequest& request);
// What stands of a room's feed. On the loop. feed: nullptr when this host is not in the room.
AdminReply FeedReply(const index::Feed* feed, const PeerNames& name_of);

}  // namespace shoal::agent
