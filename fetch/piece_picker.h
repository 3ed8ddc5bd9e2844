// PiecePicker: which piece to ask for next.
//
// Passive: it owns no peer and no request. It counts who has what, what is asked and what is here,
// and answers Pick. Pieces are taken from a window that starts at the first absent piece the
// slowest reader waits for, so that the stream to the runtime keeps moving; inside it the rarest
// first, so that fetchers of one blob soon have different pieces to give each other; at random
// among equals, so that they do not all ask for the same.
// Source: Legout et al., "Rarest first and choke algorithms are enough", IMC 2006.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/rng.h"
#include "fetch/piece.h"

namespace shoal::fetch {

// Neighbouring pieces [first, first + count).
struct PieceRun {
  PieceIndex first;
  std::int32_t count = 0;
  bool operator==(const PieceRun&) const = default;
};

// How often one piece may be asked at a time: once, and once more in the end game.
inline constexpr int kAskedMax = 2;

class PiecePicker {
 public:
  enum class Where {
    kWindow,    // only in the window
    kAnywhere,  // in the window, else behind it, else before it
  };

  // window_pieces  at least 1.
  PiecePicker(std::int32_t window_pieces, Rng rng);

  // Starts anew: a blob of `count` pieces, none here, none asked, no holders.
  void Reset(std::int32_t count);

  [[nodiscard]] const PieceMap& here() const { return here_; }
  void SetHere(PieceIndex i) { here_.Set(i); }
  void ClearHere(PieceIndex i) { here_.Clear(i); }

  // A holder can give these pieces now; or no longer, with the same map as before.
  void AddHolder(const PieceMap& can);
  void RemoveHolder(const PieceMap& can);
  // What it can give changed: the same as both, at the cost of what differs.
  void ChangeHolder(const PieceMap& before, const PieceMap& after);
  // How many holders can give piece i.
  [[nodiscard]] int holders(PieceIndex i) const { return holders_[At(i)]; }

  void MarkAsked(PieceIndex i);
  void Release(PieceIndex i);
  [[nodiscard]] int asked(PieceIndex i) const { return asked_[At(i)]; }

  // Where the slowest reader is; {0} when nobody reads.
  void SetPosition(PieceIndex i) { position_ = i; }
  // The window as a run of pieces; empty when nothing is absent.
  [[nodiscard]] PieceRun Window() const;
  // Absent, and asked of nobody.
  [[nodiscard]] bool Free(PieceIndex i) const { return !here_.Has(i) && asked(i) == 0; }

  // Whether a holder that can give `can` is the only one with some free piece.
  [[nodiscard]] bool HasSole(const PieceMap& can) const;

  // Picks a run for a holder that can give `can`. Does not mark it.
  //
  // budget   pieces, at least 1.
  // Returns  a run of equally rare free pieces; nothing when there is none.
  std::optional<PieceRun> Pick(const PieceMap& can, std::int32_t budget, Where where);
  // Further free pieces that would do as well: half of the window, the others of beyond it, each
  // time the rarest first, at random among equals. Never more than a quarter of the free pieces
  // that the holder can give, so that there is something left to ask others for.
  //
  // max      pieces, at least 1.
  std::vector<PieceIndex> PickOptions(const PieceMap& can, std::int32_t max);

 private:
  static std::size_t At(PieceIndex i) { return static_cast<std::size_t>(i.value); }
  void Raise(PieceIndex i);
  void Lower(PieceIndex i);
  static std::int32_t NextWord(std::int32_t at) {
    return (at / PieceMap::kWordBits + 1) * PieceMap::kWordBits;
  }
  // The free pieces of [at, to) that `can` has, as bits of the word that `at` lies in.
  [[nodiscard]] std::uint64_t FreeWord(const PieceMap& can, std::int32_t at, std::int32_t to) const;
  // The first of [from, to); `to` when there is none.
  [[nodiscard]] std::int32_t FirstFree(const PieceMap& can, std::int32_t from,
                                       std::int32_t to) const;
  // Calls `each` with every free piece of [from, to) that `can` has, ascending.
  template <class Each>
  void ForEachFree(const PieceMap& can, std::int32_t from, std::int32_t to, Each&& each) const;
  // The rarest free piece of [from, to), at random among equals, and its equally rare neighbours.
  std::optional<PieceRun> PickIn(const PieceMap& can, std::int32_t from, std::int32_t to,
                                 std::int32_t budget);
  // The same in the first of the stretches, each as long as the window, that has a free piece.
  std::optional<PieceRun> PickNear(const PieceMap& can, std::int32_t from, std::int32_t to,
                                   std::int32_t budget);
  // Appends the `count` rarest free pieces of [from, to); at random among equals.
  void Rarest(const PieceMap& can, std::int32_t from, std::int32_t to, std::size_t count,
              std::vector<PieceIndex>& out);

  std::int32_t window_pieces_;
  Rng rng_;
  PieceIndex position_;
  PieceMap here_;
  std::vector<std::uint16_t> holders_;
  std::vector<std::uint8_t> asked_;
  PieceMap taken_;  // asked of anybody
};

}  // namespace shoal::fetch
