// Cookies of DISCOVER: how far an answer went, sealed, so that the server need not remember it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "index/slab.h"

namespace shoal::index {

inline constexpr std::size_t kCookieBytesMax = 64;
// Known to one server alone, and kept by it: cookies outlive its restarts.
using CookieSecret = std::array<std::byte, 32>;

struct Cookie {
  std::uint64_t number = 0;  // of the last registration that was given
  Handle hint = kNoHandle;   // where it was found; after a restart it is elsewhere
  bool operator==(const Cookie&) const = default;
};

// 28 bytes as base64url: number, hint, and 16 bytes of SHA-256 over secret, number, hint and name.
// (The secret comes first and half of the hash is withheld, so that it cannot be extended.)
std::string SealCookie(const Cookie& cookie, std::string_view name, const CookieSecret& secret);
// nullopt when it was not sealed with this secret for this namespace.
std::optional<Cookie> OpenCookie(std::string_view text, std::string_view name,
                                 const CookieSecret& secret);

}  // namespace shoal::index
