// Rooms, tokens and memberships for tests. Hosts are KeyNo(1..), rooms KeyNo(100..), tokens
// KeyNo(200..).
#pragma once

#include <string>

#include "index/membership.h"
#include "index/room_token.h"
#include "tests/unit/index/records.h"

namespace shoal::index {

inline SigningKey RoomNo(int n) { return KeyNo(100 + n); }
inline SigningKey TokenNo(int n) { return KeyNo(200 + n); }
inline PeerId HostNo(int n) { return KeyNo(n).id(); }

inline constexpr Duration kDay = std::chrono::hours(24);

inline RoomFacts FactsOf(const SigningKey& room, const std::string& name = "team-a") {
  return {name, room.public_key(), {{"https://index.example:7383"}, {{"10.0.0.1", 7381}}}};
}

// Holds from TestWall() for a day.
inline SignedDelegation DelegationOf(const SigningKey& room, const SigningKey& token,
                                     std::uint64_t sequence = 10) {
  return SignedDelegation::Sign({token.public_key(), sequence, TestWall(), TestWall() + kDay},
                                room);
}
inline Membership TokenMade(const SigningKey& room, const SigningKey& token, const PeerId& peer,
                            std::uint64_t sequence = 10) {
  return Membership::ByToken(room.public_key(), DelegationOf(room, token, sequence), token, peer);
}
inline Membership RoomMade(const SigningKey& room, const PeerId& peer, std::uint64_t sequence = 10,
                           Duration life = kDay) {
  return Membership::ByRoom(room, peer, sequence, TestWall(), TestWall() + life);
}

}  // namespace shoal::index
