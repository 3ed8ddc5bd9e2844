#include "fetch/piece_picker.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace shoal::fetch {

PiecePicker::PiecePicker(std::int32_t window_pieces, Rng rng)
    : window_pieces_(window_pieces), rng_(rng) {
  SHOAL_CHECK(window_pieces >= 1);
}

void PiecePicker::Reset(std::int32_t count) {
  here_ = PieceMap(count);
  holders_.assign(static_cast<std::size_t>(count), 0);
  asked_.assign(static_cast<std::size_t>(count), 0);
  taken_ = PieceMap(count);
}

std::uint64_t PiecePicker::FreeWord(const PieceMap& can, std::int32_t at, std::int32_t to) const {
  constexpr std::int32_t kBits = PieceMap::kWordBits;
  const auto word = static_cast<std::size_t>(at / kBits);
  std::uint64_t free = can.Word(word) & ~here_.Word(word) & ~taken_.Word(word);
  free &= ~std::uint64_t{0} << (at % kBits);
  if (const std::int32_t left = to - at / kBits * kBits; left < kBits) {
    free &= (std::uint64_t{1} << left) - 1;
  }
  return free;
}

template <class Each>
void PiecePicker::ForEachFree(const PieceMap& can, std::int32_t from, std::int32_t to,
                              Each&& each) const {
  for (std::int32_t at = from; at < to; at = NextWord(at)) {
    PieceMap::ForEachBit(static_cast<std::size_t>(at / PieceMap::kWordBits), FreeWord(can, at, to),
                         each);
  }
}

std::int32_t PiecePicker::FirstFree(const PieceMap& can, std::int32_t from, std::int32_t to) const {
  for (std::int32_t at = from; at < to; at = NextWord(at)) {
    if (const std::uint64_t free = FreeWord(can, at, to); free != 0) {
      return at / PieceMap::kWordBits * PieceMap::kWordBits + std::countr_zero(free);
    }
  }
  return to;
}

void PiecePicker::Raise(PieceIndex i) {
  SHOAL_CHECK(holders_[At(i)] < std::numeric_limits<std::uint16_t>::max());
  ++holders_[At(i)];
}

void PiecePicker::Lower(PieceIndex i) {
  SHOAL_CHECK(holders_[At(i)] > 0);
  --holders_[At(i)];
}

void PiecePicker::AddHolder(const PieceMap& can) {
  SHOAL_CHECK(can.size() == here_.size());
  for (std::size_t w = 0; w < can.words(); ++w) {
    PieceMap::ForEachBit(w, can.Word(w), [this](PieceIndex i) { Raise(i); });
  }
}

void PiecePicker::RemoveHolder(const PieceMap& can) {
  SHOAL_CHECK(can.size() == here_.size());
  for (std::size_t w = 0; w < can.words(); ++w) {
    PieceMap::ForEachBit(w, can.Word(w), [this](PieceIndex i) { Lower(i); });
  }
}

void PiecePicker::ChangeHolder(const PieceMap& before, const PieceMap& after) {
  SHOAL_CHECK(before.size() == here_.size() && after.size() == here_.size());
  for (std::size_t w = 0; w < after.words(); ++w) {
    const std::uint64_t old = before.Word(w);
    const std::uint64_t now = after.Word(w);
    if (old == now) continue;
    PieceMap::ForEachBit(w, now & ~old, [this](PieceIndex i) { Raise(i); });
    PieceMap::ForEachBit(w, old & ~now, [this](PieceIndex i) { Lower(i); });
  }
}

void PiecePicker::MarkAsked(PieceIndex i) {
  SHOAL_CHECK(!here_.Has(i) && asked_[At(i)] < kAskedMax);
  ++asked_[At(i)];
  taken_.Set(i);
}

void PiecePicker::Release(PieceIndex i) {
  SHOAL_CHECK(asked_[At(i)] > 0);
  if (--asked_[At(i)] == 0) taken_.Clear(i);
}

PieceRun PiecePicker::Window() const {
  PieceIndex start = here_.FirstAbsent(position_);
  // Everything from the readers on is here: what is left lies before them.
  if (start.value >= here_.size()) start = here_.FirstAbsent();
  return {start, std::min(window_pieces_, here_.size() - start.value)};
}

