#include "base/digest.h"

#include <algorithm>

namespace shoal {
namespace {

template <class Name>
Result<Name> ParseHex32(std::string_view hex, std::string_view what) {
  if (hex.size() != 64) {
    return Error{Code::kInvalid, std::string(what) + " must be 64 lower-case hex digits"};
  }
  auto bytes = FromHex(hex);
  if (!bytes) return bytes.error().In(what);
  Name name;
  std::copy(bytes->begin(), bytes->end(), name.bytes.begin());
  return name;
}

// algorithm ::= component (separator component)*, encoded ::= [a-zA-Z0-9=_-]+
bool IsWellFormed(std::string_view algorithm, std::string_view encoded) {
  const auto is_algorithm = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '.' || c == '_' ||
           c == '-';
  };
  const auto is_encoded = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '=' ||
           c == '_' || c == '-';
  };
  return !algorithm.empty() && !encoded.empty() &&
         std::all_of(algorithm.begin(), algorithm.end(), is_algorithm) &&
         std::all_of(encoded.begin(), encoded.end(), is_encoded);
}

}  // namespace

Result<Digest> ParseDigest(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos) {
    return Error{Code::kInvalid, "a digest must look like sha256:<64 hex digits>"};
  }
  const auto algorithm = text.substr(0, colon);
  const auto encoded = text.substr(colon + 1);
  if (algorithm == "sha256") return ParseHex32<Digest>(encoded, "a sha256 digest");
  if (IsWellFormed(algorithm, encoded)) {
    return Error{Code::kUnsupported, "digests of this algorithm are not supported, only sha256"};
  }
  return Error{Code::kInvalid, "a digest must look like sha256:<64 hex digits>"};
}

std::string ToString(const Digest& digest) { return "sha256:" + digest.Hex(); }

Result<PeerId> ParsePeerId(std::string_view text) { return ParseHex32<PeerId>(text, "a peer id"); }

}  // namespace shoal
