// How a query is answered.
#include <algorithm>
#include <array>
#include <utility>

#include "index/search.h"

namespace shoal::index {
namespace {

// So many are all looked at, and sorted; of more the first in the order of holders are looked for.
constexpr std::size_t kFew = 8192;
constexpr std::size_t kStopEvery = 4096;  // steps
// So many are looked at in order before dear narrowing: what is common is found among them.
constexpr std::size_t kTry = 4000;
// A shorter piece of a word stands in too many terms to be worth looking for.
constexpr std::size_t kPieceMin = 3;

// One word of what is looked for: whether it begins and ends where the image's word does.
struct Piece {
  std::string_view word;
  bool begins = true;
  bool ends = true;
};

// The words of `text`. begins, ends: whether `text` does so where a word of the name may.
std::vector<Piece> PiecesOf(std::string_view text, bool begins, bool ends) {
  std::vector<Piece> pieces;
  for (std::size_t at = 0; at < text.size();) {
    auto end = at;
    while (end < text.size() && IsWordByte(text[end])) ++end;
    if (end > at) {
      pieces.push_back({text.substr(at, end - at), at > 0 || begins, end < text.size() || ends});
    }
    at = end + 1;
  }
  return pieces;
}

}  // namespace

class ImageSearch::Work {
 public:
  Work(const ImageSearch& search, const SearchQuery& query, const Budget& budget,
       std::optional<Cursor> after, int limit)
      : search_(search),
        query_(query),
        budget_(budget),
        after_(std::move(after)),
        limit_(static_cast<std::size_t>(std::clamp(limit, 1, kSearchHitsMax))) {}

  SearchPage Run() {
    Narrow();
    // One more than asked for says whether there is another page.
    if (left_->Count() > kFew && !dear_.empty()) {
      if (TryInOrder()) return Finish();
      Narrow(std::exchange(dear_, {}));
    }
    if (left_->Count() <= kFew) {
      TakeFew(*left_, std::nullopt);
    } else {
      TakeMany();
    }
    return Finish();
  }

 private:
  SearchPage Finish() {
    if (page_.hits.size() > limit_) {
      page_.hits.pop_back();
      page_.next = ToText(last_);
    }
    return std::move(page_);
  }

  // Counts what is looked at. Returns whether to go on.
  bool Step(std::size_t steps = 1) {
    steps_ += steps;
    if (steps_ > budget_.steps) page_.whole = false;
    if (steps_ >= next_stop_) {
      next_stop_ = steps_ + kStopEvery;
      if (budget_.stop && budget_.stop()) page_.whole = false;
    }
    return page_.whole;
  }

  // Leaves what may be meant: all that is, and perhaps more (then is_exact_ is false).
  void Narrow() {
    for (const auto& platform : query_.platforms) {
      IdBits found = None();
      Step(search_.terms_.Exactly("@" + platform, found));
      Keep(std::move(found));
    }
    for (const auto& hex : query_.digests) NarrowToDigest(hex);
    for (const auto& text : query_.texts) {
      const auto pieces = PiecesOf(text, true, false);
      Narrow(pieces);
      if (pieces.size() != 1 || pieces[0].word != text) is_exact_ = false;
    }
    for (const auto& pattern : query_.patterns) NarrowToPattern(pattern);
    for (const auto& tag : query_.tags) NarrowToPattern(tag);
    if (!query_.patterns.empty() || !query_.tags.empty() || query_.size_above ||
        query_.size_below) {
      is_exact_ = false;
    }
    if (left_) return;
    left_.emplace(search_.images_.made());
    search_.order_.Walk({}, [&](Handle handle) {
      left_->Set(handle);
      return true;
    });
  }

  void Keep(IdBits found) {
    if (left_) {
      left_->And(found);
    } else {
      left_ = std::move(found);
    }
  }

  [[nodiscard]] IdBits None() const { return IdBits(search_.images_.made()); }
  // What the budget has left, and one more, so that using it up is noticed.
  [[nodiscard]] std::size_t Most() const {
    return budget_.steps - std::min(budget_.steps, steps_) + 1;
  }

