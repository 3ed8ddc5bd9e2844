#include "registry-proxy/http_range.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "registry-proxy/names.h"

namespace shoal::proxy {
namespace {

std::string_view Trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Digits only; saturates far beyond any blob rather than failing.
std::optional<std::int64_t> Number(std::string_view text) {
  if (text.empty() ||
      !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? value : std::int64_t{1} << 62;
}

struct OneRange {
  bool malformed = false;
  std::optional<ByteRange> range;  // absent when unsatisfiable
};

OneRange ParseOne(std::string_view text, Bytes size) {
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return {true, std::nullopt};
  const auto first_text = Trim(text.substr(0, dash));
  const auto last_text = Trim(text.substr(dash + 1));
  const auto first = Number(first_text);
  const auto last = Number(last_text);
  if (first_text.empty()) {
    if (!last) return {true, std::nullopt};
    if (*last == 0) return {};
    return {false, ByteRange{Bytes(std::max<std::int64_t>(0, size.count() - *last)), size}};
  }
  if (!first || (!last && !last_text.empty()) || (last && *last < *first)) {
    return {true, std::nullopt};
  }
  if (*first >= size.count()) return {};
  const std::int64_t end = last ? std::min(*last + 1, size.count()) : size.count();
  return {false, ByteRange{Bytes(*first), Bytes(end)}};
}

void MergeIfOverlapping(std::vector<ByteRange>& ranges) {
  auto sorted = ranges;
  std::sort(sorted.begin(), sorted.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  std::vector<ByteRange> merged;
  for (const auto& range : sorted) {
    if (!merged.empty() && range.begin < merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  if (merged.size() < ranges.size()) ranges = std::move(merged);
}

}  // namespace

RangeAnswer ParseRange(std::string_view header, Bytes size) {
  // Nothing of an empty blob can be satisfied, but a client that asks for bytes=0- wants it all.
  if (header.empty() || size.count() <= 0) return {};
  const auto equals = header.find('=');
  if (equals == std::string_view::npos || LowerCase(Trim(header.substr(0, equals))) != "bytes") {
    return {};
  }
  RangeAnswer answer{RangeKind::kPartial, {}};
  std::string_view rest = header.substr(equals + 1);
  std::size_t count = 0;
  for (;;) {
    const auto comma = rest.find(',');
    const auto text = Trim(rest.substr(0, comma));
    if (!text.empty()) {
      if (++count > kRangesMax) return {};
      const auto one = ParseOne(text, size);
      if (one.malformed) return {};
      if (one.range) answer.ranges.push_back(*one.range);
    }
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  if (count == 0) return {};
  if (answer.ranges.empty()) return {RangeKind::kUnsatisfiable, {}};
  MergeIfOverlapping(answer.ranges);
  return answer;
}

std::string ContentRange(const ByteRange& range, Bytes size) {
  return "bytes " + std::to_string(range.begin.count()) + "-" +
         std::to_string(range.end.count() - 1) + "/" + std::to_string(size.count());
}

std::string UnsatisfiedContentRange(Bytes size) {
  return "bytes */" + std::to_string(size.count());
}

std::string PartHeader(std::string_view boundary, std::string_view media_type,
                       const ByteRange& range, Bytes size) {
  return "\r\n--" + std::string(boundary) + "\r\nContent-Type: " + std::string(media_type) +
         "\r\nContent-Range: " + ContentRange(range, size) + "\r\n\r\n";
}

std::string LastBoundary(std::string_view boundary) {
  return "\r\n--" + std::string(boundary) + "--\r\n";
}

std::string EntityTag(const Digest& digest) { return '"' + ToString(digest) + '"'; }

bool IfNoneMatches(std::string_view header, std::string_view entity_tag) {
  header = Trim(header);
  if (header == "*") return true;
  while (!header.empty()) {
    const auto comma = header.find(',');
    auto one = Trim(header.substr(0, comma));
    if (one.starts_with("W/")) one.remove_prefix(2);  // weak comparison, RFC 9110, 13.1.2
    if (one == entity_tag) return true;
    if (comma == std::string_view::npos) return false;
    header.remove_prefix(comma + 1);
  }
  return false;
}

bool IfRangeMatches(std::string_view header, std::string_view entity_tag) {
  header = Trim(header);
  return header.empty() || header == entity_tag;
}

}  // namespace shoal::proxy
