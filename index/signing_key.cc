#include "index/signing_key.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <memory>

#include "base/check.h"

namespace shoal::index {
namespace {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using KeyPtr = std::unique_ptr<EVP_PKEY, FreeKey>;
using ContextPtr = std::unique_ptr<EVP_MD_CTX, FreeContext>;

const unsigned char* Raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* Raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }

KeyPtr PrivateKey(const KeySeed& seed) {
  KeyPtr key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, Raw(seed.data()), seed.size()));
  SHOAL_CHECK(key != nullptr);
  return key;
}

}  // namespace

PeerId PeerIdOf(const PublicKey& key) {
  PeerId id;
  SHA256(Raw(key.bytes.data()), key.bytes.size(), Raw(id.bytes.data()));
  return id;
}

bool Verify(const PublicKey& key, ByteSpan message, const Signature& signature) {
  const KeyPtr pkey(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, Raw(key.bytes.data()),
                                                key.bytes.size()));
  const ContextPtr context(EVP_MD_CTX_new());
  if (pkey == nullptr || context == nullptr) return false;
  return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) == 1 &&
         EVP_DigestVerify(context.get(), Raw(signature.data()), signature.size(),
                          Raw(message.data()), message.size()) == 1;
}

SigningKey SigningKey::FromSeed(const KeySeed& seed) {
  const auto pkey = PrivateKey(seed);
  SigningKey key;
  key.seed_ = seed;
  std::size_t size = key.public_key_.bytes.size();
  SHOAL_CHECK(EVP_PKEY_get_raw_public_key(pkey.get(), Raw(key.public_key_.bytes.data()), &size) ==
              1);
  key.id_ = PeerIdOf(key.public_key_);
  return key;
}

Signature SigningKey::Sign(ByteSpan message) const {
  const auto pkey = PrivateKey(seed_);
  const ContextPtr context(EVP_MD_CTX_new());
  Signature signature{};
  std::size_t size = signature.size();
  SHOAL_CHECK(context != nullptr);
  SHOAL_CHECK(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) == 1);
  SHOAL_CHECK(EVP_DigestSign(context.get(), Raw(signature.data()), &size, Raw(message.data()),
                             message.size()) == 1);
  return signature;
}

}  // namespace shoal::index
