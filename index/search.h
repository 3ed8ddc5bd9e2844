// ImageSearch: the images that this host knows of, findable by their names' words, by patterns,
// digests, platforms and sizes, without any message.
//
// Rules
// - An image is a name and a digest, with how many peers hold it and whether it is here. It comes
//   with its first holder and goes with its last one.
// - What its holders say of size and platforms is kept as the last one said it; what nobody says
//   is unknown. Nothing of it is proved before the image is pulled.
// - Hits come by SearchRank, then those with more holders, then the newest, then by name. A cursor
//   is a position in that order, not a number of hits: what comes and goes between two pages moves
//   nothing else, and a hit is repeated or left out only if its own position changed.
// - A query is bounded by a budget of steps and can be stopped; it then says that it is not whole.
//
// Words are kept as compact sets of images (index/search_terms.h). A query makes one bit for each
// image, intersects, and then looks at few images: at all that are left when they are few, else at
// the first in the order of holders that are left.
//
// Memory, measured by `./dev bench search`: about 260 bytes a name of 57 bytes. At most
// kSearchImagesMax images; more are not taken.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "index/inventory.h"
#include "index/search_query.h"
#include "index/search_terms.h"

namespace shoal::index {

inline constexpr std::size_t kSearchImagesMax = 4'000'000;
inline constexpr int kSearchHitsMax = 1000;  // a page
// About 20 ms of the reference machine: a step is an image or a word that is looked at.
inline constexpr std::size_t kSearchStepsMax = 300'000;

struct SearchHit {
  ImageHolding image;
  std::uint32_t peers = 0;  // that hold it
  bool here = false;
  SearchRank rank = SearchRank::kPattern;
};

struct SearchPage {
  std::vector<SearchHit> hits;
  std::string next;   // the cursor of the next page; "" when this is the last
  bool whole = true;  // false: the budget was used up, or somebody said stop
};

class ImageSearch {
 public:
  // seed: random. images_max: more are not taken.
  explicit ImageSearch(std::uint64_t seed, std::size_t images_max = kSearchImagesMax)
      : terms_(seed), seed_(seed), images_max_(images_max) {}

  enum class Whose { kPeer, kOurs };

  // One more holder, or `holders` more peers. Each is undone by a Remove with the same name, digest
  // and whose. now: from any beginning.
  void Add(Time now, const ImageHolding& image, Whose whose, std::uint32_t holders = 1);
  void Remove(std::string_view name, const Digest& digest, Whose whose);
  // A holder says more of what it holds.
  void Update(const ImageHolding& image);

  struct Budget {
    std::size_t steps = kSearchStepsMax;
    std::function<bool()> stop;  // asked every some thousand steps; empty: never
  };
  // cursor  "" or the `next` of a page of the same query.
  // limit   1 to kSearchHitsMax.
  // Errors  kInvalid for a cursor that is none.
  [[nodiscard]] Result<SearchPage> Find(const SearchQuery& query, std::string_view cursor,
                                        int limit, const Budget& budget) const;

  [[nodiscard]] std::size_t size() const { return images_.size(); }
  [[nodiscard]] std::size_t term_count() const { return terms_.size(); }
  void CheckInvariants() const;

 private:
  struct Image {
    std::uint32_t text = 0;  // in text_: the name, then the platforms
    std::uint16_t name_bytes = 0;
    std::uint8_t platform_bytes = 0;
    bool here = false;
    std::uint32_t peers = 0;
    std::uint32_t since_s = 0;
    Bytes size;
    Digest digest;
  };
  // What decides the order among images of one rank.
  struct Place {
    std::uint32_t holders = 0;
    std::uint32_t since_s = 0;
    std::string_view name;
    Digest digest;
  };
  struct Cursor {
    SearchRank rank = SearchRank::kExact;
    std::uint32_t holders = 0;
    std::uint32_t since_s = 0;
    std::string name;
    Digest digest;
  };
  class Work;  // one query

  static bool Comes(const Place& a, const Place& b);
  static std::string ToText(const Cursor& cursor);
  static Result<Cursor> ParseCursor(std::string_view text);

  [[nodiscard]] std::string_view NameOf(const Image& image) const;
  [[nodiscard]] std::string_view PlatformsOf(const Image& image) const;
  [[nodiscard]] Place PlaceOf(const Image& image) const;
  [[nodiscard]] SortedIds::Place Seek(const Place& place) const;
  [[nodiscard]] std::uint64_t HashOf(std::string_view name, const Digest& digest) const;
  [[nodiscard]] Handle FindImage(std::string_view name, const Digest& digest) const;
  [[nodiscard]] SearchHit ToHit(Handle handle, SearchRank rank) const;
  // Takes it out of the order, changes it, and puts it back.
  template <class Change>
  void Move(Handle handle, const Change& change);
  void SetText(Image& image, std::string_view name, std::string_view platforms);
  void Drop(Handle handle);
  void Compact();
  template <class Visit>
  static void EachTerm(std::string_view name, std::string_view platforms, const Visit& visit);

  SearchTerms terms_;
  const std::uint64_t seed_;
  const std::size_t images_max_;
  Slab<Image> images_;
  HandleTable table_;
  SortedIds order_;    // by Comes
  SortedIds digests_;  // by digest
  std::string text_;
  std::size_t holes_ = 0;
};

}  // namespace shoal::index
