// What may stand in the name of an image. Source: OCI distribution specification 1.1, "Pulling
// manifests", and the grammar of github.com/distribution/reference.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::proxy {

inline constexpr std::string_view kDockerHub = "docker.io";
inline constexpr std::size_t kNameBytesMax = 255;  // registry and repository together
inline constexpr std::size_t kTagBytesMax = 128;

// "library/nginx": lower-case components joined by '/', each of letters and digits joined by one
// '.', one or two '_', or any number of '-'.
bool IsRepository(std::string_view text);
// At most 128 of letters, digits, '_', '.', '-'; the first is no '.' or '-'.
bool IsTag(std::string_view text);
// host, host:port, [ipv6] or [ipv6]:port.
bool IsRegistry(std::string_view text);
// Whether the first component of a longer name is a registry: it has a dot or a port, or is
// localhost.
bool LooksLikeRegistry(std::string_view component);

// Lower case, and docker.io for the other names of Docker Hub. `text` is a registry.
std::string NormalRegistry(std::string_view text);
// "nginx" is "library/nginx" on Docker Hub.
std::string NormalRepository(std::string_view registry, std::string_view repository);

// Decodes %XX. Errors: kInvalid for an incomplete escape, or one of a control character.
Result<std::string> PercentDecode(std::string_view text);
// Encodes all but RFC 3986's unreserved characters, as in a query's values.
std::string PercentEncode(std::string_view text);

std::string LowerCase(std::string_view text);

}  // namespace shoal::proxy
