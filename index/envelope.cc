#include "index/envelope.h"

#include <algorithm>

namespace shoal::index {
namespace {

std::string Joined(std::string_view context, std::string_view payload) {
  std::string text;
  text.reserve(context.size() + payload.size());
  text += context;
  text += payload;
  return text;
}

template <std::size_t N>
Result<std::array<std::byte, N>> GetFixed(const Json& object, const std::string& member) {
  auto text = GetBase64(object, member, N);
  if (!text) return text.error();
  if (text->size() != N) {
    return Error{Code::kInvalid,
                 "JSON member \"" + member + "\" must hold " + std::to_string(N) + " bytes"};
  }
  std::array<std::byte, N> bytes{};
  std::ranges::copy(AsBytes(*text), bytes.begin());
  return bytes;
}

}  // namespace

Signature SignIn(std::string_view context, std::string_view payload, const SigningKey& key) {
  return key.Sign(AsBytes(Joined(context, payload)));
}

bool VerifyIn(std::string_view context, std::string_view payload, const PublicKey& key,
              const Signature& signature) {
  return Verify(key, AsBytes(Joined(context, payload)), signature);
}

Result<std::string> GetBase64(const Json& object, const std::string& member,
                              std::size_t max_bytes) {
  auto text = GetString(object, member, (max_bytes * 4 + 2) / 3);
  if (!text) return text.error();
  auto bytes = FromBase64Url(*text);
  if (!bytes) return bytes.error().In("JSON member \"" + member + "\"");
  return std::string(AsText(*bytes));
}

Result<Signature> GetSignature(const Json& object, const std::string& member) {
  return GetFixed<64>(object, member);
}

Result<PublicKey> GetPublicKey(const Json& object, const std::string& member) {
  auto bytes = GetFixed<32>(object, member);
  if (!bytes) return bytes.error();
  return PublicKey{*bytes};
}

}  // namespace shoal::index
