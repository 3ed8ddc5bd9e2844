// Pieces: the unit of transfer and of verification, and which of them are there.
#pragma once

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "base/encoding.h"
#include "base/result.h"

namespace shoal::fetch {

struct PieceIndex {
  std::int32_t value = 0;
  constexpr auto operator<=>(const PieceIndex&) const = default;
  constexpr PieceIndex& operator++() {
    ++value;
    return *this;
  }
  friend constexpr PieceIndex operator+(PieceIndex a, std::int32_t n) { return {a.value + n}; }
};

inline constexpr Bytes kPieceBytesMin{16 << 10};
inline constexpr Bytes kPieceBytesMax{64 << 20};
inline constexpr Bytes kBlobBytesMax{std::int64_t{1} << 40};  // 1 TiB
inline constexpr std::int32_t kPiecesMax = 1 << 20;

// How a blob is cut. An empty blob has one piece of no bytes, so that every blob has a last piece
// whose verification proves the digest.
class Geometry {
 public:
  // Errors: kInvalid for a piece size that is no multiple of 64 or outside its bounds, a negative
  // or too large blob, or more than kPiecesMax pieces.
  static Result<Geometry> Make(Bytes blob, Bytes piece);

  [[nodiscard]] Bytes blob() const { return blob_; }
  [[nodiscard]] Bytes piece() const { return piece_; }
  [[nodiscard]] std::int32_t count() const { return count_; }
  [[nodiscard]] PieceIndex last() const { return {count_ - 1}; }
  [[nodiscard]] Bytes OffsetOf(PieceIndex i) const { return piece_ * i.value; }
  [[nodiscard]] Bytes LengthOf(PieceIndex i) const;
  // The piece that holds byte `offset`; the last piece for offset == blob().
  [[nodiscard]] PieceIndex At(Bytes offset) const;
  bool operator==(const Geometry&) const = default;

 private:
  Geometry(Bytes blob, Bytes piece, std::int32_t count)
      : blob_(blob), piece_(piece), count_(count) {}

  Bytes blob_;
  Bytes piece_;
  std::int32_t count_;
};

// Piece sizes that CutFor chooses by itself.
inline constexpr Bytes kPieceAloneMin{256 << 10};
inline constexpr Bytes kPieceAloneMax{4 << 20};
inline constexpr std::int32_t kPiecesFew = 512;    // enough to spread: 1 + log2(fetchers)/pieces
inline constexpr std::int32_t kPiecesMany = 8192;  // a map of more is long

// How a blob of `size` is cut where nobody has cut it yet: in pieces of `usual` (fetch.piece),
// halved while there are fewer than kPiecesFew of at least kPieceAloneMin, doubled while there are
// more than kPiecesMany of at most kPieceAloneMax, or more than kPiecesMax. All hosts with the same
// `usual` cut alike.
//
// Errors  as Geometry::Make.
Result<Geometry> CutFor(Bytes size, Bytes usual);

// A set of pieces of one blob.
class PieceMap {
 public:
  PieceMap() = default;
  explicit PieceMap(std::int32_t count, bool all = false);

  [[nodiscard]] std::int32_t size() const { return size_; }
  [[nodiscard]] std::int32_t count() const { return set_; }
  [[nodiscard]] bool all() const { return set_ == size_; }
  [[nodiscard]] bool Has(PieceIndex i) const {
    SHOAL_CHECK(i.value >= 0 && i.value < size_);
    return (words_[WordOf(i.value)] >> (i.value % kWordBits) & 1) != 0;
  }
  // Returns whether it was new.
  bool Set(PieceIndex i);
  void Clear(PieceIndex i);
  // The first piece at or after `from` that is absent; {size()} when none is.
  [[nodiscard]] PieceIndex FirstAbsent(PieceIndex from = {0}) const;

  // Whether it has a piece that `other`, of the same size, lacks.
  [[nodiscard]] bool AnyNotIn(const PieceMap& other) const;
  // How many of those there are.
  [[nodiscard]] std::int32_t CountNotIn(const PieceMap& other) const;
  // Drops the pieces from `from` on.
  void ClearFrom(PieceIndex from);

  // Word by word, for loops over many pieces: bit b of Word(w) is piece w * kWordBits + b. Bits
  // beyond size() are 0.
  static constexpr std::int32_t kWordBits = 64;
  [[nodiscard]] std::size_t words() const { return words_.size(); }
  [[nodiscard]] std::uint64_t Word(std::size_t w) const { return words_[w]; }
  // Calls `each` with every piece of the word `bits` at w, ascending.
  template <class Each>
  static void ForEachBit(std::size_t w, std::uint64_t bits, Each&& each) {
    for (; bits != 0; bits &= bits - 1) {
      each(PieceIndex{static_cast<std::int32_t>(w) * kWordBits + std::countr_zero(bits)});
    }
  }

  // Runs as "0-11,14,20-99"; "" for none. What have-maps look like on the wire.
  [[nodiscard]] std::string ToRuns() const;
  // Errors: kInvalid unless runs ascend, do not touch or overlap, and stay below `count`.
  static Result<PieceMap> FromRuns(std::string_view runs, std::int32_t count);
  // One bit a piece, the first one the highest of the first byte; spare bits are 0. The other
  // form on the wire, for maps with many runs.
  [[nodiscard]] ByteVector ToBits() const;
  // Errors: kInvalid for another length than `count` asks for, or a spare bit that is 1.
  static Result<PieceMap> FromBits(ByteSpan bits, std::int32_t count);

  bool operator==(const PieceMap&) const = default;

 private:
  static std::size_t WordOf(std::int32_t i) { return static_cast<std::size_t>(i) / kWordBits; }

  std::int32_t size_ = 0;
  std::int32_t set_ = 0;
  std::vector<std::uint64_t> words_;
};

}  // namespace shoal::fetch

template <>
struct std::hash<shoal::fetch::PieceIndex> {
  std::size_t operator()(shoal::fetch::PieceIndex i) const noexcept {
    return static_cast<std::size_t>(i.value);
  }
};
