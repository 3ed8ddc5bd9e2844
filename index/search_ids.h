// The containers of the image search: sets of handles, as bits and compact, and a list in order.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "index/slab.h"

namespace shoal::index {

// A set of handles below a bound, one bit each: what queries reckon with.
class IdBits {
 public:
  explicit IdBits(std::size_t bound, bool full = false)
      : words_((bound + 63) / 64, full ? ~std::uint64_t{0} : 0) {}

  void Set(Handle id) { words_[id / 64] |= std::uint64_t{1} << (id % 64); }
  [[nodiscard]] bool Test(Handle id) const { return (words_[id / 64] >> (id % 64) & 1) != 0; }
  void And(const IdBits& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
  }
  void AndNot(const IdBits& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= ~other.words_[i];
  }
  // bits  64 handles from `word` * 64 on.
  void OrWord(std::size_t word, std::uint64_t bits) {
    if (word < words_.size()) words_[word] |= bits;
  }
  [[nodiscard]] std::size_t Count() const {
    std::size_t count = 0;
    for (const auto word : words_) count += static_cast<std::size_t>(std::popcount(word));
    return count;
  }
  template <class Visit>
  void ForEach(const Visit& visit) const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      for (auto word = words_[i]; word != 0; word &= word - 1) {
        visit(static_cast<Handle>(i * 64 + static_cast<std::size_t>(std::countr_zero(word))));
      }
    }
  }

 private:
  std::vector<std::uint64_t> words_;
};

// A set of handles that grows and shrinks, in two bytes each or less: handles that share their
// upper 16 bits are kept together, as sorted lower halves or, when they are many, as bits. Source:
// Lemire et al., "Consistently faster and smaller compressed bitmaps with Roaring", 2016.
class IdSet {
 public:
  // Adding what is there, and removing what is not, changes nothing.
  void Add(Handle id);
  void Remove(Handle id);
  [[nodiscard]] std::size_t size() const { return size_; }
  // Adds all to `bits`, whose bound must be above them.
  void OrInto(IdBits& bits) const;

 private:
  // 4096 numbers of 16 bits are as long as 65536 bits.
  static constexpr std::size_t kSparseMax = 4096;
  static constexpr std::size_t kDenseMin = 2048;  // below: sparse again, so that it does not flap

  struct Part {
    std::uint16_t high = 0;
    bool dense = false;
    std::uint32_t count = 0;
    std::vector<std::uint16_t> data;  // sorted lower halves, or 65536 bits
  };
  std::vector<Part>::iterator Find(std::uint16_t high);

  std::vector<Part> parts_;  // by `high`
  std::size_t size_ = 0;
};

// Handles in an order that the owner knows. Pages of at most kPage make insertion and removal
// cheap among millions; four to eight bytes a handle.
class SortedIds {
 public:
  struct Place {
    std::size_t page = 0;
    std::size_t at = 0;
  };

  // The first handle for which `is_before` does not hold; it must hold for a first part of the list
  // and for nothing behind it.
  template <class IsBefore>
  [[nodiscard]] Place Seek(const IsBefore& is_before) const {
    const auto page = std::partition_point(pages_.begin(), pages_.end(),
                                           [&](const auto& ids) { return is_before(ids.back()); });
    if (page == pages_.end()) return {pages_.size(), 0};
    const auto at = std::partition_point(page->begin(), page->end(), is_before);
    return {static_cast<std::size_t>(page - pages_.begin()),
            static_cast<std::size_t>(at - page->begin())};
  }
  void InsertAt(Place place, Handle id);
  // `place` must be that of a handle.
  void EraseAt(Place place);
  [[nodiscard]] bool IsEnd(Place place) const { return place.page == pages_.size(); }
  [[nodiscard]] Handle At(Place place) const { return pages_[place.page][place.at]; }
  [[nodiscard]] std::size_t size() const { return size_; }

  // From `from` on, in order, until `visit` returns false.
  template <class Visit>
  void Walk(Place from, const Visit& visit) const {
    for (auto page = from.page; page < pages_.size(); ++page) {
      const auto& ids = pages_[page];
      for (auto at = page == from.page ? from.at : 0; at < ids.size(); ++at) {
        if (!visit(ids[at])) return;
      }
    }
  }

 private:
  static constexpr std::size_t kPage = 512;

  std::vector<std::vector<Handle>> pages_;  // none is empty
  std::size_t size_ = 0;
};

}  // namespace shoal::index
