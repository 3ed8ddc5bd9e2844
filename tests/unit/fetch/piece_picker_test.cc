#include "fetch/piece_picker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

namespace shoal::fetch {
namespace {

using Where = PiecePicker::Where;

PieceMap DrawMap(std::string_view pieces) {
  PieceMap map(static_cast<std::int32_t>(pieces.size()));
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i] == '*') map.Set({static_cast<std::int32_t>(i)});
  }
  return map;
}

// A state as drawn: how many hold each piece ("2223333"), which are here ('*') or asked ('1', '2').
PiecePicker DrawPicker(std::string_view holders, std::string_view state, std::int32_t window = 100,
                       std::uint64_t seed = 1) {
  PiecePicker picker(window, Rng(seed));
  const auto count = static_cast<std::int32_t>(holders.size());
  picker.Reset(count);
  for (char level = '1'; level <= '9'; ++level) {
    PieceMap can(count);
    for (std::int32_t i = 0; i < count; ++i) {
      if (holders[static_cast<std::size_t>(i)] >= level) can.Set({i});
    }
    picker.AddHolder(can);
  }
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(state.size()); ++i) {
    const char c = state[static_cast<std::size_t>(i)];
    if (c == '*') picker.SetHere({i});
    for (char n = '1'; n <= '2' && c >= '1' && c <= '2' && n <= c; ++n) picker.MarkAsked({i});
  }
  return picker;
}

// All first pieces that Pick returns over many seeds.
std::set<std::int32_t> Picks(std::string_view holders, std::string_view state, std::string_view can,
                             std::int32_t window = 100, std::int32_t position = 0,
                             Where where = Where::kAnywhere) {
  std::set<std::int32_t> picks;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    PiecePicker picker = DrawPicker(holders, state, window, seed);
    picker.SetPosition({position});
    if (const auto run = picker.Pick(DrawMap(can), 1, where)) picks.insert(run->first.value);
  }
  return picks;
}

using Set = std::set<std::int32_t>;

TEST(PiecePickerTest, AsksForTheRarestPieceFirst) {
  EXPECT_EQ(Picks("2221333", "       ", "*******"), (Set{3}));
}

TEST(PiecePickerTest, PicksAtRandomAmongEquals) {
  EXPECT_EQ(Picks("2223333", "       ", "*******"), (Set{0, 1, 2}));
}

TEST(PiecePickerTest, LeavesWhatIsHereAndWhatIsAsked) {
  EXPECT_EQ(Picks("2223333", "*12    ", "*******"), (Set{3, 4, 5, 6}));
  EXPECT_EQ(Picks("222", "*1*", "***"), Set{});
}

TEST(PiecePickerTest, PicksOnlyWhatTheHolderCanGive) {
  EXPECT_EQ(Picks("1223333", "       ", "   *  *"), (Set{3, 6}));
  EXPECT_EQ(Picks("1223333", "   *  *", "   *  *"), Set{});
}

TEST(PiecePickerTest, StaysInTheWindowWhileThereIsSomething) {
  EXPECT_EQ(Picks("3333111", "       ", "*******", 3), (Set{0, 1, 2}));
  EXPECT_EQ(Picks("3333111", "**     ", "*******", 3), (Set{4}));
}

TEST(PiecePickerTest, GoesBehindTheWindowRatherThanIdle) {
  EXPECT_EQ(Picks("3333111", "111    ", "*******", 3), (Set{4, 5}));
  EXPECT_EQ(Picks("3333111", "111    ", "*******", 3, 0, Where::kWindow), Set{});
}

TEST(PiecePickerTest, TheWindowStartsAtTheSlowestReader) {
  EXPECT_EQ(Picks("1111111", "       ", "*******", 2, 3), (Set{3, 4}));
  EXPECT_EQ(Picks("1111111", "   *   ", "*******", 2, 3), (Set{4, 5}));
}

TEST(PiecePickerTest, ComesBackToWhatLiesBeforeTheReaders) {
  EXPECT_EQ(Picks("1111111", "     **", "*******", 2, 5), (Set{0, 1}));
  EXPECT_EQ(Picks("1111111", "  *  11", "*******", 2, 5), (Set{0, 1}));
}

TEST(PiecePickerTest, ExtendsARunOverEquallyRareNeighbours) {
  PiecePicker picker = DrawPicker("1122221", "**     ");
  EXPECT_EQ(picker
                .Pick(DrawMap("  ****"
                              " "),
                      1, Where::kAnywhere)
                ->count,
            1);
  picker = DrawPicker("3312223", "       ");
  EXPECT_EQ(picker.Pick(DrawMap("*******"), 4, Where::kAnywhere), (PieceRun{{2}, 1}));
  picker = DrawPicker("3311113", "       ");
  for (int i = 0; i < 50; ++i) {
    const PieceRun run = *picker.Pick(DrawMap("*******"), 3, Where::kAnywhere);
    EXPECT_EQ(run.count, std::min(3, 6 - run.first.value));
  }
}

