// Ed25519 keys: who a peer is, and its word on it.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "base/digest.h"
#include "base/encoding.h"
#include "base/result.h"

namespace shoal::index {

// The 32 raw bytes of an Ed25519 public key. Source: RFC 8032, section 5.1.5.
struct PublicKey {
  std::array<std::byte, 32> bytes{};
  auto operator<=>(const PublicKey&) const = default;
};

using Signature = std::array<std::byte, 64>;
using KeySeed = std::array<std::byte, 32>;

// SHA-256 of the key's raw bytes.
PeerId PeerIdOf(const PublicKey& key);

// Whether `signature` is `key`'s over exactly `message`.
bool Verify(const PublicKey& key, ByteSpan message, const Signature& signature);

// A private key. Pure: the seed comes from whoever owns randomness and files (index/keyfile).
class SigningKey {
 public:
  static SigningKey FromSeed(const KeySeed& seed);

  [[nodiscard]] const PublicKey& public_key() const { return public_key_; }
  [[nodiscard]] const PeerId& id() const { return id_; }
  [[nodiscard]] const KeySeed& seed() const { return seed_; }
  [[nodiscard]] Signature Sign(ByteSpan message) const;

 private:
  KeySeed seed_{};
  PublicKey public_key_;
  PeerId id_;
};

}  // namespace shoal::index
