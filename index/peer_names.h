// PeerName: a peer in a list of very many: the first 8 bytes of its id.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace shoal::index {

// Ids are hashes: that two peers of a room have one name is less likely than 1 in 10^11, and to
// make one on purpose takes 2^64 tries. The later of the two would then not be heard of from peers.
using PeerName = std::uint64_t;

// As many as a roster takes; 160 kB.
inline constexpr std::size_t kPeerNamesMax = 20'000;
// Of their text in an answer.
inline constexpr std::size_t kPeerNamesBytesMax = 256 << 10;
// Whose records are asked for at once.
inline constexpr std::size_t kRecordsAskedMax = 100;

// The first 8 bytes, the first of them the highest.
PeerName PeerNameOf(const PeerId& peer);
// The lowest id of this name.
PeerId LowestOf(PeerName name);

// base64url of 8 bytes each, in the order given.
std::string EncodeNames(const std::vector<PeerName>& names);
// Returns  them in ascending order, each once.
// Errors   kInvalid, kExhausted over count_max.
Result<std::vector<PeerName>> DecodeNames(std::string_view text, std::size_t count_max);

}  // namespace shoal::index
