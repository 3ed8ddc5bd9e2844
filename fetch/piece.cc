#include "fetch/piece.h"

#include <algorithm>
#include <bit>
#include <charconv>

namespace shoal::fetch {
namespace {

std::uint64_t BitOf(PieceIndex i) { return std::uint64_t{1} << (i.value % PieceMap::kWordBits); }

// A decimal number without sign, at most 7 digits: kPiecesMax has 7.
bool ParseIndex(std::string_view text, std::int32_t& value) {
  if (text.empty() || text.size() > 7) return false;
  if (text.front() < '0' || text.front() > '9') return false;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

Error BadRuns(std::string_view run) {
  return {Code::kInvalid, "have-map: '" + std::string(run.substr(0, 32)) +
                              "' is no ascending run of pieces of this blob"};
}

}  // namespace

Result<Geometry> Geometry::Make(Bytes blob, Bytes piece) {
  if (piece < kPieceBytesMin || piece > kPieceBytesMax || piece.count() % 64 != 0) {
    return Error{Code::kInvalid, "piece size " + std::to_string(piece.count()) +
                                     " must be a multiple of 64 between 16 KiB and 64 MiB"};
  }
  if (blob < Bytes(0) || blob > kBlobBytesMax) {
    return Error{Code::kInvalid,
                 "blob size " + std::to_string(blob.count()) + " must be between 0 and 1 TiB"};
  }
  const std::int64_t count = std::max<std::int64_t>(1, (blob + piece - Bytes(1)) / piece);
  if (count > kPiecesMax) {
    return Error{Code::kInvalid, "a blob of " + std::to_string(blob.count()) + " bytes has " +
                                     std::to_string(count) + " pieces of " +
                                     std::to_string(piece.count()) + ", the limit is " +
                                     std::to_string(kPiecesMax)};
  }
  return Geometry(blob, piece, static_cast<std::int32_t>(count));
}

Bytes Geometry::LengthOf(PieceIndex i) const {
  SHOAL_CHECK(i.value >= 0 && i.value < count_);
  return i == last() ? blob_ - OffsetOf(i) : piece_;
}

PieceIndex Geometry::At(Bytes offset) const {
  SHOAL_CHECK(offset >= Bytes(0) && offset <= blob_);
  return {static_cast<std::int32_t>(std::min<std::int64_t>(offset / piece_, count_ - 1))};
}

Result<Geometry> CutFor(Bytes size, Bytes usual) {
  Bytes piece = usual;
  while (piece.count() % 128 == 0 && Bytes(piece.count() / 2) >= kPieceAloneMin &&
         size < piece * kPiecesFew) {
    piece = Bytes(piece.count() / 2);
  }
  while (piece * 2 <= kPieceAloneMax && size > piece * kPiecesMany) piece = piece * 2;
  while (piece * 2 <= kPieceBytesMax && size > piece * kPiecesMax) piece = piece * 2;
  return Geometry::Make(size, piece);
}

PieceMap::PieceMap(std::int32_t count, bool all)
    : size_(count),
      set_(all ? count : 0),
      words_(static_cast<std::size_t>((count + kWordBits - 1) / kWordBits),
             all ? ~std::uint64_t{0} : 0) {
  SHOAL_CHECK(count >= 0 && count <= kPiecesMax);
  if (all && count % kWordBits != 0) words_.back() = (std::uint64_t{1} << (count % kWordBits)) - 1;
}

bool PieceMap::Set(PieceIndex i) {
  if (Has(i)) return false;
  words_[WordOf(i.value)] |= BitOf(i);
  ++set_;
  return true;
}

void PieceMap::Clear(PieceIndex i) {
  if (!Has(i)) return;
  words_[WordOf(i.value)] &= ~BitOf(i);
  --set_;
}

PieceIndex PieceMap::FirstAbsent(PieceIndex from) const {
  SHOAL_CHECK(from.value >= 0);
  if (from.value >= size_) return {size_};
  std::size_t word = WordOf(from.value);
  // Pieces before `from` count as present.
  std::uint64_t absent = ~words_[word] & ~(BitOf(from) - 1);
  while (absent == 0 && ++word < words_.size()) absent = ~words_[word];
  if (absent == 0) return {size_};
  const auto found = static_cast<std::int64_t>(word) * kWordBits +
                     static_cast<std::int64_t>(std::countr_zero(absent));
  return {static_cast<std::int32_t>(std::min<std::int64_t>(found, size_))};
}

bool PieceMap::AnyNotIn(const PieceMap& other) const {
  SHOAL_CHECK(size_ == other.size_);
  for (std::size_t word = 0; word < words_.size(); ++word) {
    if ((words_[word] & ~other.words_[word]) != 0) return true;
  }
  return false;
}

std::int32_t PieceMap::CountNotIn(const PieceMap& other) const {
  SHOAL_CHECK(size_ == other.size_);
  std::int32_t count = 0;
  for (std::size_t word = 0; word < words_.size(); ++word) {
    count += std::popcount(words_[word] & ~other.words_[word]);
  }
  return count;
}

void PieceMap::ClearFrom(PieceIndex from) {
  SHOAL_CHECK(from.value >= 0);
  if (from.value >= size_) return;
  std::size_t word = WordOf(from.value);
  words_[word] &= BitOf(from) - 1;
  while (++word < words_.size()) words_[word] = 0;
  set_ = 0;
  for (const std::uint64_t bits : words_) set_ += std::popcount(bits);
}

std::string PieceMap::ToRuns() const {
  std::string runs;
  PieceIndex i{0};
  while (i.value < size_) {
    if (!Has(i)) {
      ++i;
      continue;
    }
    const PieceIndex end = FirstAbsent(i);
    if (!runs.empty()) runs += ',';
    runs += std::to_string(i.value);
    if (end.value - i.value > 1) runs += '-' + std::to_string(end.value - 1);
    i = end;
  }
  return runs;
}

Result<PieceMap> PieceMap::FromRuns(std::string_view runs, std::int32_t count) {
  if (count < 0 || count > kPiecesMax) {
    return Error{Code::kInvalid, "have-map: " + std::to_string(count) + " pieces are out of range"};
  }
  PieceMap map(count);
  std::int32_t free_from = 0;  // the lowest piece that the next run may start at
  while (!runs.empty()) {
    const std::size_t comma = runs.find(',');
    const std::string_view run = runs.substr(0, comma);
    const std::size_t dash = run.find('-');
    std::int32_t first = 0;
    std::int32_t last = 0;
    if (!ParseIndex(run.substr(0, dash), first)) return BadRuns(run);
    if (dash == std::string_view::npos) {
      last = first;
    } else if (!ParseIndex(run.substr(dash + 1), last)) {
      return BadRuns(run);
    }
    if (first < free_from || last < first || last >= count) return BadRuns(run);
    for (PieceIndex i{first}; i.value <= last; ++i) map.Set(i);
    free_from = last + 2;
    if (comma == std::string_view::npos) break;
    runs.remove_prefix(comma + 1);
    if (runs.empty()) return BadRuns(",");
  }
  return map;
}

ByteVector PieceMap::ToBits() const {
  ByteVector bits(static_cast<std::size_t>(size_ + 7) / 8);
  for (PieceIndex i{0}; i.value < size_; ++i) {
    if (Has(i)) bits[static_cast<std::size_t>(i.value) / 8] |= std::byte{0x80} >> (i.value % 8);
  }
  return bits;
}

Result<PieceMap> PieceMap::FromBits(ByteSpan bits, std::int32_t count) {
  if (bits.size() != static_cast<std::size_t>(count + 7) / 8) {
    return Error{Code::kInvalid, "have-map: " + std::to_string(bits.size()) + " bytes for " +
                                     std::to_string(count) + " pieces"};
  }
  PieceMap map(count);
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(bits.size()) * 8; ++i) {
    const std::byte bit = std::byte{0x80} >> (i % 8);
    if ((bits[static_cast<std::size_t>(i) / 8] & bit) == std::byte{0}) continue;
    if (i >= count) return Error{Code::kInvalid, "have-map: a bit beyond the last piece"};
    map.Set({i});
  }
  return map;
}

}  // namespace shoal::fetch
