// zstd on the wire, for the JSON that peers exchange.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "fetch/transport/http_client.h"

namespace shoal::fetch {

std::string Compress(std::string_view plain);
// Errors: kExhausted when more than max_bytes would come out, kCorrupt when it is no zstd frame.
Result<std::string> Decompress(std::string_view packed, std::size_t max_bytes);

// A body as it was before its Content-Encoding. Errors: those of Decompress, kUnsupported for
// another encoding.
Result<std::string> DecodeBody(const HttpHead& head, std::string body, std::size_t max_bytes);

}  // namespace shoal::fetch
