// Revocations: what a room's key has taken back. Grows only, so that any order of hearing of them
// ends the same, and replaying an old one undoes nothing.
//
// A revocation names an id, that of a peer or of a token, and a number. It takes away every
// membership of that peer, or made with that token, whose own number (Membership::sequence) is not
// above it: so the room's key can let a host back in later, and a host cannot do so itself. Of two
// for one id the higher number holds.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "index/membership.h"
#include "index/room_key.h"
#include "index/signing_key.h"

namespace shoal::index {

inline constexpr std::size_t kRevocationBytesMax = 1024;
// Of one room. What is beyond belongs into a new room: at 360 bytes each they are sent whole.
inline constexpr std::size_t kRevocationsMax = 4096;

// One, as the room's key signed it.
std::string SignRevocation(const SigningKey& room, const PeerId& revoked, std::uint64_t sequence);

class Revocations {
 public:
  explicit Revocations(const PublicKey& room) : room_(room) {}

  // Takes one in. Returns whether it says anything new.
  // Errors: kInvalid for a wrong form, kDenied when it is not by the room's key or of another
  // room, kExhausted when there are kRevocationsMax; all is as before.
  Result<bool> Add(std::string_view text);

  [[nodiscard]] bool Covers(const Membership& membership) const;

  // All of them, ready to be sent; in the order of ids.
  [[nodiscard]] std::vector<std::string> Texts() const;
  // Those that came in last, the newest first.
  [[nodiscard]] std::vector<std::string> Newest(std::size_t count) const;
  [[nodiscard]] std::size_t size() const { return by_id_.size(); }
  [[nodiscard]] std::vector<PeerId> Ids() const;
  // The same for the same revocations, whatever way they came: 64 hex digits.
  [[nodiscard]] const std::string& hash() const { return hash_; }

 private:
  struct Entry {
    std::uint64_t sequence = 0;
    std::uint64_t arrival = 0;
    std::string text;
  };

  [[nodiscard]] bool CoversId(const PeerId& id, std::uint64_t sequence) const;
  void Rehash();

  PublicKey room_;
  std::uint64_t arrivals_ = 0;
  std::map<PeerId, Entry> by_id_;
  std::string hash_ = std::string(64, '0');
};

}  // namespace shoal::index