bool PiecePicker::HasSole(const PieceMap& can) const {
  SHOAL_CHECK(can.size() == here_.size());
  for (std::int32_t at = 0; at < can.size(); at = NextWord(at)) {
    bool sole = false;
    PieceMap::ForEachBit(static_cast<std::size_t>(at / PieceMap::kWordBits),
                         FreeWord(can, at, can.size()),
                         [&](PieceIndex i) { sole |= holders(i) == 1; });
    if (sole) return true;
  }
  return false;
}

std::optional<PieceRun> PiecePicker::Pick(const PieceMap& can, std::int32_t budget, Where where) {
  SHOAL_CHECK(budget >= 1 && can.size() == here_.size());
  const PieceRun window = Window();
  const std::int32_t start = window.first.value;
  const std::int32_t end = start + window.count;
  if (auto run = PickIn(can, start, end, budget)) return run;
  if (where == Where::kWindow) return std::nullopt;
  if (auto run = PickNear(can, end, here_.size(), budget)) return run;
  return PickNear(can, 0, start, budget);
}

std::optional<PieceRun> PiecePicker::PickNear(const PieceMap& can, std::int32_t from,
                                              std::int32_t to, std::int32_t budget) {
  const std::int32_t first = FirstFree(can, from, to);
  if (first == to) return std::nullopt;
  const std::int32_t stretch = first - (first - from) % window_pieces_;
  return PickIn(can, stretch, std::min(to, stretch + window_pieces_), budget);
}

std::vector<PieceIndex> PiecePicker::PickOptions(const PieceMap& can, std::int32_t max) {
  SHOAL_CHECK(max >= 1 && can.size() == here_.size());
  std::size_t free = 0;
  for (std::int32_t at = 0; at < can.size(); at = NextWord(at)) {
    free += static_cast<std::size_t>(std::popcount(FreeWord(can, at, can.size())));
  }
  const std::size_t budget = std::min(static_cast<std::size_t>(max), free / 4);
  std::vector<PieceIndex> options;
  if (budget == 0) return options;
  const PieceRun window = Window();
  const std::int32_t end = window.first.value + window.count;
  Rarest(can, window.first.value, end, (budget + 1) / 2, options);
  Rarest(can, end, here_.size(), budget - options.size(), options);
  return options;
}

void PiecePicker::Rarest(const PieceMap& can, std::int32_t from, std::int32_t to, std::size_t count,
                         std::vector<PieceIndex>& out) {
  struct Lot {
    int holders;
    std::uint32_t lot;
    std::int32_t piece;
    auto operator<=>(const Lot&) const = default;
  };
  std::vector<Lot> lots;
  ForEachFree(can, from, to, [&](PieceIndex i) {
    lots.push_back({holders(i), static_cast<std::uint32_t>(rng_.Next()), i.value});
  });
  const std::size_t taken = std::min(count, lots.size());
  std::ranges::partial_sort(lots, lots.begin() + static_cast<std::ptrdiff_t>(taken));
  for (std::size_t k = 0; k < taken; ++k) out.push_back({lots[k].piece});
}

std::optional<PieceRun> PiecePicker::PickIn(const PieceMap& can, std::int32_t from, std::int32_t to,
                                            std::int32_t budget) {
  std::optional<PieceIndex> best;
  std::uint64_t equals = 0;
  ForEachFree(can, from, to, [&](PieceIndex i) {
    if (!best || holders(i) < holders(*best)) {
      best = i;
      equals = 1;
    } else if (holders(i) == holders(*best) && rng_.Below(++equals) == 0) {
      best = i;  // each of n equals stays with probability 1/n
    }
  });
  if (!best) return std::nullopt;
  PieceRun run{*best, 1};
  while (run.count < budget) {
    const PieceIndex next = run.first + run.count;
    if (next.value >= to || !can.Has(next) || !Free(next)) break;
    if (holders(next) != holders(run.first)) break;
    ++run.count;
  }
  return run;
}

}  // namespace shoal::fetch
