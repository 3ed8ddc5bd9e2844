// SearchTerms: the words of image names, and which images have them.
//
// A term is a word in small letters, or one of these, whose first byte no word has:
//   "/word"  a component of the path begins with the word
//   "=text"  the last component of the path is the text
//   "@text"  the platform or architecture is there
// Terms come and go with their images. Memory: 32 to 40 bytes a term and its text, and at most two
// bytes for each image of a term that has several.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "index/handle_table.h"
#include "index/search_ids.h"
#include "index/slab.h"

namespace shoal::index {

class SearchTerms {
 public:
  // seed  random: strangers choose the words, and must not choose their places in a table.
  explicit SearchTerms(std::uint64_t seed) : seed_(seed) {}

  void Add(std::string_view term, Handle image);
  // Removing what is not there changes nothing.
  void Remove(std::string_view term, Handle image);

  // Each adds images to `out`, and returns in how many terms it looked: at most `most`.
  std::size_t Exactly(std::string_view term, IdBits& out) const;
  std::size_t BeginningWith(std::string_view prefix, IdBits& out, std::size_t most) const;
  // Of words in which `text` stands anywhere.
  std::size_t Containing(std::string_view text, IdBits& out, std::size_t most) const;

  [[nodiscard]] std::size_t size() const { return order_.size(); }
  void CheckInvariants() const;

 private:
  struct Term {
    std::uint32_t at = 0;  // in its text
    std::uint16_t length = 0;
    bool marked = false;
    Handle only = kNoHandle;        // of one image; kNoHandle when `images` has them
    std::unique_ptr<IdSet> images;  // of several
  };

  [[nodiscard]] std::string_view TextOf(const Term& term) const {
    return std::string_view(texts_[term.marked ? 1 : 0]).substr(term.at, term.length);
  }
  [[nodiscard]] std::uint64_t HashOf(std::string_view text) const;
  [[nodiscard]] Handle Find(std::string_view term) const;
  [[nodiscard]] SortedIds::Place PlaceOf(std::string_view term) const;
  static void Collect(const Term& term, IdBits& out);
  void Drop(Handle handle);
  void Compact();

  const std::uint64_t seed_;
  // All words, and all marked terms, each followed by a zero byte, in no order; what is dropped
  // leaves a hole. Apart, so that looking into words reads no other.
  std::array<std::string, 2> texts_;
  std::size_t holes_ = 0;
  Slab<Term> terms_;
  HandleTable table_;
  SortedIds order_;  // by text
};

}  // namespace shoal::index
