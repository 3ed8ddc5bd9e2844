// zstd on the wire, for the JSON that hosts exchange.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::index {

std::string Compress(std::string_view plain);
// Errors: kExhausted when more than max_bytes would come out, kCorrupt when it is no zstd frame.
Result<std::string> Decompress(std::string_view packed, std::size_t max_bytes);

}  // namespace shoal::index
