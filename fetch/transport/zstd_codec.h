// zstd on the wire, for the JSON that peers exchange.
#pragma once

#include <string>

#include "base/result.h"
#include "fetch/transport/http_client.h"
#include "index/net/zstd_codec.h"

namespace shoal::fetch {

using index::Compress;
using index::Decompress;

// A body as it was before its Content-Encoding. Errors: those of Decompress, kUnsupported for
// another encoding.
Result<std::string> DecodeBody(const HttpHead& head, std::string body, std::size_t max_bytes);

}  // namespace shoal::fetch
