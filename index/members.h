// Members: the rooms that this host has joined, who has proved to be in which of them, and what
// has been taken back. The gate: everything that is shown to a peer, or asked of one, asks here.
//
// Rules
// - A peer is in a room from when it showed a membership that holds, and no longer than that holds
//   (give or take kClockSkew). A later, lesser one that still holds does not shorten it.
// - A revocation takes effect at once: whom it covers is in the room no more, and is not let in
//   again by a membership that it covers.
// - When our own membership ends, or is revoked, nobody is in the room for us, and we in none.
// - A room that was left is as one that was never joined, but that what was revoked in it is known
//   when it is joined again.
// - The open room, where it is on, has everybody.
// - A room is one bit (RoomMask) for as long as this object lives.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "index/membership.h"
#include "index/revocations.h"
#include "index/room_key.h"
#include "index/room_token.h"

namespace shoal::index {

// A host's keyed rooms: their ids must fit into a beacon beside the host's endpoints.
inline constexpr std::size_t kJoinedRoomsMax = 4;
// Those that were left among them: each has its bit of a RoomMask until the agent ends.
inline constexpr std::size_t kRoomsOfALifeMax = 24;

struct MembersLimits {
  std::size_t peers_max = 20'000;  // of a room, as many as a roster takes
};

class Members {
 public:
  struct Room {
    JoinedRoom joined;
    Revocations revocations;
    RoomMask bit = kNoRooms;
    bool is_left = false;
  };

  Members(MembersLimits limits, const PeerId& self, bool open);

  // A room that this host has joined, or joins anew with another membership; what is known of its
  // members and revocations stays. Errors: kDenied when the membership is not this host's,
  // kExhausted beyond kJoinedRoomsMax or kRoomsOfALifeMax.
  Status Join(const JoinedRoom& room);
  // Whether we were in it.
  bool Leave(const RoomId& room);
  // Whether it says anything new. Errors: kNotFound for a room that we are not in; else those of
  // Revocations::Add.
  Result<bool> OnRevocation(const RoomId& room, std::string_view text);
  // `peer`, by the word of TLS, shows a membership. Errors: kDenied when it is none or we are in
  // no such room, which looks the same; kInvalid, kExhausted.
  Status OnShown(WallTime now, const RoomId& room, const PeerId& peer, std::string_view text);

  // The same with one that was verified under the room's key.
  Status OnVerified(WallTime now, const RoomId& room, const PeerId& peer,
                    const Membership& membership);
  // Whether the peer has shown this very text, it holds still, and we are in the room.
  [[nodiscard]] bool HasShown(WallTime now, const RoomId& room, const PeerId& peer,
                              std::string_view text) const;

  // The rooms that the peer has proved to be in, and we are in.
  [[nodiscard]] RoomMask RoomsOf(WallTime now, const PeerId& peer) const;
  // The rooms that we are in now.
  [[nodiscard]] RoomMask Ours(WallTime now) const;
  // Our membership to be shown; nullptr when we are in no such room now.
  [[nodiscard]] const Membership* OursIn(WallTime now, const RoomId& room) const;
  // As records name rooms: "open" and the hex of ids.
  [[nodiscard]] std::vector<std::string> RecordRooms(WallTime now) const;
  [[nodiscard]] const Room* Find(const RoomId& room) const;
  // Those that were left too.
  [[nodiscard]] const std::vector<Room>& rooms() const { return rooms_; }
  [[nodiscard]] std::size_t joined_count() const;
  [[nodiscard]] bool open() const { return open_; }
  // "open", or the name of the room with this bit.
  [[nodiscard]] std::string NameOf(RoomMask bit) const;
  // The bit of a room by its name, its id's hex, or "open"; kNoRooms when we are in none such, or
  // in two of that name.
  [[nodiscard]] RoomMask BitOf(std::string_view name) const;
  [[nodiscard]] std::size_t MemberCount(WallTime now, const RoomId& room) const;

  void CheckInvariants() const;

 private:
  using Proofs = std::unordered_map<PeerId, Membership>;

  [[nodiscard]] bool InForce(WallTime now, const Room& room) const;
  // One that was left too.
  [[nodiscard]] const Room* FindAny(const RoomId& room) const;
  Room* FindRoom(const RoomId& room);
  void DropDead(WallTime now, std::size_t place);

  MembersLimits limits_;
  PeerId self_;
  bool open_;
  std::vector<Room> rooms_;
  std::vector<Proofs> proofs_;  // beside rooms_
};

}  // namespace shoal::index
