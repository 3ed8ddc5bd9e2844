// Keys and identities that follow from a number.
#pragma once

#include <cstddef>
#include <utility>

#include "fetch/transport/tls.h"
#include "index/signing_key.h"

namespace shoal::fetch {

inline index::SigningKey TestKey(int seed) {
  index::KeySeed bytes{};
  bytes[0] = static_cast<std::byte>(seed);
  return index::SigningKey::FromSeed(bytes);
}

inline TlsIdentity TestIdentity(int seed) {
  return std::move(TlsIdentity::Make(TestKey(seed))).value();
}

}  // namespace shoal::fetch
