// The signed texts of docs/PROTOCOL.md: `payload`, `key`, `signature`, each base64url.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "index/signing_key.h"

namespace shoal::index {

// Signs `context` (for example "shoal-record-v1\n") followed by `payload`.
Signature SignIn(std::string_view context, std::string_view payload, const SigningKey& key);
bool VerifyIn(std::string_view context, std::string_view payload, const PublicKey& key,
              const Signature& signature);

// A base64url member of an object. `max_bytes` is of the decoded form.
Result<std::string> GetBase64(const Json& object, const std::string& member, std::size_t max_bytes);
Result<Signature> GetSignature(const Json& object, const std::string& member);
Result<PublicKey> GetPublicKey(const Json& object, const std::string& member);

}  // namespace shoal::index
