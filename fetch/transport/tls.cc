#include "fetch/transport/tls.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <string>
#include <utility>

namespace shoal::fetch {
namespace {

// docs/PROTOCOL.md, "Transport between peers".
constexpr const char* kSuites =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
constexpr const char* kSignatures = "ed25519";
constexpr const char* kGroups = "X25519:P-256";

Error OpenSslError(const char* operation) {
  char text[160] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) {
    ERR_error_string_n(code, text, sizeof text);
  }
  ERR_clear_error();
  return Error{Code::kInvalid, std::string("TLS cannot ") + operation + ": " + text};
}

std::optional<PeerId> IdOf(X509* certificate) {
  if (certificate == nullptr) return std::nullopt;
  const EVP_PKEY* key = X509_get0_pubkey(certificate);
  if (key == nullptr || EVP_PKEY_get_base_id(key) != EVP_PKEY_ED25519) return std::nullopt;
  index::PublicKey raw;
  std::size_t length = raw.bytes.size();
  if (EVP_PKEY_get_raw_public_key(key, reinterpret_cast<unsigned char*>(raw.bytes.data()),
                                  &length) != 1 ||
      length != raw.bytes.size()) {
    return std::nullopt;
  }
  return index::PeerIdOf(raw);
}

int Refuse(X509_STORE_CTX* store) {
  X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

int Accept(X509_STORE_CTX* store) {
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

// Names, dates and signatures in a certificate mean nothing: TLS itself proves that the other side
// has the key, and the key is the identity.
int VerifyAnybody(X509_STORE_CTX* store, void*) {
  return IdOf(X509_STORE_CTX_get0_cert(store)) ? Accept(store) : Refuse(store);
}

// Whom a client context expects.
struct Pin {
  std::optional<PeerId> peer;
  std::optional<TlsIdentity::Through> through;

  // In a handshake that asks for the server `name` (nullptr: for none).
  [[nodiscard]] std::optional<PeerId> Of(const char* name) const {
    if (!through || (name != nullptr && through->name == name)) return peer;
    return through->relay;
  }
};

void FreePin(void*, void* pin, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<Pin*>(pin); }

// Where a client context keeps its Pin; OpenSSL frees it with the context.
int PinIndex() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, FreePin);
  return index;
}

int VerifyPinned(X509_STORE_CTX* store, void*) {
  const auto* ssl = static_cast<const SSL*>(
      X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (ssl == nullptr) return Refuse(store);
  const auto* pin = static_cast<const Pin*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), PinIndex()));
  if (pin == nullptr) return Refuse(store);
  const auto expected = pin->Of(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
  const auto id = IdOf(X509_STORE_CTX_get0_cert(store));
  if (!id || (expected && *expected != *id)) return Refuse(store);
  return Accept(store);
}

// What both sides have in common. No tickets and no sessions: a resumed handshake would not look
// at certificates again, and a full one costs 0.2 ms.
bool Prepare(SSL_CTX* context, X509* certificate, EVP_PKEY* key) {
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  return SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION) == 1 &&
         SSL_CTX_set_ciphersuites(context, kSuites) == 1 &&
         SSL_CTX_set1_groups_list(context, kGroups) == 1 &&
         SSL_CTX_set1_sigalgs_list(context, kSignatures) == 1 &&
         SSL_CTX_use_certificate(context, certificate) == 1 &&
         SSL_CTX_use_PrivateKey(context, key) == 1;
}

std::shared_ptr<X509> SelfSign(EVP_PKEY* key, const PeerId& id) {
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  if (!certificate) return nullptr;
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const std::string text = id.Hex();  // 64 bytes, as long as a common name may be
  const bool ok =
      X509_set_version(certificate.get(), X509_VERSION_3) == 1 &&
      ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1) == 1 &&
      ASN1_TIME_set_string(X509_getm_notBefore(certificate.get()), "19700101000000Z") == 1 &&
      ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), "99991231235959Z") == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                 reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()), -1, 0) == 1 &&
      X509_set_issuer_name(certificate.get(), name) == 1 &&
      X509_set_pubkey(certificate.get(), key) == 1 &&
      X509_sign(certificate.get(), key, nullptr) != 0;
  return ok ? certificate : nullptr;
}

}  // namespace

Result<TlsIdentity> TlsIdentity::Make(const index::SigningKey& key) {
  TlsIdentity identity;
  identity.id_ = key.id();
  identity.key_.reset(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr,
                                   reinterpret_cast<const unsigned char*>(key.seed().data()),
                                   key.seed().size()),
      EVP_PKEY_free);
  if (!identity.key_) return OpenSslError("use the Ed25519 key");
  identity.certificate_ = SelfSign(identity.key_.get(), identity.id_);
  if (!identity.certificate_) return OpenSslError("make the certificate");
  // Building a context once here means that ServerContext() cannot fail for these objects.
  if (!identity.ServerContext()) return OpenSslError("make a server context");
  return identity;
}

std::shared_ptr<SSL_CTX> TlsIdentity::ServerContext() const {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context || !Prepare(context.get(), certificate_.get(), key_.get())) return nullptr;
  SSL_CTX_set_options(context.get(),
                      SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_max_cert_list(context.get(), 4096);  // ours have about 400 bytes
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_cert_verify_callback(context.get(), VerifyAnybody, nullptr);
  return context;
}

std::shared_ptr<SSL_CTX> TlsIdentity::ClientContext(const PeerId& expected) const {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  if (!context || !PrepareClient(context.get(), expected)) return nullptr;
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context.get(), 1);
  SSL_CTX_set_options(context.get(), SSL_OP_IGNORE_UNEXPECTED_EOF);
  return context;
}

Status TlsIdentity::PrepareClient(SSL_CTX* context, std::optional<PeerId> expected,
                                  std::optional<Through> through) const {
  if (!Prepare(context, certificate_.get(), key_.get())) {
    return OpenSslError("prepare a client context");
  }
  auto pin = std::make_unique<Pin>(Pin{expected, std::move(through)});
  delete static_cast<Pin*>(SSL_CTX_get_ex_data(context, PinIndex()));
  if (SSL_CTX_set_ex_data(context, PinIndex(), pin.get()) != 1) {
    SSL_CTX_set_ex_data(context, PinIndex(), nullptr);
    return OpenSslError("keep the expected peer id");
  }
  static_cast<void>(pin.release());  // the context owns it now
  SSL_CTX_set_max_cert_list(context, 4096);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(context, VerifyPinned, nullptr);
  return Ok();
}

std::optional<PeerId> PeerOf(const SSL* ssl) {
  if (ssl == nullptr || SSL_is_init_finished(ssl) != 1) return std::nullopt;
  return IdOf(SSL_get0_peer_certificate(ssl));
}

}  // namespace shoal::fetch
