// Room keys: who may say who is a member. The id of a room is the hash of its public key, so that
// whoever sees the id can neither speak for the room nor check what is said in it.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"
#include "index/signing_key.h"

namespace shoal::index {

struct RoomIdTag {};
// The SHA-256 of a room's Ed25519 public key (its 32 raw bytes). In records it stands as 64 hex
// digits, which is a room name of the longest form.
using RoomId = Name32<RoomIdTag>;

RoomId RoomIdOf(const PublicKey& room_key);
// Parses 64 lower-case hex digits.
Result<RoomId> ParseRoomId(std::string_view text);

// What stands for `blob` at an index server: only who knows the room's public key, which is in no
// message to others than members, can tell which blob it is. So two rooms that fetch the same blob
// meet neither each other's members nor each other's lead there.
Digest BlindDigest(const PublicKey& room_key, const Digest& blob);

// One room as one bit, for tables that are asked often. Bit 0 is the open room.
using RoomMask = std::uint32_t;
inline constexpr RoomMask kNoRooms = 0;
inline constexpr RoomMask kAllRooms = ~RoomMask{0};
inline constexpr RoomMask kOpenRoomBit = 1;

}  // namespace shoal::index
