#include "fetch/transport/map_codec.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"

namespace shoal::fetch {
namespace {

constexpr std::size_t kTextMax = 64U << 20;
constexpr std::int64_t kEpochMax = std::int64_t{1} << 53;

Result<PieceMap> ReadHave(const Json& object, std::int32_t count) {
  if (!object.has_field("bits")) {
    const auto runs = GetString(object, "have", kTextMax);
    if (!runs) return runs.error();
    return PieceMap::FromRuns(*runs, count);
  }
  const auto text = GetString(object, "bits", kTextMax);
  if (!text) return text.error();
  const auto bits = FromBase64Url(*text);
  if (!bits) return bits.error();
  return PieceMap::FromBits(*bits, count);
}

}  // namespace

std::string EncodeMap(const Chain& chain, const PieceMap& have, std::uint64_t epoch,
                      std::int32_t from) {
  const Geometry& geometry = chain.geometry();
  const std::int32_t first = std::min(from, chain.known_prefix());
  // Runs, bits and base64url need no escaping, and the chain may be long: written out by hand.
  std::string runs = have.ToRuns();
  std::string text = "{\"size\":" + std::to_string(geometry.blob().count()) +
                     ",\"piece\":" + std::to_string(geometry.piece().count());
  if (runs.size() > static_cast<std::size_t>(have.size()) / 6 + 16) {
    text += ",\"bits\":\"" + ToBase64Url(have.ToBits());
  } else {
    text += ",\"have\":\"" + runs;
  }
  text += "\",\"epoch\":" + std::to_string(epoch) + ",\"from\":" + std::to_string(first) +
          ",\"chain\":\"" + ToBase64Url(chain.Encode(first)) + "\"}";
  return text;
}

Result<MapAnswer> DecodeMap(std::string_view json, const HeldChain* held) {
  auto object = ParseJson(json, kTextMax);
  if (!object) return object.error().In("a blob's map");
  auto size = GetInt(*object, "size", 0, kBlobBytesMax.count());
  if (!size) return size.error();
  auto piece = GetInt(*object, "piece", kPieceBytesMin.count(), kPieceBytesMax.count());
  if (!piece) return piece.error();
  auto chain_text = GetString(*object, "chain", kTextMax);
  if (!chain_text) return chain_text.error();
  std::int64_t epoch = 0;
  std::int64_t from = 1;
  if (object->has_field("from")) {
    const auto given_epoch = GetInt(*object, "epoch", 0, kEpochMax);
    if (!given_epoch) return given_epoch.error();
    const auto given_from = GetInt(*object, "from", 1, kPiecesMax);
    if (!given_from) return given_from.error();
    epoch = *given_epoch;
    from = *given_from;
  }

  auto geometry = Geometry::Make(Bytes(*size), Bytes(*piece));
  if (!geometry) return geometry.error();
  auto have = ReadHave(*object, geometry->count());
  if (!have) return have.error();
  auto states = FromBase64Url(*chain_text);
  if (!states) return states.error().In("a blob's chain");
  if (from > 1) {
    const bool known = held != nullptr && held->epoch == static_cast<std::uint64_t>(epoch) &&
                       held->chain.geometry() == *geometry && held->chain.known_prefix() >= from;
    if (!known) return Error{Code::kInvalid, "a map leaves out states that are not known"};
    ByteVector all = held->chain.Encode();
    all.resize(static_cast<std::size_t>(from - 1) * 32);
    all.insert(all.end(), states->begin(), states->end());
    *states = std::move(all);
  }
  auto chain = Chain::Decode(*geometry, *states);
  if (!chain) return chain.error();
  return MapAnswer{{std::move(*chain), std::move(*have)}, static_cast<std::uint64_t>(epoch)};
}

}  // namespace shoal::fetch
