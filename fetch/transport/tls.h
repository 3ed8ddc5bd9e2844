// TLS 1.3 between peers: self-signed Ed25519 certificates, pinned to peer ids.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <optional>
#include <string>

#include "base/digest.h"
#include "base/result.h"
#include "index/signing_key.h"

namespace shoal::fetch {

// A key and the certificate made of it. Copies share the OpenSSL objects (they are immutable).
class TlsIdentity {
 public:
  // Self-signs a certificate valid from 1970 to 9999: pins decide, not dates, so that a wrong clock
  // cuts nobody off.
  static Result<TlsIdentity> Make(const index::SigningKey& key);

  // A context for accepting: TLS 1.3 only, AES-128-GCM first, a client certificate with an Ed25519
  // key is required; who it is decided by the caller (PeerOf).
  [[nodiscard]] std::shared_ptr<SSL_CTX> ServerContext() const;

  // A context for dialling `expected`.
  [[nodiscard]] std::shared_ptr<SSL_CTX> ClientContext(const PeerId& expected) const;

  // Prepares a client context that libcurl made: our certificate, TLS 1.3, and a check that the
  // server's key has the id `expected` (any id when nullopt: first contact).
  // The handshake fails otherwise.
  // `through`: libcurl uses such contexts for two handshakes, one inside the other. The one that
  // asks for the server `through->name` is with `expected`, any other with the relay.
  struct Through {
    PeerId relay;
    std::string name;
  };
  Status PrepareClient(SSL_CTX* context, std::optional<PeerId> expected,
                       std::optional<Through> through = std::nullopt) const;

  [[nodiscard]] const PeerId& id() const { return id_; }

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
  PeerId id_;
};

// Who is at the other end. nullopt before the handshake or without an Ed25519 certificate.
std::optional<PeerId> PeerOf(const SSL* ssl);

}  // namespace shoal::fetch
