// HandleTable: finds handles by the hash of what they name. The objects themselves lie elsewhere.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "index/slab.h"

namespace shoal::index {

// Four bytes a place, at most three of four taken. It is divided into kParts tables that grow each
// for itself, so that no single insertion among millions takes long. Linear probing; what is erased
// leaves no mark (Knuth, TAOCP 6.4, algorithm R).
//
// `hash_of(handle)` must give the hash with which the handle was inserted.
class HandleTable {
 public:
  template <class Same>
  [[nodiscard]] Handle Find(std::uint64_t hash, const Same& same) const {
    const auto& places = parts_[PartOf(hash)].places;
    if (places.empty()) return kNoHandle;
    const std::size_t mask = places.size() - 1;
    for (std::size_t at = hash & mask; places[at] != kNoHandle; at = (at + 1) & mask) {
      if (same(places[at])) return places[at];
    }
    return kNoHandle;
  }

  template <class HashOf>
  void Insert(std::uint64_t hash, Handle handle, const HashOf& hash_of) {
    auto& part = parts_[PartOf(hash)];
    if ((part.taken + 1) * 4 > part.places.size() * 3) Grow(part, hash_of);
    Put(part.places, hash, handle);
    ++part.taken;
  }

  // The handle must be in the table.
  template <class HashOf>
  void Erase(std::uint64_t hash, Handle handle, const HashOf& hash_of) {
    auto& part = parts_[PartOf(hash)];
    auto& places = part.places;
    const std::size_t mask = places.size() - 1;
    std::size_t hole = hash & mask;
    while (places[hole] != handle) hole = (hole + 1) & mask;
    for (std::size_t at = (hole + 1) & mask; places[at] != kNoHandle; at = (at + 1) & mask) {
      // Whether its own place lies cyclically in (hole, at]: then it stays.
      const std::size_t home = hash_of(places[at]) & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      places[hole] = places[at];
      hole = at;
    }
    places[hole] = kNoHandle;
    --part.taken;
  }

  // Makes room for so many, so that it need not grow on the way there.
  template <class HashOf>
  void Reserve(std::size_t handles, const HashOf& hash_of) {
    for (auto& part : parts_) {
      while (handles / kParts * 4 > part.places.size() * 3) Grow(part, hash_of);
    }
  }

  // What Find and Insert will look at first is called into the processor's cache.
  void Prefetch(std::uint64_t hash) const {
    const auto& places = parts_[PartOf(hash)].places;
    if (!places.empty()) __builtin_prefetch(&places[hash & (places.size() - 1)]);
  }
  // The handle that Find looks at first; kNoHandle when there is none.
  [[nodiscard]] Handle First(std::uint64_t hash) const {
    const auto& places = parts_[PartOf(hash)].places;
    return places.empty() ? kNoHandle : places[hash & (places.size() - 1)];
  }

 private:
  struct Part {
    std::vector<Handle> places;  // as many as a power of two
    std::size_t taken = 0;
  };
  static constexpr std::size_t kParts = 256;
  static constexpr std::size_t kPlacesMin = 16;

  static std::size_t PartOf(std::uint64_t hash) { return hash >> 56; }

  static void Put(std::vector<Handle>& places, std::uint64_t hash, Handle handle) {
    const std::size_t mask = places.size() - 1;
    std::size_t at = hash & mask;
    while (places[at] != kNoHandle) at = (at + 1) & mask;
    places[at] = handle;
  }

  template <class HashOf>
  static void Grow(Part& part, const HashOf& hash_of) {
    std::vector<Handle> places(part.places.empty() ? kPlacesMin : part.places.size() * 2,
                               kNoHandle);
    for (const Handle handle : part.places) {
      if (handle != kNoHandle) Put(places, hash_of(handle), handle);
    }
    part.places = std::move(places);
  }

  std::array<Part, kParts> parts_;
};

// Spreads 64 bits over 64 bits. Source: Steele et al., "Fast splittable pseudorandom number
// generators", 2014 (the finalizer of SplitMix64).
inline std::uint64_t Mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace shoal::index
