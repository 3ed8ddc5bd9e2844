#include <algorithm>
#include <charconv>

#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::size_t kHostBytesMax = 253;  // RFC 1035, section 2.3.4

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsHex(char c) { return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Good enough to tell an address from nonsense; the resolver has the last word.
bool IsIpv6(std::string_view host) {
  return host.size() >= 2 && host.size() <= 45 && std::ranges::count(host, ':') >= 2 &&
         std::ranges::all_of(host, [](char c) { return IsHex(c) || c == ':' || c == '.'; });
}

bool IsHostName(std::string_view host) {
  const auto is_letter = [](char c) {
    return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  };
  return !host.empty() && host.size() <= kHostBytesMax && is_letter(host.front()) &&
         std::ranges::all_of(
             host, [&](char c) { return is_letter(c) || c == '.' || c == '-' || c == '_'; });
}

}  // namespace

Result<Endpoint> ParseEndpoint(std::string_view text) {
  const auto wrong = [&](std::string_view why) {
    return Error{Code::kInvalid, "\"" + std::string(text.substr(0, 300)) +
                                     "\" is no endpoint: " + std::string(why) +
                                     "; write one like \"10.0.0.1:7381\" or \"[fd00::1]:7381\""};
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong("the port is missing");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return wrong("the bracket is not closed");
    host = host.substr(1, host.size() - 2);
    if (!IsIpv6(host)) return wrong("that is no IPv6 address");
  } else if (!IsHostName(host)) {
    return wrong("that is no host name or address");
  }
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number < 1 || number > 65535 ||
      port.front() == '0') {
    return wrong("the port must be from 1 to 65535");
  }
  return Endpoint{std::string(host), static_cast<std::uint16_t>(number)};
}

Result<Endpoint> ParseRelayed(std::string_view text) {
  const auto at = text.find('@');
  if (at == std::string_view::npos) {
    return Error{Code::kInvalid,
                 "\"" + std::string(text.substr(0, 300)) +
                     "\" names no relay; write one like \"<peer id>@10.0.0.1:7381\""};
  }
  auto relay = ParsePeerId(text.substr(0, at));
  if (!relay) return relay.error();
  auto endpoint = ParseEndpoint(text.substr(at + 1));
  if (!endpoint) return endpoint.error();
  endpoint->relay = *relay;
  return endpoint;
}

std::string ToString(const Endpoint& endpoint) {
  if (endpoint.relay) {
    return endpoint.relay->Hex() + "@" + ToString(Endpoint{endpoint.host, endpoint.port});
  }
  const auto port = std::to_string(endpoint.port);
  if (endpoint.host.find(':') != std::string::npos) return "[" + endpoint.host + "]:" + port;
  return endpoint.host + ":" + port;
}

}  // namespace shoal::index
