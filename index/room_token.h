// RoomToken: the one line with which a host comes into a room, and what the host keeps of it.
//
// A line holds the room's public key and name, where to find the room, and either a delegated key,
// with which any host makes its own membership, or a membership that was granted to one peer.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "index/membership.h"
#include "index/record.h"
#include "index/room_key.h"
#include "index/signing_key.h"

namespace shoal::index {

inline constexpr std::size_t kRoomTokenBytesMax = 8192;
inline constexpr std::size_t kRoomPlacesMax = 16;  // of each kind; more belong into an index server
inline constexpr std::string_view kRoomTokenPrefix = "shoal-room-1.";

// Where a room is found.
struct RoomPlaces {
  std::vector<std::string> rendezvous;  // "https://host:7383#PEERID", as in index.rendezvous
  std::vector<Endpoint> fixed;          // as in index.static
};

// A room as its members know it.
struct RoomFacts {
  std::string name;  // for its members; a record's room name, from a letter or digit on, not "open"
  PublicKey key;
  RoomPlaces places;

  [[nodiscard]] RoomId id() const { return RoomIdOf(key); }
};

// Whether the name, the places and their number are within limits. Errors: kInvalid.
Status Valid(const RoomFacts& facts);

class RoomToken {
 public:
  // A token for any host that has it; `secret` is the delegated key.
  static RoomToken ForAnyHost(RoomFacts facts, SignedDelegation delegation,
                              const SigningKey& secret);
  // A line for one peer.
  static RoomToken ForPeer(RoomFacts facts, Membership membership);
  // Errors: kExhausted over kRoomTokenBytesMax, kInvalid, kDenied for a line whose parts are not
  // the room key's word.
  static Result<RoomToken> Parse(std::string_view line);

  [[nodiscard]] std::string Line() const;
  [[nodiscard]] const RoomFacts& facts() const { return facts_; }
  [[nodiscard]] const std::optional<SignedDelegation>& delegation() const { return delegation_; }

  // The membership of `peer`, which holds now. Errors: kDenied when the token's time is over or
  // not yet come, or when the line was made for another peer.
  [[nodiscard]] Result<Membership> MembershipFor(const PeerId& peer, WallTime now) const;

 private:
  RoomFacts facts_;
  // Either both of these, or the membership.
  std::optional<SignedDelegation> delegation_;
  std::optional<SigningKey> secret_;
  std::optional<Membership> membership_;
};

// What a host keeps of a room that it has joined: no secret.
struct JoinedRoom {
  RoomFacts facts;
  Membership membership;
};
std::string EncodeJoinedRoom(const JoinedRoom& room);
// Errors: kCorrupt when it is not what EncodeJoinedRoom wrote.
Result<JoinedRoom> DecodeJoinedRoom(std::string_view text);

}  // namespace shoal::index
