// The query of a request's target.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::index {

// "/v1/discover" of "/v1/discover?limit=5".
std::string_view PathOf(std::string_view target);
// Decoded; of a name that comes twice the last counts. Errors: kInvalid for a broken escape.
Result<std::map<std::string, std::string>> ParseQuery(std::string_view target);
// `text` with all but letters, digits and -._~ escaped. Source: RFC 3986, section 2.3.
std::string EscapeQuery(std::string_view text);

// What DISCOVER asks.
struct DiscoverQuery {
  std::string name;  // "" for all peers
  int limit = 100;
  std::string cookie;
  int wait_ms = 0;
};
inline constexpr int kDiscoverWaitMsMax = 30'000;
// Errors: kInvalid, naming the member.
Result<DiscoverQuery> ParseDiscover(std::string_view target);

// What is asked of a log.
struct LogQuery {
  std::string server;  // "" for that of who is asked
  std::uint64_t epoch = 0;
  std::uint64_t after = 0;
  int wait_ms = 0;
};
// Errors: kInvalid, naming the member.
Result<LogQuery> ParseLogQuery(std::string_view target);

}  // namespace shoal::index
