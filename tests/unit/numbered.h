// Names that follow from a number.
#pragma once

#include <cstddef>
#include <string>

#include "base/digest.h"

namespace shoal {

template <class Name>
Name NameNo(int n) {
  Name name;
  name.bytes[0] = static_cast<std::byte>(n);
  name.bytes[1] = static_cast<std::byte>(n >> 8);
  return name;
}

inline PeerId PeerNo(int n) { return NameNo<PeerId>(n); }
inline Digest DigestNo(int n) { return NameNo<Digest>(n); }

// One hexadecimal digit over and over.
inline Digest DigestAll(char digit) { return *ParseDigest("sha256:" + std::string(64, digit)); }

}  // namespace shoal