TEST(PiecePickerTest, ARunEndsAtTheWindowAndAtPiecesThatAreTaken) {
  PiecePicker picker = DrawPicker("1111111", "       ", 2);
  for (int i = 0; i < 20; ++i) {
    const PieceRun run = *picker.Pick(DrawMap("*******"), 4, Where::kAnywhere);
    EXPECT_LE(run.first.value + run.count, 2);
  }
  picker = DrawPicker("1111111", " 1*1111");
  EXPECT_EQ(picker.Pick(DrawMap("*******"), 4, Where::kAnywhere), (PieceRun{{0}, 1}));
}

TEST(PiecePickerTest, KnowsWhoIsTheOnlyOneWithSomething) {
  const std::string others(100, '2');
  const std::string whole(101, '*');
  EXPECT_TRUE(DrawPicker(others + '1', "").HasSole(DrawMap(whole)));
  EXPECT_FALSE(DrawPicker(others + '2', "").HasSole(DrawMap(whole)));
  // Somebody else has it alone; it is here; it was asked.
  EXPECT_FALSE(DrawPicker("21", "  ").HasSole(DrawMap("* ")));
  EXPECT_FALSE(DrawPicker("21", " *").HasSole(DrawMap("**")));
  EXPECT_FALSE(DrawPicker("21", " 1").HasSole(DrawMap("**")));
}

TEST(PiecePickerTest, ForgetsHoldersThatLeave) {
  PiecePicker picker = DrawPicker("111", "   ");
  const PieceMap more = DrawMap("** ");
  picker.AddHolder(more);
  EXPECT_EQ(picker.holders({0}), 2);
  picker.RemoveHolder(more);
  EXPECT_EQ(picker.holders({0}), 1);
}

// The same rules, written as plainly as possible.
class NaivePicker {
 public:
  std::vector<int> holders;
  std::vector<int> asked;
  std::vector<bool> here;
  int position = 0;
  int window = 1;

  [[nodiscard]] std::vector<int> Order() const {
    const int count = static_cast<int>(here.size());
    int start = position;
    while (start < count && here[static_cast<std::size_t>(start)]) ++start;
    if (start >= count) {
      start = 0;
      while (start < count && here[static_cast<std::size_t>(start)]) ++start;
    }
    // Each piece's zone: 0 the window, then windows behind it, then windows before it.
    std::vector<int> zone;
    for (int i = 0; i < count; ++i) {
      zone.push_back(i >= start ? (i - start) / window : 1'000'000 + i / window);
    }
    return zone;
  }

  // What may be picked first, given what the holder can give.
  [[nodiscard]] Set Allowed(const PieceMap& can) const {
    const std::vector<int> zone = Order();
    std::pair<int, int> best{1 << 30, 1 << 30};
    Set allowed;
    for (std::size_t i = 0; i < here.size(); ++i) {
      if (here[i] || asked[i] > 0 || !can.Has({static_cast<std::int32_t>(i)})) continue;
      const std::pair rank{zone[i], holders[i]};
      if (rank < best) allowed.clear();
      best = std::min(best, rank);
      if (rank == best) allowed.insert(static_cast<std::int32_t>(i));
    }
    return allowed;
  }
};

TEST(PiecePickerTest, AgreesWithItsNaiveTwin) {
  Rng rng(99);
  for (int round = 0; round < 300; ++round) {
    const auto count = static_cast<std::int32_t>(1 + rng.Below(90));
    const auto window = static_cast<std::int32_t>(1 + rng.Below(12));
    PiecePicker picker(window, Rng(rng.Next()));
    picker.Reset(count);
    NaivePicker twin;
    twin.window = window;
    twin.holders.assign(static_cast<std::size_t>(count), 0);
    twin.asked.assign(static_cast<std::size_t>(count), 0);
    twin.here.assign(static_cast<std::size_t>(count), false);
    for (int step = 0; step < 60; ++step) {
      const auto i = static_cast<std::int32_t>(rng.Below(static_cast<std::uint64_t>(count)));
      const auto at = static_cast<std::size_t>(i);
      PieceMap can(count);
      for (std::int32_t p = 0; p < count; ++p) {
        if (rng.Below(3) != 0) can.Set({p});
      }
      switch (rng.Below(5)) {
        case 0:
          picker.AddHolder(can);
          for (std::int32_t p = 0; p < count; ++p) {
            twin.holders[static_cast<std::size_t>(p)] += can.Has({p}) ? 1 : 0;
          }
          break;
        case 1:
          if (twin.asked[at] > 0) {
            picker.Release({i});
            --twin.asked[at];
          } else if (!twin.here[at]) {
            picker.SetHere({i});
            twin.here[at] = true;
          }
          break;
        case 2:
          if (!twin.here[at] && twin.asked[at] < kAskedMax) {
            picker.MarkAsked({i});
            ++twin.asked[at];
          }
          break;
        case 3:
          picker.SetPosition({i});
          twin.position = i;
          break;
        default:
          const Set allowed = twin.Allowed(can);
          const auto run = picker.Pick(can, 3, Where::kAnywhere);
          ASSERT_EQ(run.has_value(), !allowed.empty());
          if (!run) break;
          ASSERT_TRUE(allowed.contains(run->first.value)) << run->first.value;
          for (std::int32_t k = 0; k < run->count; ++k) {
            ASSERT_TRUE(allowed.contains(run->first.value + k));
          }
      }
    }
  }
}

}  // namespace
}  // namespace shoal::fetch
