// Hex and base64url, for ids, digests and signatures in text.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace shoal {

using ByteSpan = std::span<const std::byte>;
using ByteVector = std::vector<std::byte>;

inline ByteSpan AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Lower-case hex.
std::string ToHex(ByteSpan bytes);
// Errors: kInvalid for odd length, capitals or other characters.
Result<ByteVector> FromHex(std::string_view hex);

// RFC 4648 section 5, without padding.
std::string ToBase64Url(ByteSpan bytes);
// Errors: kInvalid for padding, other alphabets, impossible lengths and non-zero spare bits.
Result<ByteVector> FromBase64Url(std::string_view text);

}  // namespace shoal
