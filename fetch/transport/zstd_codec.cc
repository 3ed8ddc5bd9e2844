#include "fetch/transport/zstd_codec.h"

namespace shoal::fetch {

Result<std::string> DecodeBody(const HttpHead& head, std::string body, std::size_t max_bytes) {
  const std::string_view encoding = FindHeader(head.headers, "content-encoding");
  if (encoding.empty() || encoding == "identity") return body;
  if (encoding == "zstd") return Decompress(body, max_bytes);
  return Error{Code::kUnsupported, "the answer has a content encoding that was not asked for"};
}

}  // namespace shoal::fetch
