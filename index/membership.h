// Membership: a room's word that a peer belongs to it, checked with no server.
//
// A certificate is signed by the room's key, or by a key that the room's key has delegated to (the
// one in a token): never by a longer chain. Rules
// - It names one room and one peer; TLS proves that whoever shows it is that peer.
// - It holds from `from` to `until`, give or take kClockSkew; one by a token lies inside of the
//   time that the room gave the token, so that nothing outlives a token.
// - `sequence` is always the room key's own word: of a certificate by the room itself its number,
//   of one by a token the token's number. A revocation takes away all that is not above its own
//   number (Revocations).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "index/room_key.h"
#include "index/signing_key.h"

namespace shoal::index {

inline constexpr std::size_t kMembershipBytesMax = 2048;
// Hosts' clocks may differ by so much.
inline constexpr Duration kClockSkew = std::chrono::minutes(10);
// The furthest `until`, in Unix milliseconds: keeps WallTime far from overflowing.
inline constexpr std::int64_t kRoomTimeMsMax = (std::int64_t{1} << 53) / 8;

// The room key's word that `key` may make members.
struct Delegation {
  PublicKey key;
  std::uint64_t sequence = 0;  // 1 to 2^53; a later one of the room has a higher one
  WallTime from;
  WallTime until;
};

class SignedDelegation {
 public:
  static SignedDelegation Sign(const Delegation& delegation, const SigningKey& room);
  // Reads {"payload", "signature"}. Errors: kInvalid for a wrong form, kDenied when it is not by
  // the room's key or of another room.
  static Result<SignedDelegation> Parse(std::string_view text, const PublicKey& room);

  [[nodiscard]] const Delegation& delegation() const { return delegation_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  // The id by which the token is named and revoked: the SHA-256 of its public key.
  [[nodiscard]] const PeerId& id() const { return id_; }

 private:
  Delegation delegation_;
  PeerId id_;
  std::string text_;
};

// A certificate. Only made by its room's key, by a token of it, or by Parse: it always verifies.
// Whether it holds now, and is not revoked, is another question.
class Membership {
 public:
  static Membership ByRoom(const SigningKey& room, const PeerId& peer, std::uint64_t sequence,
                           WallTime from, WallTime until);
  // By the key of a token; it holds as long as the token's delegation does. What is signed by
  // another key than the delegation's is a bug.
  static Membership ByToken(const PublicKey& room, const SignedDelegation& delegation,
                            const SigningKey& token, const PeerId& peer);
  // Reads the JSON of docs/PROTOCOL.md ("Memberships") and checks all signatures.
  //
  // Errors  kExhausted over kMembershipBytesMax, kInvalid for a wrong form, kDenied when it is of
  //         another room or the signatures do not lead to the room's key.
  static Result<Membership> Parse(std::string_view text, const PublicKey& room);

  // Whether it makes `peer` a member now. Errors: kDenied, saying why not.
  [[nodiscard]] Status Holds(const PeerId& peer, WallTime now) const;

  [[nodiscard]] const RoomId& room() const { return room_; }
  [[nodiscard]] const PeerId& peer() const { return peer_; }
  [[nodiscard]] WallTime from() const { return from_; }
  [[nodiscard]] WallTime until() const { return until_; }
  // The room key's own: see above.
  [[nodiscard]] std::uint64_t sequence() const;
  // The id of the token that it was made with; nullopt when the room's key made it.
  [[nodiscard]] std::optional<PeerId> token() const;
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  RoomId room_;
  PeerId peer_;
  std::uint64_t sequence_ = 0;
  WallTime from_;
  WallTime until_;
  std::optional<SignedDelegation> delegation_;
  std::string text_;
};

}  // namespace shoal::index
