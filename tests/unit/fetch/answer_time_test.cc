#include "fetch/answer_time.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/fetch/download_rig.h"

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;

TEST(AnswerTimeTest, IsUnknownBeforeTheFirstPiece) {
  const AnswerTime time;
  EXPECT_EQ(time.usual(), std::nullopt);
  EXPECT_EQ(time.most(), 0us);
}

TEST(AnswerTimeTest, FollowsWhatPiecesTakeAndHowMuchThatVaries) {
  AnswerTime time;
  time.OnAnswer(400ms);
  EXPECT_EQ(time.usual(), 400ms);
  EXPECT_EQ(time.most(), 1200ms);
  for (int piece = 0; piece < 100; ++piece) time.OnAnswer(200ms);
  EXPECT_NEAR(static_cast<double>(time.usual()->count()), 200e3, 1e3);
  EXPECT_NEAR(static_cast<double>(time.most().count()), 200e3, 2e3);
  for (int piece = 0; piece < 100; ++piece) time.OnAnswer(piece % 2 == 0 ? 100ms : 300ms);
  EXPECT_NEAR(static_cast<double>(time.usual()->count()), 200e3, 20e3);
  EXPECT_NEAR(static_cast<double>(time.most().count()), 600e3, 60e3);
}

// A holder of `pieces` pieces whose first one took `took`, without a byte before.
FetchPieces SecondAfter(DownloadRig& rig, std::int32_t pieces, Duration took) {
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(pieces));
  const FetchPieces first = rig.TakeOne<FetchPieces>();
  for (Duration passed{0}; passed + 400ms < took; passed += 400ms) {
    rig.Pass(400ms);
    rig.BytesCame(first.id, 1);
  }
  rig.now += took % 400ms;
  rig.Serve(first);
  return rig.Take<FetchPieces>().front();
}

// The second piece is taken back when nothing of it came for so long, give or take 10 ms.
void ExpectStall(DownloadRig& rig, const FetchPieces& second, Duration stall) {
  rig.Pass(stall - 10ms);
  EXPECT_EQ(rig.Count<CancelRequest>(), 0);
  rig.Pass(20ms);
  EXPECT_EQ(rig.TakeOne<CancelRequest>().id, second.id);
}

TEST(DownloadTest, WherePiecesTakeLongAStallIsLonger) {
  DownloadRig rig;
  ExpectStall(rig, SecondAfter(rig, 2, 350ms), 1050ms);  // nearly all take at most that
}

TEST(DownloadTest, WherePiecesAreQuickAStallIsWhatWasConfigured) {
  DownloadRig rig;
  ExpectStall(rig, SecondAfter(rig, 2, 10ms), 500ms);
}

TEST(DownloadTest, AStallIsNeverLongerThanFourTimesWhatWasConfigured) {
  DownloadRig rig(false);
  ExpectStall(rig, SecondAfter(rig, 2, 7900ms), 2s);
}

// Whoever was slow must not keep the last piece for long.
TEST(DownloadTest, AfterASlowPieceTheNextIsAskedTwiceInTimeAllTheSame) {
  DownloadRig rig(false);
  const FetchPieces second = SecondAfter(rig, 2, 7900ms);
  rig.Resolved({Peer(2)});
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(2));
  for (int k = 0; k < 5; ++k) {
    rig.Pass(390ms);
    rig.BytesCame(second.id, 1);
  }
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  rig.Pass(100ms);
  EXPECT_EQ(rig.TakeOne<FetchPieces>().peer, Peer(2));
}

TEST(DownloadTest, APieceIsAskedTwiceOnlyWhenItIsLaterThanPiecesUsuallyAre) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  for (int p = 1; p <= 2; ++p) rig.AnswerMapOf(Peer(p), DownloadRig::Whole(3));
  const auto firsts = rig.Take<FetchPieces>();
  ASSERT_EQ(firsts.size(), 2U);
  // Both come after 300 ms, so nearly all take at most 300 + 4 * 112 ms; and in one moment, which
  // looks like a fast link.
  rig.now += 200ms;
  for (const FetchPieces& first : firsts) rig.BytesCame(first.id, 1);
  rig.now += 100ms;
  for (const FetchPieces& first : firsts) {
    rig.BytesCame(first.id, kPieceBytesMin.count() - 1);
    rig.Piece(first.id, first.first.value);
    rig.Done(first.id);
  }
  const FetchPieces last = rig.TakeOne<FetchPieces>();
  rig.Pass(450ms);
  rig.BytesCame(last.id, 1);
  rig.Pass(290ms);
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  rig.Pass(30ms);
  EXPECT_NE(rig.TakeOne<FetchPieces>().peer, last.peer);
}

TEST(DownloadTest, WhoCouldAskForMoreAsksForMapsSooner) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  const RequestId other = rig.Take<FetchMap>().back().id;
  // Pieces come every 100 ms: maps of others than the lead are due after six times that.
  rig.AnswerMap(other - 1, DownloadRig::Map(std::string(50, '*') + std::string(50, ' '), 'a', 51));
  int served = 0;
  while (served < 49) {
    rig.now += 100ms;
    const auto asked = rig.Take<FetchPieces>();
    ASSERT_FALSE(asked.empty());
    for (const FetchPieces& run : asked) {
      rig.Serve(run);
      ++served;
      if (served < 49) rig.now += 100ms;
    }
  }
  rig.ServeAll();
  // It has nothing left to ask for. A holder with a new piece is asked for more after 250 ms,
  // not after a second.
  const auto with = [](int pieces) {
    const auto many = static_cast<std::size_t>(pieces);
    return DownloadRig::Map(std::string(50, ' ') + std::string(many, '*') +
                            std::string(50 - many, ' '));
  };
  rig.Take<FetchMap>();
  rig.AnswerMap(other, with(1));
  for (const FetchMap& poll : rig.Take<FetchMap>()) {
    if (poll.peer == Peer(2)) rig.AnswerMap(poll.id, with(2));
  }
  const auto asks = [&] {
    const auto maps = rig.Take<FetchMap>();
    return std::ranges::count(maps, Peer(2), &FetchMap::peer);
  };
  rig.Pass(240ms);
  EXPECT_EQ(asks(), 0);
  rig.Pass(20ms);
  EXPECT_EQ(asks(), 1);
}

}  // namespace
}  // namespace shoal::fetch