  void Narrow(const std::vector<Piece>& pieces) {
    for (const auto& piece : pieces) {
      if (!page_.whole) return;
      IdBits found = None();
      if (piece.begins && piece.ends) {
        Step(search_.terms_.Exactly(piece.word, found));
      } else if (piece.begins) {
        Step(search_.terms_.BeginningWith(piece.word, found, Most()));
      } else {
        Step(search_.terms_.Containing(piece.word, found, Most()));
      }
      Keep(std::move(found));
    }
  }

  // The words between the pattern's wildcards are words of the name, or parts of them.
  void NarrowToPattern(std::string_view pattern) {
    for (std::size_t at = 0; at < pattern.size();) {
      const auto end = std::min(pattern.find_first_of("*?", at), pattern.size());
      auto pieces = PiecesOf(pattern.substr(at, end - at), at == 0, end == pattern.size());
      for (const auto& piece : pieces) {
        if (!piece.begins && piece.word.size() >= kPieceMin) dear_.push_back(piece);
      }
      std::erase_if(pieces, [](const Piece& piece) { return !piece.begins; });
      Narrow(pieces);
      at = end + 1;
    }
  }

  void NarrowToDigest(std::string_view hex) {
    IdBits found = None();
    std::string least(hex);
    least.resize(64, '0');
    Digest from;
    const auto bytes = FromHex(least);
    std::copy_n(bytes->begin(), from.bytes.size(), from.bytes.begin());
    const auto place =
        search_.digests_.Seek([&](Handle handle) { return search_.images_[handle].digest < from; });
    search_.digests_.Walk(place, [&](Handle handle) {
      if (!std::string_view(search_.images_[handle].digest.Hex()).starts_with(hex)) return false;
      found.Set(handle);
      return Step();
    });
    Keep(std::move(found));
  }

  [[nodiscard]] bool IsAfterCursor(SearchRank rank, const Place& place) const {
    if (!after_) return true;
    if (rank != after_->rank) return rank > after_->rank;
    return Comes({after_->holders, after_->since_s, after_->name, after_->digest}, place);
  }

  std::optional<SearchRank> Rank(const Image& image) {
    const std::string name = ToLower(search_.NameOf(image));
    return RankOf(query_, {name, image.digest, search_.PlatformsOf(image), image.size});
  }

  // All of `bits`, sorted. rank: only those of this one.
  void TakeFew(const IdBits& bits, std::optional<SearchRank> rank) {
    struct Found {
      SearchRank rank;
      Place place;
      Handle handle;
    };
    std::vector<Found> found;
    bits.ForEach([&](Handle handle) {
      if (!Step()) return;
      const auto& image = search_.images_[handle];
      const auto its = Rank(image);
      if (!its || (rank && *its != *rank)) return;
      const auto place = search_.PlaceOf(image);
      if (IsAfterCursor(*its, place)) found.push_back({*its, place, handle});
    });
    const auto wanted = std::min(found.size(), limit_ + 1 - page_.hits.size());
    std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(wanted),
                      found.end(), [](const Found& a, const Found& b) {
                        return a.rank != b.rank ? a.rank < b.rank : Comes(a.place, b.place);
                      });
    for (std::size_t i = 0; i < wanted; ++i) Take(found[i].handle, found[i].rank);
  }

  void Take(Handle handle, SearchRank rank) {
    if (page_.hits.size() < limit_) {
      const auto place = search_.PlaceOf(search_.images_[handle]);
      last_ = {rank, place.holders, place.since_s, std::string(place.name), place.digest};
    }
    page_.hits.push_back(search_.ToHit(handle, rank));
  }

  // Rank by rank, those with most holders first, until the page is full.
  void TakeMany() {
    if (!query_.patterns.empty() || query_.texts.empty()) {
      TakeInOrder(*left_, SearchRank::kPattern);
    } else if (query_.texts.size() > 1) {
      TakeInOrder(*left_, SearchRank::kWord);
    } else {
      TakeByText(query_.texts.front());
    }
  }

