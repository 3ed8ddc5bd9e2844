// The JSON of docs/PROTOCOL.md, "Maps".
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "fetch/download.h"

namespace shoal::fetch {

std::string EncodeMap(const Chain& chain, const PieceMap& have);
// Errors: kInvalid. What is allocated is bounded by the text's length, not by its claims.
Result<HolderMap> DecodeMap(std::string_view json);

}  // namespace shoal::fetch
