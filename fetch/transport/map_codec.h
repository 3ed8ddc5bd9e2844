// The JSON of docs/PROTOCOL.md, "Maps".
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fetch/download.h"

namespace shoal::fetch {

// A map that comes beside a piece is at most this long.
inline constexpr std::size_t kNewsBytesMax = 4 << 10;

// What an asker already has of a holder's chain: `epoch` says which life of it.
struct HeldChain {
  std::uint64_t epoch = 0;
  Chain chain;
};

// epoch  of the holder's chain, at most 2^53.
// from   states before pieces 1 to from-1 are left out, as the asker has them; 1 for all.
std::string EncodeMap(const Chain& chain, const PieceMap& have, std::uint64_t epoch = 0,
                      std::int32_t from = 1);

struct MapAnswer {
  HolderMap map;
  std::uint64_t epoch = 0;
};
// held    what states that are left out are taken from; may be null.
// Errors  kInvalid, also when states are left out that are not held. What is allocated is bounded
//         by the text's length and by `held`, not by the text's claims.
Result<MapAnswer> DecodeMap(std::string_view json, const HeldChain* held = nullptr);

}  // namespace shoal::fetch
