// HandleTable: finds handles by the hash of what they name. The objects themselves lie elsewhere.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/prefetch.h"
#include "index/slab.h"

namespace shoal::index {

// Eight bytes a place, at most three of four taken: the handle, and as much of the hash as says
// where it belongs and whether it is worth a look at the object, which is seldom in the processor's
// cache. It is divided into kParts tables that grow each for itself, so that no single insertion
// among millions takes long. Linear probing; what is erased leaves no mark (Knuth, TAOCP 6.4,
// algorithm R).
class HandleTable {
 public:
  // same(handle)  whether it is the one that is looked for.
  template <class Same>
  [[nodiscard]] Handle Find(std::uint64_t hash, const Same& same) const {
    const auto& places = parts_[PartOf(hash)].places;
    if (places.empty()) return kNoHandle;
    const auto low = static_cast<std::uint32_t>(hash);
    const std::size_t mask = places.size() - 1;
    for (std::size_t at = low & mask; places[at].handle != kNoHandle; at = (at + 1) & mask) {
      if (places[at].low == low && same(places[at].handle)) return places[at].handle;
    }
    return kNoHandle;
  }

  void Insert(std::uint64_t hash, Handle handle) {
    auto& part = parts_[PartOf(hash)];
    if ((part.taken + 1) * 4 > part.places.size() * 3) Grow(part);
    Put(part.places, {static_cast<std::uint32_t>(hash), handle});
    ++part.taken;
  }

  // It must have been inserted with this hash.
  void Erase(std::uint64_t hash, Handle handle) {
    auto& part = parts_[PartOf(hash)];
    auto& places = part.places;
    const std::size_t mask = places.size() - 1;
    std::size_t hole = hash & mask;
    while (places[hole].handle != handle) hole = (hole + 1) & mask;
    for (std::size_t at = (hole + 1) & mask; places[at].handle != kNoHandle; at = (at + 1) & mask) {
      // Whether its own place lies cyclically in (hole, at]: then it stays.
      const std::size_t home = places[at].low & mask;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      places[hole] = places[at];
      hole = at;
    }
    places[hole] = {};
    --part.taken;
  }

  // Makes room for so many, so that it need not grow on the way there.
  void Reserve(std::size_t handles) {
    for (auto& part : parts_) {
      while (handles / kParts * 4 > part.places.size() * 3) Grow(part);
    }
  }

  // What Find and Insert will look at first is called into the processor's cache.
  void Prefetch(std::uint64_t hash) const {
    const auto& places = parts_[PartOf(hash)].places;
    if (!places.empty()) shoal::Prefetch(&places[hash & (places.size() - 1)]);
  }
  // The handle about which Find asks first; kNoHandle when there is none.
  [[nodiscard]] Handle First(std::uint64_t hash) const {
    return Find(hash, [](Handle) { return true; });
  }

 private:
  struct Place {
    std::uint32_t low = 0;  // of the hash
    Handle handle = kNoHandle;
  };
  struct Part {
    std::vector<Place> places;  // as many as a power of two
    std::size_t taken = 0;
  };
  static constexpr std::size_t kParts = 256;
  static constexpr std::size_t kPlacesMin = 16;

  static std::size_t PartOf(std::uint64_t hash) { return hash >> 56; }

  static void Put(std::vector<Place>& places, Place place) {
    const std::size_t mask = places.size() - 1;
    std::size_t at = place.low & mask;
    while (places[at].handle != kNoHandle) at = (at + 1) & mask;
    places[at] = place;
  }

  static void Grow(Part& part) {
    std::vector<Place> places(part.places.empty() ? kPlacesMin : part.places.size() * 2);
    for (const Place& place : part.places) {
      if (place.handle != kNoHandle) Put(places, place);
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
