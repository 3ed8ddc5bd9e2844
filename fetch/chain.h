// The chain: a flat SHA-256 digest, verified piece by piece and in any order.
//
// SHA-256 eats 64 bytes at a time and keeps 32 bytes of state. The state at each piece boundary is
// the input of the next piece, so whoever knows the states around a piece can verify it alone. The
// first state is SHA-256's constant; the last piece is verified against the digest itself, with
// the padding that the blob's length fixes. A false chain cannot lead to the true digest: that
// would be a preimage. Source: FIPS 180-4, sections 5.1.1, 5.3.3, 6.2.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/digest.h"
#include "base/encoding.h"
#include "fetch/piece.h"

namespace shoal::fetch {

// SHA-256's eight 32-bit words, each big-endian, as they would stand in a digest.
using ChainState = std::array<std::byte, 32>;

// SHA-256's initial value.
const ChainState& InitialState();

// Hashes one blob, or one piece of it, from a known state.
class ChainHasher {
 public:
  // state   the state after `before` bytes; before is a multiple of 64.
  ChainHasher(const ChainState& state, Bytes before);
  ChainHasher() : ChainHasher(InitialState(), Bytes(0)) {}

  void Update(ByteSpan bytes);
  // Bytes hashed since the start of the blob.
  [[nodiscard]] Bytes position() const { return position_; }
  // The state now. position() must be a multiple of 64.
  [[nodiscard]] ChainState State() const;
  // The digest if the blob ended here.
  [[nodiscard]] Digest Finish() const;

 private:
  // OpenSSL's SHA256_CTX, kept out of this header.
  alignas(8) std::array<std::byte, 112> context_;
  Bytes position_;
};

// What is known of a blob's chain: states[i] is the state before piece i. states[0] is always
// known.
class Chain {
 public:
  explicit Chain(Geometry geometry);

  [[nodiscard]] const Geometry& geometry() const { return geometry_; }
  // The state before piece i, if known. i: 0 to count()-1.
  [[nodiscard]] const ChainState* Before(PieceIndex i) const;
  void Set(PieceIndex i, const ChainState& state);
  void Clear(PieceIndex i);  // i > 0
  // How many states are known without a gap, from the first one: 1 to count().
  [[nodiscard]] std::int32_t known_prefix() const { return known_; }
  [[nodiscard]] bool complete() const { return known_ == geometry_.count(); }
  // One more than the last known state's index: 1 to count().
  [[nodiscard]] std::int32_t extent() const { return static_cast<std::int32_t>(states_.size()); }
  // How many states both know without a gap and alike, from the first one on.
  [[nodiscard]] std::int32_t CommonPrefix(const Chain& other) const;

  // The states before pieces `from` to known_prefix()-1, 32 bytes each: how a chain travels. from
  // is at least 1.
  [[nodiscard]] ByteVector Encode(std::int32_t from = 1) const;
  // Errors: kInvalid when the length is no multiple of 32 or too long for the geometry.
  static Result<Chain> Decode(Geometry geometry, ByteSpan states);

 private:
  Geometry geometry_;
  std::int32_t known_ = 1;
  std::vector<ChainState> states_;  // the last one is known
  std::vector<bool> set_;           // which of them are
};

// Whether a piece can be verified alone: its own state is known and so is the next one (the last
// piece has the digest for that).
bool CanVerify(const Chain& chain, PieceIndex i);

// Verifies the bytes of a piece: `hasher` has eaten exactly it, from chain.Before(i).
bool VerifyPiece(const Chain& chain, const Digest& digest, PieceIndex i, const ChainHasher& hasher);

}  // namespace shoal::fetch
