// TLS 1.3 between agents and index servers: self-signed Ed25519 certificates, pinned by key.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <mutex>
#include <optional>

#include "base/digest.h"
#include "base/result.h"
#include "index/signing_key.h"

namespace shoal::index {

// A key and a certificate made of it, valid from 1970 to 9999: pins decide, not dates.
class OwnCertificate {
 public:
  static Result<OwnCertificate> Make(const SigningKey& key);
  // Makes `context` show it. Returns whether OpenSSL took it.
  bool Use(SSL_CTX* context) const;

 private:
  std::shared_ptr<EVP_PKEY> key_;  // immutable; owners: copies of this
  std::shared_ptr<X509> certificate_;
};

// Decides whom a client talks to, and remembers whom it met. Handshakes run on any thread.
class PinCheck {
 public:
  // expected  nullopt: anybody, but the same from then on.
  explicit PinCheck(std::optional<PeerId> expected) : expected_(expected) {}

  // Prepares a client context: TLS 1.3, and this check instead of chains and names. The context
  // must not outlive the check.
  void Use(SSL_CTX* context);

  [[nodiscard]] std::optional<PeerId> id() const;
  // Whether a handshake was refused since the last call: another key than expected.
  bool TakeRefusal();
  // Called by OpenSSL.
  bool Allow(X509* certificate);

 private:
  mutable std::mutex mutex_;
  std::optional<PeerId> expected_;
  bool refused_ = false;
};

}  // namespace shoal::index
