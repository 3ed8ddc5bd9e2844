// Namespaces: the names under which peers register, each kept once, and small.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "index/handle_table.h"
#include "index/slab.h"

namespace shoal::index {

inline constexpr std::size_t kNamespaceBytesMax = 255;
// 1 to kNamespaceBytesMax bytes of printable ASCII without spaces.
bool IsNamespace(std::string_view name);

// A namespace as it is kept: `blob/sha256:<hex>` as 'B' and 32 bytes, all else as 'T' and the text.
std::string PackName(std::string_view name);
// "" when it is no packed name.
std::string UnpackName(std::string_view packed);
bool IsPackedName(std::string_view text);

// 48 bytes a name of a blob, or of at most 32 bytes, and 11 to 21 bytes in the table. Whoever uses
// a Space counts in `count`, and removes it at 0.
class Namespaces {
 public:
  struct Space {
    std::array<char, 32> name{};  // or, of longer names, where they are
    std::uint8_t length = 0;      // 0: nobody's
    char kind = 0;                // 'B' or 'T'
    std::uint32_t count = 0;
    Handle first = kNoHandle;  // the list of its registrations, oldest number first
    Handle last = kNoHandle;
  };

  // seed  secret: else somebody could choose names that fall on one place.
  explicit Namespaces(std::uint64_t seed) : seed_(seed) {}
  ~Namespaces();
  Namespaces(const Namespaces&) = delete;
  Namespaces& operator=(const Namespaces&) = delete;

  // By packed name.
  [[nodiscard]] Handle Find(std::string_view packed) const;
  Handle FindOrAdd(std::string_view packed) { return FindOrAdd(packed, HashOf(packed)); }
  // For many at once: the hash can be made before, on any thread, and what FindOrAdd will look at
  // be called into the processor's cache, in these two steps.
  [[nodiscard]] std::uint64_t HashOf(std::string_view packed) const;
  void Prefetch(std::uint64_t hash) const { table_.Prefetch(hash); }
  void PrefetchSpace(std::uint64_t hash) const { spaces_.Prefetch(table_.First(hash)); }
  Handle FindOrAdd(std::string_view packed, std::uint64_t hash);
  void Remove(Handle handle);

  [[nodiscard]] std::string Packed(Handle handle) const;
  Space& operator[](Handle handle) { return spaces_[handle]; }
  const Space& operator[](Handle handle) const { return spaces_[handle]; }
  [[nodiscard]] std::size_t size() const { return spaces_.size(); }
  [[nodiscard]] Handle made() const { return spaces_.made(); }
  void PrefetchAt(Handle handle) const { spaces_.Prefetch(handle); }

 private:
  static std::string_view TextOf(const Space& space);
  [[nodiscard]] std::uint64_t HashOf(char kind, std::string_view text) const;
  [[nodiscard]] Handle Find(std::string_view packed, std::uint64_t hash) const;

  std::uint64_t seed_;
  Slab<Space> spaces_;
  HandleTable table_;
};

}  // namespace shoal::index
