// Bytes that look random and follow from a seed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/rng.h"

namespace shoal::fetch {

inline ByteVector Noise(std::size_t size, std::uint64_t seed = 1) {
  Rng rng(seed);
  ByteVector bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.Next());
  return bytes;
}

}  // namespace shoal::fetch
