// Range requests. Source: RFC 9110, sections 8.8.3, 13.1 and 14.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"

namespace shoal::proxy {

// More are answered with the whole: zstd:chunked pulls send a few dozen at most.
inline constexpr std::size_t kRangesMax = 64;

struct ByteRange {
  Bytes begin;
  Bytes end;  // exclusive
  bool operator==(const ByteRange&) const = default;
};

enum class RangeKind { kWhole, kPartial, kUnsatisfiable };  // 200, 206, 416

struct RangeAnswer {
  RangeKind kind = RangeKind::kWhole;
  std::vector<ByteRange> ranges;  // not empty ranges; in the order asked, or merged and ascending
};

// header  the value of Range; "" when absent.
// size    of the whole.
// Returns kWhole for a header that is malformed, in another unit or has too many ranges (RFC 9110
//         lets a server ignore those), and for an empty blob. Ranges that overlap are merged, so
//         that no byte is sent twice.
RangeAnswer ParseRange(std::string_view header, Bytes size);

// "bytes 0-99/1000", and "bytes */1000" for a 416.
std::string ContentRange(const ByteRange& range, Bytes size);
std::string UnsatisfiedContentRange(Bytes size);

// What stands before each part of a multipart/byteranges body, and after the last.
std::string PartHeader(std::string_view boundary, std::string_view media_type,
                       const ByteRange& range, Bytes size);
std::string LastBoundary(std::string_view boundary);

// The digest in quotes: a strong validator, as the bytes can be no others.
std::string EntityTag(const Digest& digest);
// Whether If-None-Match asks for 304. `header` is "" when absent.
bool IfNoneMatches(std::string_view header, std::string_view entity_tag);
// Whether Range is to be honoured under this If-Range ("" when absent). Dates never match: shoal
// sends none.
bool IfRangeMatches(std::string_view header, std::string_view entity_tag);

}  // namespace shoal::proxy
