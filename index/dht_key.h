// DhtKey: the name under which a key is looked for in the DHT. docs/PROTOCOL.md, "The DHT".
#pragma once

#include <array>
#include <cstddef>

#include "index/peer_index.h"

namespace shoal::index {

// Where Kademlia has the info-hash of a torrent.
using DhtKey = std::array<std::byte, 20>;

// SHA-1 of `shoal-dht-v1\n` and the key: never the info-hash of a torrent, except by chance.
// Nothing is proved by it, so that SHA-1 will do.
DhtKey DhtKeyOf(const Key& key);

}  // namespace shoal::index
