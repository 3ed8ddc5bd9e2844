// Keys and numbers that follow from a host's number alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "index/signing_key.h"

namespace shoal::sim {

// Hosts of two groups have different keys.
inline index::SigningKey KeyOf(std::uint32_t host, std::byte group = {}) {
  index::KeySeed seed{};
  for (int i = 0; i < 4; ++i)
    seed[static_cast<std::size_t>(i)] = std::byte((host >> (8 * i)) & 255);
  seed[31] = group;
  return index::SigningKey::FromSeed(seed);
}

// A number that follows from two others, and looks random.
inline std::uint64_t Mix(std::uint64_t x, std::uint64_t y) {
  x = (x ^ (y + 0x9e3779b97f4a7c15U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 30)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace shoal::sim
