// Digest and PeerId: the two 32-byte names of shoal.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "base/encoding.h"
#include "base/result.h"

namespace shoal {

// 32 bytes that are already evenly spread, so that any eight of them are a good hash.
template <class Tag>
struct Name32 {
  std::array<std::byte, 32> bytes{};

  auto operator<=>(const Name32&) const = default;
  [[nodiscard]] std::string Hex() const { return ToHex(bytes); }
  // For logs: enough to recognise, short enough to read.
  [[nodiscard]] std::string Short() const { return Hex().substr(0, 12); }
};

struct DigestTag {};
struct PeerIdTag {};

// The SHA-256 digest of a blob. Other algorithms never become a Digest.
using Digest = Name32<DigestTag>;

// The SHA-256 of a peer's Ed25519 public key (its 32 raw bytes).
using PeerId = Name32<PeerIdTag>;

// Parses `sha256:<64 lower-case hex>`.
//
// Errors  kUnsupported for another well-formed algorithm, kInvalid otherwise.
// Source  OCI image specification 1.1, descriptor.md, "Digests".
Result<Digest> ParseDigest(std::string_view text);
std::string ToString(const Digest& digest);

// Parses 64 lower-case hex digits.
Result<PeerId> ParsePeerId(std::string_view text);

}  // namespace shoal

template <class Tag>
struct std::hash<shoal::Name32<Tag>> {
  std::size_t operator()(const shoal::Name32<Tag>& name) const noexcept {
    std::size_t h = 0;
    std::memcpy(&h, name.bytes.data(), sizeof h);
    return h;
  }
};