  void TakeByText(std::string_view text) {
    const auto pieces = PiecesOf(text, true, false);
    const bool one_word = pieces.size() == 1 && pieces[0].word == text;
    IdBits exact = *left_;
    const auto last = text.substr(text.rfind('/') + 1);
    if (last.find_first_of(":@") == last.npos) {
      IdBits found = None();
      Step(search_.terms_.Exactly("=" + std::string(last), found));
      exact.And(found);
    }
    IdBits begins = *left_;
    if (!pieces.empty() && IsWordByte(text.front())) {
      IdBits found = None();
      const std::string term = "/" + std::string(pieces[0].word);
      Step(pieces[0].ends ? search_.terms_.Exactly(term, found)
                          : search_.terms_.BeginningWith(term, found, Most()));
      begins.And(found);
    }
    IdBits words = *left_;
    if (one_word) {
      // A single word is decided by its terms alone.
      words.AndNot(begins);
      begins.AndNot(exact);
    }
    TakeInOrder(exact, SearchRank::kExact);
    TakeInOrder(begins, SearchRank::kPrefix);
    TakeInOrder(words, SearchRank::kWord);
  }

  // Whether the page is full with what the first kTry in order hold. Patterns have one rank only.
  bool TryInOrder() {
    const auto rank = query_.patterns.empty() && !query_.texts.empty() ? std::optional<SearchRank>()
                                                                       : SearchRank::kPattern;
    if (!rank || (after_ && after_->rank != *rank)) return false;
    std::size_t tried = 0;
    search_.order_.Walk(Begin(*rank), [&](Handle handle) {
      if (!left_->Test(handle)) return true;
      if (++tried > kTry || !Step()) return false;
      const auto& image = search_.images_[handle];
      if (!IsAfterCursor(*rank, search_.PlaceOf(image))) return true;
      if (Rank(image) == *rank) Take(handle, *rank);
      return page_.hits.size() <= limit_;
    });
    if (page_.hits.size() > limit_) return true;
    page_.hits.clear();
    return false;
  }

  [[nodiscard]] SortedIds::Place Begin(SearchRank rank) const {
    if (!after_ || after_->rank != rank) return {};
    return search_.Seek({after_->holders, after_->since_s, after_->name, after_->digest});
  }

  // The first of `bits` that are of `rank`.
  void TakeInOrder(const IdBits& bits, SearchRank rank) {
    if (page_.hits.size() > limit_ || !page_.whole || (after_ && after_->rank > rank)) return;
    if (bits.Count() <= kFew) return TakeFew(bits, rank);
    std::size_t passed = 0;
    search_.order_.Walk(Begin(rank), [&](Handle handle) {
      // A bit costs little beside an image: memory is read in order.
      if (++passed % 64 == 0 && !Step()) return false;
      if (!bits.Test(handle)) return true;
      const auto& image = search_.images_[handle];
      if (!IsAfterCursor(rank, search_.PlaceOf(image))) return true;
      if (!is_exact_ || rank == SearchRank::kExact) {
        if (!Step()) return false;
        if (Rank(image) != rank) return true;
      }
      Take(handle, rank);
      return page_.hits.size() <= limit_;
    });
  }

  const ImageSearch& search_;
  const SearchQuery& query_;
  const Budget& budget_;
  const std::optional<Cursor> after_;
  const std::size_t limit_;
  std::optional<IdBits> left_;  // nullopt: all
  std::vector<Piece> dear_;     // words of which only the middle or the end is known
  bool is_exact_ = true;        // left_ holds nothing that is not meant
  std::size_t steps_ = 0;
  std::size_t next_stop_ = 0;
  Cursor last_;
  SearchPage page_;
};

Result<SearchPage> ImageSearch::Find(const SearchQuery& query, std::string_view cursor, int limit,
                                     const Budget& budget) const {
  std::optional<Cursor> after;
  if (!cursor.empty()) {
    auto parsed = ParseCursor(cursor);
    if (!parsed) return parsed.error();
    after = *std::move(parsed);
  }
  return Work(*this, query, budget, std::move(after), limit).Run();
}

}  // namespace shoal::index
