#include "fetch/piece.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"

namespace shoal::fetch {
namespace {

using namespace shoal::literals;

Geometry Cut(std::int64_t blob, Bytes piece = 16_KiB) {
  return Geometry::Make(Bytes(blob), piece).value();
}

TEST(GeometryTest, AnEmptyBlobHasOnePieceOfNoBytes) {
  const Geometry geometry = Cut(0);
  EXPECT_EQ(geometry.count(), 1);
  EXPECT_EQ(geometry.LengthOf({0}), 0_B);
  EXPECT_EQ(geometry.At(0_B).value, 0);
}

TEST(GeometryTest, CutsEveryByteIntoExactlyOnePiece) {
  for (const std::int64_t size : {1, 63, 16383, 16384, 16385, 32768, 100000}) {
    const Geometry geometry = Cut(size);
    Bytes sum;
    for (PieceIndex i{0}; i.value < geometry.count(); ++i) {
      EXPECT_EQ(geometry.OffsetOf(i), sum);
      EXPECT_GT(geometry.LengthOf(i), 0_B);
      EXPECT_EQ(geometry.At(sum), i);
      sum += geometry.LengthOf(i);
      EXPECT_EQ(geometry.At(sum - 1_B), i);
    }
    EXPECT_EQ(sum, Bytes(size));
    EXPECT_EQ(geometry.At(Bytes(size)), geometry.last());
  }
}

TEST(GeometryTest, RefusesWhatIsOutsideItsLimits) {
  EXPECT_FALSE(Geometry::Make(Bytes(-1), 1_MiB).ok());
  EXPECT_FALSE(Geometry::Make(kBlobBytesMax + 1_B, 64_MiB).ok());
  EXPECT_TRUE(Geometry::Make(kBlobBytesMax, 64_MiB).ok());
  EXPECT_TRUE(Geometry::Make(kBlobBytesMax, 1_MiB).ok());  // exactly kPiecesMax
  EXPECT_FALSE(Geometry::Make(kBlobBytesMax, 16_KiB).ok());
  EXPECT_FALSE(Geometry::Make(1_MiB, 16_KiB - 64_B).ok());
  EXPECT_FALSE(Geometry::Make(1_MiB, 16_KiB + 1_B).ok());
  EXPECT_FALSE(Geometry::Make(1_MiB, 64_MiB + 64_B).ok());
  EXPECT_FALSE(Geometry::Make(1_MiB, 0_B).ok());
  EXPECT_FALSE(Geometry::Make(1_MiB, Bytes(-64)).ok());
}

TEST(PieceMapTest, AFullMapHasExactlyItsPieces) {
  for (const std::int32_t count : {0, 1, 63, 64, 65, 128, 1000}) {
    const PieceMap full(count, true);
    EXPECT_TRUE(full.all());
    EXPECT_EQ(full.count(), count);
    EXPECT_EQ(full.FirstAbsent().value, count);
    PieceMap filled(count);
    for (PieceIndex i{0}; i.value < count; ++i) EXPECT_TRUE(filled.Set(i));
    EXPECT_EQ(filled, full);
  }
}

TEST(PieceMapTest, BehavesLikeASet) {
  Rng rng(7);
  for (int round = 0; round < 50; ++round) {
    const auto count = static_cast<std::int32_t>(1 + rng.Below(200));
    PieceMap map(count);
    std::set<std::int32_t> twin;
    for (int step = 0; step < 300; ++step) {
      const PieceIndex i{static_cast<std::int32_t>(rng.Below(static_cast<std::uint64_t>(count)))};
      if (rng.Below(3) != 0) {
        EXPECT_EQ(map.Set(i), twin.insert(i.value).second);
      } else {
        map.Clear(i);
        twin.erase(i.value);
      }
      EXPECT_EQ(map.Has(i), twin.contains(i.value));
      ASSERT_EQ(map.count(), static_cast<std::int32_t>(twin.size()));
      std::int32_t absent = i.value;
      while (absent < count && twin.contains(absent)) ++absent;
      ASSERT_EQ(map.FirstAbsent(i).value, absent);
    }
    EXPECT_EQ(PieceMap::FromRuns(map.ToRuns(), count).value(), map);
  }
}

TEST(PieceMapTest, WritesRunsShortly) {
  PieceMap map(100);
  EXPECT_EQ(map.ToRuns(), "");
  for (std::int32_t i = 0; i <= 11; ++i) map.Set({i});
  map.Set({14});
  map.Set({98});
  map.Set({99});
  EXPECT_EQ(map.ToRuns(), "0-11,14,98-99");
}

TEST(PieceMapTest, RefusesRunsThatAreNotAscendingOrOutside) {
  for (const char* bad :
       {"5-3", "0,0", "0-4,4", "0-4,5", "3,1",   "10", "0-10", "-1", "1-",          "-",
        ",",   "1,",  ",1",    "a",     "1-2-3", " 1", "1 ",   "+1", "99999999999", "0x1"}) {
    EXPECT_FALSE(PieceMap::FromRuns(bad, 10).ok()) << bad;
  }
  EXPECT_TRUE(PieceMap::FromRuns("", 10).ok());
  EXPECT_TRUE(PieceMap::FromRuns("0-9", 10)->all());
  EXPECT_TRUE(PieceMap::FromRuns("0,2,4-5,9", 10).ok());
  EXPECT_FALSE(PieceMap::FromRuns("", kPiecesMax + 1).ok());
}

TEST(CutForTest, CutsSmallBlobsSmallerAndVeryLargeOnesLarger) {
  const Bytes usual(1 << 20);
  const auto piece = [&](std::int64_t size) { return CutFor(Bytes(size), usual).value().piece(); };
  EXPECT_EQ(piece(0), Bytes(256 << 10));
  EXPECT_EQ(piece(64 << 20), Bytes(256 << 10));
  EXPECT_EQ(piece((256 << 20) - 1), Bytes(256 << 10));
  EXPECT_EQ(piece(256 << 20), Bytes(512 << 10));
  EXPECT_EQ(piece(512 << 20), usual);
  EXPECT_EQ(piece(std::int64_t{8} << 30), usual);
  EXPECT_EQ(piece(std::int64_t{9} << 30), Bytes(2 << 20));
  EXPECT_EQ(piece(std::int64_t{1} << 40), Bytes(4 << 20));
}

TEST(CutForTest, KeepsASmallPieceThatIsAskedFor) {
  EXPECT_EQ(CutFor(Bytes(1 << 20), kPieceBytesMin).value().piece(), kPieceBytesMin);
}

TEST(CutForTest, RefusesWhatGeometryRefuses) {
  EXPECT_FALSE(CutFor(Bytes(1), Bytes(65)).ok());
  EXPECT_FALSE(CutFor(Bytes(-1), Bytes(1 << 20)).ok());
}

}  // namespace
}  // namespace shoal::fetch
