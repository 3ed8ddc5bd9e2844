// Keys and records for tests.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "index/record.h"

namespace shoal::index {

inline SigningKey KeyNo(int n) {
  KeySeed seed{};
  seed[0] = static_cast<std::byte>(n & 255);
  seed[1] = static_cast<std::byte>(n >> 8);
  return SigningKey::FromSeed(seed);
}

// A Wednesday in 2026; any will do.
inline WallTime TestWall() { return FromUnixMs(1'790'000'000'000); }

inline Record RecordOf(const SigningKey& key, std::uint64_t sequence = 1,
                       Duration life = std::chrono::minutes(5)) {
  Record record;
  record.key = key.public_key();
  record.name = "host-a";
  record.endpoints = {{"10.0.0.1", 7381}, {"fd00::1", 7381}};
  record.rooms = {"open"};
  record.sequence = sequence;
  record.expires = TestWall() + life;
  return record;
}

inline SignedRecord SignedBy(const SigningKey& key, std::uint64_t sequence = 1,
                             Duration life = std::chrono::minutes(5)) {
  return SignedRecord::Sign(RecordOf(key, sequence, life), key);
}

}  // namespace shoal::index
