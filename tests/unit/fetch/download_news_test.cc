// News that come beside the answers to other requests (Download::OnNews).
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/fetch/download_rig.h"

namespace shoal::fetch {
namespace {

using std::chrono::milliseconds;

// A holder that had something new is asked for its map again after at most this.
constexpr Duration kNextMap = milliseconds(70);

void Tell(DownloadRig& rig, const PeerId& peer, const HolderMap& map) {
  rig.download.OnNews(rig.now, peer, map, rig.actions);
  rig.download.CheckInvariants();
}

// What is asked of a holder, the only one, that has the first two of eight pieces.
FetchPieces AskedOfOneWithTwo(DownloadRig& rig) {
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("**......"));
  return rig.TakeOne<FetchPieces>();
}

bool Asks(const std::vector<FetchPieces>& asked, std::int32_t piece) {
  return std::ranges::any_of(asked, [&](const FetchPieces& one) {
    return one.first.value == piece ||
           std::ranges::find(one.options, PieceIndex{piece}) != one.options.end();
  });
}

TEST(DownloadNewsTest, APieceIsAskedWithWhatIsKnownOfItsHolder) {
  DownloadRig rig;
  EXPECT_EQ(AskedOfOneWithTwo(rig).known, 2);
}

TEST(DownloadNewsTest, ThereAreNoneOfWhoHasEverything) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(8));
  EXPECT_EQ(rig.TakeOne<FetchPieces>().known, 0);
}

TEST(DownloadNewsTest, OneWhoseMapIsBeingAskedTellsThere) {
  DownloadRig rig;
  const FetchPieces first = AskedOfOneWithTwo(rig);
  rig.Chosen(first.id, first.first.value);
  rig.Pass(kNextMap);
  ASSERT_EQ(rig.Count<FetchMap>(), 1);
  rig.Serve(first);
  EXPECT_EQ(rig.TakeOne<FetchPieces>().known, 0);
}

TEST(DownloadNewsTest, PiecesThatAreToldOfAreAskedWithoutAnotherMap) {
  DownloadRig rig;
  const FetchPieces first = AskedOfOneWithTwo(rig);
  Tell(rig, Peer(1), DownloadRig::Map("**...*.."));
  rig.Chosen(first.id, first.first.value);
  rig.Serve(first);
  EXPECT_TRUE(Asks(rig.Take<FetchPieces>(), 5));
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
}

TEST(DownloadNewsTest, TheMapIsAskedLaterForThem) {
  DownloadRig plain;
  DownloadRig told;
  for (DownloadRig* rig : {&plain, &told}) {
    rig->Start({Peer(1)});
    rig->AnswerMapOf(Peer(1), DownloadRig::Map("**......"));
    rig->Pass(milliseconds(5));
  }
  Tell(told, Peer(1), DownloadRig::Map("***....."));
  for (DownloadRig* rig : {&plain, &told}) rig->Pass(milliseconds(6));
  EXPECT_EQ(plain.Count<FetchMap>(), 1);
  EXPECT_EQ(told.Count<FetchMap>(), 0);
  told.Pass(milliseconds(6));
  EXPECT_EQ(told.TakeOne<FetchMap>().known, 3);
}

TEST(DownloadNewsTest, WhatTellsOfNoMoreIsIgnored) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("*****..."));
  rig.Take<FetchPieces>();
  Tell(rig, Peer(1), DownloadRig::Map("***....."));
  Tell(rig, Peer(1), DownloadRig::Map(".....***"));
  Tell(rig, Peer(2), DownloadRig::Map("*******."));
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  EXPECT_EQ(rig.Count<CancelRequest>(), 0);
  EXPECT_EQ(rig.Count<BanPeer>(), 0);
}

TEST(DownloadNewsTest, AMapThatWasWrittenBeforeThemTakesNothingBack) {
  DownloadRig rig;
  const FetchPieces first = AskedOfOneWithTwo(rig);
  rig.Pass(kNextMap);
  const FetchMap asked = rig.TakeOne<FetchMap>();
  Tell(rig, Peer(1), DownloadRig::Map("*****..."));
  rig.AnswerMap(asked.id, DownloadRig::Map("***....."));
  rig.Chosen(first.id, first.first.value);
  rig.Serve(first);
  EXPECT_TRUE(Asks(rig.Take<FetchPieces>(), 4));
  rig.Pass(milliseconds(200));
  EXPECT_EQ(rig.TakeOne<FetchMap>().known, 5) << "and it is asked again as ever";
}

TEST(DownloadNewsTest, AMapThatTellsNoMoreThanTheyDidIsStillNoStandstill) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("**......"));
  rig.Pass(kNextMap);
  const FetchMap asked = rig.TakeOne<FetchMap>();
  Tell(rig, Peer(1), DownloadRig::Map("*****..."));
  rig.AnswerMap(asked.id, DownloadRig::Map("*****..."));
  rig.Pass(milliseconds(200));
  EXPECT_EQ(rig.Count<FetchMap>(), 1) << "a holder that stands still is asked after a second";
}

}  // namespace
}  // namespace shoal::fetch
