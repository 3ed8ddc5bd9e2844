#include "index/dht_key.h"

#include <openssl/evp.h>

#include "base/check.h"

namespace shoal::index {

DhtKey DhtKeyOf(const Key& key) {
  const std::string text = "shoal-dht-v1\n" + key;
  DhtKey out{};
  unsigned int size = 0;
  const int made =
      EVP_Digest(text.data(), text.size(), reinterpret_cast<unsigned char*>(out.data()), &size,
                 EVP_sha1(), nullptr);
  SHOAL_CHECK(made == 1 && size == out.size());
  return out;
}

}  // namespace shoal::index
