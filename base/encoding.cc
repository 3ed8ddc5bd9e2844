#include "base/encoding.h"

#include <array>
#include <cstdint>

namespace shoal {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";
constexpr std::string_view kBase64Digits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

constexpr std::array<std::int8_t, 256> Inverse(std::string_view digits) {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < digits.size(); ++i) {
    table[static_cast<unsigned char>(digits[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}

constexpr auto kHexValue = Inverse(kHexDigits);
constexpr auto kBase64Value = Inverse(kBase64Digits);

}  // namespace

std::string ToHex(ByteSpan bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    out += kHexDigits[std::to_integer<unsigned>(b) >> 4];
    out += kHexDigits[std::to_integer<unsigned>(b) & 15];
  }
  return out;
}

Result<ByteVector> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) return Error{Code::kInvalid, "hex text has an odd length"};
  ByteVector out;
  out.reserve(hex.size() / 2);
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const int high = kHexValue[static_cast<unsigned char>(hex[i])];
    const int low = kHexValue[static_cast<unsigned char>(hex[i + 1])];
    if (high < 0 || low < 0) return Error{Code::kInvalid, "text is not lower-case hex"};
    out.push_back(static_cast<std::byte>(high * 16 + low));
  }
  return out;
}

std::string ToBase64Url(ByteSpan bytes) {
  std::string out;
  out.reserve((bytes.size() * 4 + 2) / 3);
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::byte b : bytes) {
    bits = (bits << 8) | std::to_integer<std::uint32_t>(b);
    count += 8;
    while (count >= 6) {
      count -= 6;
      out += kBase64Digits[(bits >> count) & 63];
    }
  }
  if (count > 0) out += kBase64Digits[(bits << (6 - count)) & 63];
  return out;
}

Result<ByteVector> FromBase64Url(std::string_view text) {
  if (text.size() % 4 == 1) return Error{Code::kInvalid, "base64url text has an impossible length"};
  ByteVector out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = kBase64Value[static_cast<unsigned char>(c)];
    if (value < 0) return Error{Code::kInvalid, "text is not base64url"};
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<std::byte>((bits >> count) & 255));
    }
  }
  if ((bits & ((1U << count) - 1)) != 0) {
    return Error{Code::kInvalid, "base64url text has stray bits at its end"};
  }
  return out;
}

}  // namespace shoal
