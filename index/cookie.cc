#include "index/cookie.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <cstring>

#include "base/encoding.h"

namespace shoal::index {
namespace {

constexpr std::size_t kPlainBytes = sizeof(Cookie::number) + sizeof(Cookie::hint);
constexpr std::size_t kSealBytes = 16;

std::array<std::byte, kPlainBytes> Plain(const Cookie& cookie) {
  std::array<std::byte, kPlainBytes> plain{};
  std::memcpy(plain.data(), &cookie.number, sizeof cookie.number);
  std::memcpy(plain.data() + sizeof cookie.number, &cookie.hint, sizeof cookie.hint);
  return plain;
}

std::array<std::byte, kSealBytes> Seal(ByteSpan plain, std::string_view name,
                                       const CookieSecret& secret) {
  std::string text(AsText(secret));
  text += AsText(plain);
  text += name;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> hash{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), hash.data());
  std::array<std::byte, kSealBytes> seal{};
  std::memcpy(seal.data(), hash.data(), seal.size());
  return seal;
}

}  // namespace

std::string SealCookie(const Cookie& cookie, std::string_view name, const CookieSecret& secret) {
  const auto plain = Plain(cookie);
  const auto seal = Seal(plain, name, secret);
  std::string bytes(AsText(plain));
  bytes += AsText(seal);
  return ToBase64Url(AsBytes(bytes));
}

std::optional<Cookie> OpenCookie(std::string_view text, std::string_view name,
                                 const CookieSecret& secret) {
  if (text.size() > kCookieBytesMax) return std::nullopt;
  const auto bytes = FromBase64Url(text);
  if (!bytes || bytes->size() != kPlainBytes + kSealBytes) return std::nullopt;
  const ByteSpan plain(bytes->data(), kPlainBytes);
  const auto seal = Seal(plain, name, secret);
  if (CRYPTO_memcmp(seal.data(), bytes->data() + kPlainBytes, seal.size()) != 0) {
    return std::nullopt;
  }
  Cookie cookie;
  std::memcpy(&cookie.number, plain.data(), sizeof cookie.number);
  std::memcpy(&cookie.hint, plain.data() + sizeof cookie.number, sizeof cookie.hint);
  return cookie;
}

}  // namespace shoal::index
