#include "index/rendezvous/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cstddef>
#include <string>
#include <utility>

namespace shoal::index {
namespace {

constexpr const char* kSuites =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";

Error SslError(const std::string& what) {
  char text[256] = "no reason given";
  if (const auto code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return {Code::kRetryLater, "cannot " + what + ": " + text};
}

std::optional<PublicKey> KeyOf(X509* certificate) {
  EVP_PKEY* key = certificate == nullptr ? nullptr : X509_get0_pubkey(certificate);
  PublicKey out;
  std::size_t size = out.bytes.size();
  if (key == nullptr || EVP_PKEY_get_id(key) != EVP_PKEY_ED25519 ||
      EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(out.bytes.data()), &size) !=
          1) {
    return std::nullopt;
  }
  return out;
}

}  // namespace

Result<OwnCertificate> OwnCertificate::Make(const SigningKey& key) {
  OwnCertificate out;
  const auto& seed = key.seed();
  out.key_ = std::shared_ptr<EVP_PKEY>(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                   reinterpret_cast<const unsigned char*>(seed.data()),
                                   seed.size()),
      EVP_PKEY_free);
  out.certificate_ = std::shared_ptr<X509>(X509_new(), X509_free);
  X509* certificate = out.certificate_.get();
  if (out.key_ == nullptr || certificate == nullptr) return SslError("make a certificate");
  const std::string id = key.id().Hex();
  X509_NAME* name = X509_get_subject_name(certificate);
  const bool made =
      X509_set_version(certificate, 2) == 1 &&
      ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
      ASN1_TIME_set_string_X509(X509_getm_notBefore(certificate), "19700101000000Z") == 1 &&
      ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), "99991231235959Z") == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>(id.data()),
                                 static_cast<int>(id.size()), -1, 0) == 1 &&
      X509_set_issuer_name(certificate, name) == 1 &&
      X509_set_pubkey(certificate, out.key_.get()) == 1 &&
      // Ed25519 hashes by itself: no digest is named.
      X509_sign(certificate, out.key_.get(), nullptr) != 0;
  if (!made) return SslError("make a certificate");
  return out;
}

bool OwnCertificate::Use(SSL_CTX* context) const {
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_ciphersuites(context, kSuites) == 1 &&
         SSL_CTX_use_certificate(context, certificate_.get()) == 1 &&
         SSL_CTX_use_PrivateKey(context, key_.get()) == 1;
}

void PinCheck::Use(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, kSuites);
  SSL_CTX_set_cert_verify_callback(
      context,
      [](X509_STORE_CTX* store, void* check) {
        return static_cast<PinCheck*>(check)->Allow(X509_STORE_CTX_get0_cert(store)) ? 1 : 0;
      },
      this);
}

bool PinCheck::Allow(X509* certificate) {
  const auto key = KeyOf(certificate);
  const std::scoped_lock lock(mutex_);
  if (key && !expected_) expected_ = PeerIdOf(*key);
  const bool allowed = key && *expected_ == PeerIdOf(*key);
  if (!allowed) refused_ = true;
  return allowed;
}

std::optional<PeerId> PinCheck::id() const {
  const std::scoped_lock lock(mutex_);
  return expected_;
}

bool PinCheck::TakeRefusal() {
  const std::scoped_lock lock(mutex_);
  return std::exchange(refused_, false);
}

}  // namespace shoal::index
