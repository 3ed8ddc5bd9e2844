#include "fetch/transport/map_codec.h"

#include "base/encoding.h"
#include "base/json.h"

namespace shoal::fetch {
namespace {

constexpr std::size_t kTextMax = 64U << 20;

}  // namespace

std::string EncodeMap(const Chain& chain, const PieceMap& have) {
  const Geometry& geometry = chain.geometry();
  // Runs and base64url need no escaping, and the chain may be long: written out by hand.
  return "{\"size\":" + std::to_string(geometry.blob().count()) +
         ",\"piece\":" + std::to_string(geometry.piece().count()) + ",\"have\":\"" + have.ToRuns() +
         "\",\"chain\":\"" + ToBase64Url(chain.Encode()) + "\"}";
}

Result<HolderMap> DecodeMap(std::string_view json) {
  auto object = ParseJson(json, kTextMax);
  if (!object) return object.error().In("a blob's map");
  auto size = GetInt(*object, "size", 0, kBlobBytesMax.count());
  if (!size) return size.error();
  auto piece = GetInt(*object, "piece", kPieceBytesMin.count(), kPieceBytesMax.count());
  if (!piece) return piece.error();
  auto have_text = GetString(*object, "have", kTextMax);
  if (!have_text) return have_text.error();
  auto chain_text = GetString(*object, "chain", kTextMax);
  if (!chain_text) return chain_text.error();

  auto geometry = Geometry::Make(Bytes(*size), Bytes(*piece));
  if (!geometry) return geometry.error();
  auto have = PieceMap::FromRuns(*have_text, geometry->count());
  if (!have) return have.error();
  auto states = FromBase64Url(*chain_text);
  if (!states) return states.error().In("a blob's chain");
  auto chain = Chain::Decode(*geometry, *states);
  if (!chain) return chain.error();
  return HolderMap{std::move(*chain), std::move(*have)};
}

}  // namespace shoal::fetch
