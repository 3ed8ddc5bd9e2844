#include "fetch/transport/live_blob.h"

#include <gtest/gtest.h>

namespace shoal::fetch {
namespace {

using namespace shoal::literals;

constexpr Bytes kPiece = 64_KiB;

class LiveBlobTest : public testing::Test {
 protected:
  static Geometry Cut(Bytes size) { return *Geometry::Make(size, kPiece); }

  LiveBlob Make(StreamMode mode = StreamMode::kVerified) {
    return LiveBlob(Digest{}, Cut(kPiece * 3 + 10_B), nullptr, mode,
                    [this](int, PieceIndex piece) { waits_at_ = piece.value; });
  }

  int waits_at_ = -1;
};

TEST_F(LiveBlobTest, LetsReadersAsFarAsVerifiedPiecesReach) {
  LiveBlob live = Make();
  EXPECT_EQ(live.ReadableEnd(0_B), 0_B);
  live.AddPiece({1});
  EXPECT_EQ(live.ReadableEnd(0_B), 0_B);
  EXPECT_EQ(live.ReadableEnd(kPiece + 5_B), kPiece * 2);
  live.AddPiece({0});
  EXPECT_EQ(live.ReadableEnd(0_B), kPiece * 2);
}

TEST_F(LiveBlobTest, HoldsTheLastPieceBackUntilTheDigestIsProved) {
  LiveBlob live = Make();
  for (int i = 0; i < 4; ++i) live.AddPiece({i});
  EXPECT_EQ(live.ReadableEnd(0_B), kPiece * 3);
  EXPECT_EQ(live.ReadableEnd(kPiece * 3), kPiece * 3);
  live.Prove();
  EXPECT_EQ(live.ReadableEnd(0_B), kPiece * 3 + 10_B);
}

TEST_F(LiveBlobTest, HoldsEverythingBackWhenAskedTo) {
  LiveBlob live = Make(StreamMode::kProved);
  for (int i = 0; i < 4; ++i) live.AddPiece({i});
  EXPECT_EQ(live.ReadableEnd(0_B), 0_B);
  live.Prove();
  EXPECT_EQ(live.ReadableEnd(0_B), kPiece * 3 + 10_B);
}

TEST_F(LiveBlobTest, LetsNobodyFurtherWhileHeld) {
  LiveBlob live = Make();
  live.AddPiece({0});
  live.Hold(true);
  EXPECT_EQ(live.ReadableEnd(0_B), 0_B);
  EXPECT_TRUE(live.Covers(0_B, kPiece));  // peers verify what they get
  int woken = 0;
  live.Await(live.Join(), 0_B, [&] { ++woken; });
  live.AddPiece({1});
  EXPECT_EQ(woken, 0);
  EXPECT_FALSE(live.Forget({{0}}, {{1}}));  // nobody saw it
  live.Hold(false);
  EXPECT_EQ(woken, 0);
  live.AddPiece({0});
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(live.ReadableEnd(0_B), kPiece * 2);
}

TEST_F(LiveBlobTest, WakesAReaderOnceWhenItsPieceCame) {
  LiveBlob live = Make();
  const int reader = live.Join();
  int woken = 0;
  live.Await(reader, kPiece, [&] { ++woken; });
  EXPECT_EQ(waits_at_, 1);
  live.AddPiece({0});
  EXPECT_EQ(woken, 0);
  live.AddPiece({1});
  live.AddPiece({2});
  EXPECT_EQ(woken, 1);
  live.Await(reader, kPiece, [&] { ++woken; });  // readable already
  EXPECT_EQ(woken, 2);
}

TEST_F(LiveBlobTest, ALeftReaderIsNotWoken) {
  LiveBlob live = Make();
  const int reader = live.Join();
  int woken = 0;
  live.Await(reader, 0_B, [&] { ++woken; });
  live.Leave(reader);
  EXPECT_EQ(waits_at_, 4);
  live.AddPiece({0});
  EXPECT_EQ(woken, 0);
}

TEST_F(LiveBlobTest, WakesEverybodyWhenItFails) {
  LiveBlob live = Make();
  int woken = 0;
  live.Await(live.Join(), 0_B, [&] { ++woken; });
  live.AwaitPieces(live.Join(), 2, [&] { ++woken; });
  std::optional<bool> proved;
  live.AwaitEnd([&](bool end) { proved = end; });
  live.Fail({Code::kCorrupt, "bad"});
  EXPECT_EQ(woken, 2);
  EXPECT_EQ(proved, false);
  EXPECT_EQ(live.Failure()->text, "bad");
}

TEST_F(LiveBlobTest, WakesAWaiterForMorePieces) {
  LiveBlob live = Make();
  int woken = 0;
  live.AwaitPieces(live.Join(), 1, [&] { ++woken; });
  live.AddPiece({3});
  EXPECT_EQ(woken, 0);
  live.AddPiece({2});
  EXPECT_EQ(woken, 1);
}

TEST_F(LiveBlobTest, CoversWhatLiesInVerifiedPieces) {
  LiveBlob live = Make();
  live.AddPiece({1});
  live.AddPiece({3});
  EXPECT_TRUE(live.Covers(kPiece, kPiece * 2));
  EXPECT_FALSE(live.Covers(kPiece, kPiece * 2 + 1_B));
  EXPECT_FALSE(live.Covers(kPiece - 1_B, kPiece * 2));
  EXPECT_TRUE(live.Covers(kPiece * 3, kPiece * 3 + 10_B));
  live.Forget({{1}}, {});
  EXPECT_FALSE(live.Covers(kPiece, kPiece * 2));
}

TEST_F(LiveBlobTest, FailsForGoodWhenBytesThatWereSentProveWrong) {
  LiveBlob live = Make();
  live.AddPiece({0});
  live.AddPiece({1});
  live.AddPiece({2});
  EXPECT_EQ(live.ReadableEnd(0_B), kPiece * 3);
  EXPECT_TRUE(live.Forget({{1}}, {}));
  EXPECT_TRUE(live.Failure().has_value());
  EXPECT_EQ(live.ReadableEnd(0_B), 0_B);
  live.AddPiece({1});
  live.Prove();
  EXPECT_EQ(live.ReadableEnd(kPiece * 3), kPiece * 3);
}

TEST_F(LiveBlobTest, GoesOnWhenNobodyWasSentWhatProvedWrong) {
  LiveBlob live = Make();
  live.AddPiece({0});
  live.AddPiece({2});
  EXPECT_EQ(live.ReadableEnd(0_B), kPiece);
  EXPECT_FALSE(live.Forget({{2}}, {}));
  EXPECT_FALSE(live.Failure().has_value());
}

TEST_F(LiveBlobTest, AnEmptyBlobIsReadableAtOnceWhenProved) {
  LiveBlob live(Digest{}, Cut(0_B), nullptr, StreamMode::kVerified, nullptr);
  live.AddPiece({0});
  live.Prove();
  EXPECT_EQ(live.ReadableEnd(0_B), 0_B);
  EXPECT_TRUE(live.Covers(0_B, 0_B));
}

}  // namespace
}  // namespace shoal::fetch
