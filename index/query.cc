#include "index/query.h"

#include <algorithm>
#include <charconv>

#include "base/encoding.h"

namespace shoal::index {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> Unescape(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    if (text[0] != '%') {
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    const int high = text.size() < 3 ? -1 : HexDigit(text[1]);
    const int low = text.size() < 3 ? -1 : HexDigit(text[2]);
    if (high < 0 || low < 0) return Error{Code::kInvalid, "the query is not URL-encoded"};
    out += static_cast<char>(high << 4 | low);
    text.remove_prefix(3);
  }
  return out;
}

template <class T>
Status ReadNumber(const std::map<std::string, std::string>& fields, const std::string& name, T min,
                  T& out) {
  const auto it = fields.find(name);
  if (it == fields.end() || it->second.empty()) return Ok();
  const std::string& text = it->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < min) {
    return Error{Code::kInvalid, name + " must be a whole number from " + std::to_string(min)};
  }
  return Ok();
}

}  // namespace

std::string_view PathOf(std::string_view target) { return target.substr(0, target.find('?')); }

Result<std::map<std::string, std::string>> ParseQuery(std::string_view target) {
  std::map<std::string, std::string> out;
  const auto mark = target.find('?');
  if (mark == std::string_view::npos) return out;
  std::string_view rest = target.substr(mark + 1);
  while (!rest.empty()) {
    const auto end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto equals = std::min(pair.find('='), pair.size());
    auto name = Unescape(pair.substr(0, equals));
    auto value = Unescape(pair.substr(std::min(equals + 1, pair.size())));
    if (!name) return name.error();
    if (!value) return value.error();
    out[*name] = *std::move(value);
  }
  return out;
}

std::string EscapeQuery(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

Result<DiscoverQuery> ParseDiscover(std::string_view target) {
  auto fields = ParseQuery(target);
  if (!fields) return fields.error();
  DiscoverQuery query;
  query.name = (*fields)["namespace"];
  query.cookie = (*fields)["cookie"];
  if (auto read = ReadNumber(*fields, "limit", 1, query.limit); !read) return read.error();
  if (auto read = ReadNumber(*fields, "wait_ms", 0, query.wait_ms); !read) return read.error();
  query.wait_ms = std::min(query.wait_ms, kDiscoverWaitMsMax);
  return query;
}

Result<LogQuery> ParseLogQuery(std::string_view target) {
  auto fields = ParseQuery(target);
  if (!fields) return fields.error();
  LogQuery query;
  query.server = (*fields)["server"];
  const std::uint64_t zero = 0;
  if (auto read = ReadNumber(*fields, "epoch", zero, query.epoch); !read) return read.error();
  if (auto read = ReadNumber(*fields, "after", zero, query.after); !read) return read.error();
  if (auto read = ReadNumber(*fields, "wait_ms", 0, query.wait_ms); !read) return read.error();
  query.wait_ms = std::min(query.wait_ms, kDiscoverWaitMsMax);
  return query;
}

}  // namespace shoal::index
