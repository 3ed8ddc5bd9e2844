// The rules of download.h, one by one: 1 to 5. The others are in download_end_test.cc.
#include "fetch/download.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/fetch/download_rig.h"

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;

std::set<PeerId> Peers(const std::vector<FetchMap>& maps) {
  std::set<PeerId> peers;
  for (const FetchMap& map : maps) peers.insert(map.peer);
  return peers;
}

// Rule 1: maps, then pieces.

TEST(DownloadTest, AsksAllKnownHoldersForTheirMapsAtOnce) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2), Peer(3)});
  EXPECT_EQ(Peers(rig.Take<FetchMap>()), (std::set{Peer(1), Peer(2), Peer(3)}));
  EXPECT_EQ(rig.Count<ResolveHolders>(), 1);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
}

TEST(DownloadTest, AsksNoMoreMapsAtOnceThanItsLimit) {
  DownloadLimits limits = DownloadRig::SmallLimits();
  limits.holders_max = 2;
  DownloadRig rig(true, limits);
  rig.Start({Peer(1), Peer(2), Peer(3)});
  const auto maps = rig.Take<FetchMap>();
  ASSERT_EQ(maps.size(), 2U);
  rig.Failed(maps[0].id, Code::kNotFound);
  EXPECT_EQ(rig.TakeOne<FetchMap>().peer, Peer(3));
}

TEST(DownloadTest, RemembersABoundedNumberOfPeers) {
  DownloadLimits limits = DownloadRig::SmallLimits();
  limits.holders_max = 2;
  DownloadRig rig(true, limits);
  std::vector<PeerId> many;
  for (int i = 1; i <= 200; ++i) many.push_back(Peer(i));
  rig.Start(many);  // CheckInvariants looks at the table
  EXPECT_EQ(rig.Count<FetchMap>(), 2);
}

TEST(DownloadTest, TheFirstRequestIsOnePieceInTheSameEventAsTheMap) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20));
  EXPECT_EQ(rig.TakeOne<UseGeometry>().geometry, DownloadRig::Pieces(20));
  EXPECT_EQ(rig.Count<LearnState>(), 19);
  const FetchPieces first = rig.TakeOne<FetchPieces>();
  EXPECT_EQ(first.first.value, 0);
  EXPECT_EQ(first.count, 1);
}

TEST(DownloadTest, StartsWhereTheReaderWaits) {
  DownloadRig rig;
  rig.Reader(1, 7);
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20));
  EXPECT_EQ(rig.TakeOne<FetchPieces>().first.value, 7);
}

TEST(DownloadTest, AProvenPeerGetsSeveralRunsAtATime) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(40));
  const FetchPieces first = rig.TakeOne<FetchPieces>();
  rig.Piece(first.id, 0);
  int pieces = 0;
  const auto asked = rig.Take<FetchPieces>();
  for (const FetchPieces& run : asked) pieces += run.count;
  EXPECT_EQ(pieces, 4);
  EXPECT_GE(asked.size(), 2U);
}

TEST(DownloadTest, AsksAHolderOnlyForWhatItsMapListsAndItVouchesFor) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(6));
  rig.Take<FetchPieces>();
  // Peer 2 lists pieces 2, 3 and 5, but its chain ends before piece 3.
  rig.AnswerMapOf(Peer(2), DownloadRig::Map("  ** *", 'a', 4));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  EXPECT_EQ(run.peer, Peer(2));
  EXPECT_EQ(run.first.value, 2);
  EXPECT_EQ(run.count, 1);
  rig.Piece(run.id, 2);
  rig.Done(run.id);
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
}

TEST(DownloadTest, FetchesFromAllHoldersInParallel) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2), Peer(3)});
  for (int p = 1; p <= 3; ++p) rig.AnswerMapOf(Peer(p), DownloadRig::Whole(50));
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.download.sources().peers.size(), 3U);
  EXPECT_EQ(rig.download.sources().wasted, Bytes(0));
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
}

TEST(DownloadTest, KeepsALongPollAtAHolderThatIsStillGrowing) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("***   ", 'a', 4));
  rig.Pass(20ms);
  const FetchMap poll = rig.TakeOne<FetchMap>();
  EXPECT_EQ(poll.known, 3);
  rig.ServeAll();
  rig.now += 100ms;
  rig.AnswerMap(poll.id, DownloadRig::Whole(6));
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
  EXPECT_EQ(rig.Count<UseGeometry>(), 1);
}

TEST(DownloadTest, AHolderThatBreaksTheLongPollIsNotAskedInACircle) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("*     ", 'a', 2));
  rig.Pass(20ms);
  for (int i = 0; i < 5; ++i) {
    const auto polls = rig.Take<FetchMap>();
    ASSERT_LE(polls.size(), 1U);
    for (const FetchMap& poll : polls) rig.AnswerMap(poll.id, DownloadRig::Map("*     ", 'a', 2));
    rig.Pass(100ms);
  }
  EXPECT_EQ(rig.Count<FetchMap>(), 0);  // half a second after the first one
}

// Rule 2: nobody known.

TEST(DownloadTest, AsksTheUpstreamAsSoonAsNobodyIsFound) {
  DownloadRig rig;
  rig.Start();
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Resolved();
  const FetchUpstream run = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(run.first.value, 0);
  EXPECT_FALSE(run.count);
}

// How long until holders are looked for again, while a piece comes every 100 ms or none does.
Duration PauseOfLooks(DownloadRig& rig, bool pieces_come) {
  const Time before = rig.now;
  while (rig.Count<ResolveHolders>() == 0 && rig.now < before + 60s) {
    const auto asked = pieces_come ? rig.Take<FetchPieces>() : std::vector<FetchPieces>();
    for (const FetchPieces& run : asked) rig.Serve(run);
    rig.Pass(100ms);
  }
  rig.Take<ResolveHolders>();
  rig.Resolved();
  return rig.now - before;
}

std::vector<PeerId> Peers(int count) {
  std::vector<PeerId> peers;
  for (int i = 1; i <= count; ++i) peers.push_back(Peer(i));
  return peers;
}

void StartWithHolders(DownloadRig& rig, int holders) {
  const auto peers = Peers(holders);
  rig.Start();
  rig.Take<ResolveHolders>();
  rig.Resolved(peers);
  for (const PeerId& peer : peers) rig.AnswerMapOf(peer, DownloadRig::Whole(10'000));
}

TEST(DownloadTest, HoldersAreLookedForLessOftenWhilePiecesComeFromPeers) {
  DownloadRig rig;
  StartWithHolders(rig, 1);
  std::vector<Duration> pauses;
  for (int look = 0; look < 5; ++look) pauses.push_back(PauseOfLooks(rig, true));
  EXPECT_EQ(pauses, (std::vector<Duration>{1s, 2s, 4s, 8s, 8s}));
  EXPECT_LE(PauseOfLooks(rig, false), 1100ms);
  EXPECT_EQ(PauseOfLooks(rig, false), 1s);
}

TEST(DownloadTest, WhoHasManyHoldersRarelyLooksForMore) {
  DownloadRig rig;
  StartWithHolders(rig, 8);
  EXPECT_EQ(PauseOfLooks(rig, true), 1s);
  EXPECT_EQ(PauseOfLooks(rig, true), 30s);
  EXPECT_LE(PauseOfLooks(rig, false), 1100ms);
}

TEST(DownloadTest, ManyHoldersOfTheCatalogAreAskedForMapsAFewAtATime) {
  DownloadRig rig;
  rig.Start(Peers(20));
  EXPECT_EQ(rig.Take<FetchMap>().size(), 6U);
  rig.Pass(49ms);
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
  rig.Pass(1ms);
  EXPECT_EQ(rig.Take<FetchMap>().size(), 6U);
  rig.Pass(50ms);
  rig.Pass(50ms);
  EXPECT_EQ(rig.Take<FetchMap>().size(), 8U);
}

TEST(DownloadTest, AHolderOfTheCatalogThatHasNothingMakesPlaceForTheNext) {
  DownloadRig rig;
  rig.Start(Peers(20));
  const auto maps = rig.Take<FetchMap>();
  ASSERT_EQ(maps.size(), 6U);
  rig.AnswerMap(maps[0].id, DownloadRig::Whole(100));
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
  rig.Failed(maps[1].id, Code::kNotFound);
  rig.AnswerMap(maps[2].id, DownloadRig::Map(std::string(100, ' ')));
  EXPECT_EQ(rig.Take<FetchMap>().size(), 2U);
}

// Those that come meanwhile, fetchers for the most part, have less than those that the catalog
// lists.
TEST(DownloadTest, HoldersOfTheCatalogThatWaitKeepTheirPlaces) {
  DownloadLimits limits = DownloadRig::Limits();
  limits.holders_max = 10;
  DownloadRig rig(true, limits);
  const auto peers = Peers(20);
  rig.Start({peers.begin(), peers.begin() + 10});
  EXPECT_EQ(rig.Take<FetchMap>().size(), 6U);
  for (auto peer = peers.begin() + 10; peer != peers.end(); ++peer) rig.Member(*peer);
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
  rig.Pass(50ms);
  EXPECT_EQ(rig.Take<FetchMap>().size(), 4U);
}

TEST(DownloadTest, WhereTheCatalogListsManyHoldersTheyAreNotLookedFor) {
  DownloadRig rig;
  rig.Start(Peers(8));
  EXPECT_EQ(rig.Count<ResolveHolders>(), 0);
  rig.Pass(50ms);
  for (const FetchMap& map : rig.Take<FetchMap>())
    rig.AnswerMap(map.id, DownloadRig::Whole(10'000));
  EXPECT_EQ(PauseOfLooks(rig, true), 31s);
}

TEST(DownloadTest, WhereTheCatalogWasWrongHoldersAreLookedForBeforeTheUpstreamIsAsked) {
  DownloadRig rig;
  rig.Start(Peers(8));
  for (int asked = 0; asked < 8;) {
    const auto maps = rig.Take<FetchMap>();
    ASSERT_FALSE(maps.empty());
    for (const FetchMap& map : maps) rig.Failed(map.id, Code::kNotFound);
    asked += static_cast<int>(maps.size());
  }
  rig.TakeOne<ResolveHolders>();
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Pass(49ms);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Resolved();
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

TEST(DownloadTest, WhereNoneThatTheCatalogListsAnswersHoldersAreLookedFor) {
  DownloadRig rig;
  rig.Start(Peers(8));
  rig.Pass(249ms);
  EXPECT_EQ(rig.Count<ResolveHolders>(), 0);
  rig.Pass(1ms);
  rig.TakeOne<ResolveHolders>();
  rig.Resolved({Peer(9)});
  rig.AnswerMapOf(Peer(9), DownloadRig::Whole(4));
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
}

TEST(DownloadTest, AsksTheUpstreamWhenResolvingTakesTooLong) {
  DownloadRig rig;
  rig.Start();
  rig.Pass(49ms);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Pass(1ms);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

TEST(DownloadTest, WaitsForMapsThatAreUnderWay) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Resolved();
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Pass(499ms);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Pass(1ms);  // a map that hangs is a stall
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

TEST(DownloadTest, TheUpstreamsSizeGivesTheGeometryAndItsBytesTheChain) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  const FetchUpstream run = rig.TakeOne<FetchUpstream>();
  rig.Size(run.id, kPieceBytesMin * 3);
  EXPECT_EQ(rig.TakeOne<UseGeometry>().geometry, DownloadRig::Pieces(3));
  for (int i = 0; i < 3; ++i) rig.Piece(run.id, i);
  EXPECT_EQ(rig.Count<LearnState>(), 2);
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.download.sources().upstream, kPieceBytesMin * 3);
}

TEST(DownloadTest, CutsAHugeBlobInLargerPieces) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  rig.Size(rig.TakeOne<FetchUpstream>().id, Bytes(std::int64_t{100} << 30));
  EXPECT_LE(rig.TakeOne<UseGeometry>().geometry.count(), kPiecesMax);
}

// Rule 3: holders without progress.

TEST(DownloadTest, TheUpstreamJoinsHoldersThatMakeNoProgress) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(40));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  for (int i = 0; i < 9; ++i) {  // it drips
    rig.Pass(100ms);
    rig.BytesCame(run.id, 1);
  }
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Pass(100ms);
  const FetchUpstream upstream = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(upstream.first.value, 0);
  EXPECT_EQ(upstream.count, 16);  // beside peers it takes a part
}

TEST(DownloadTest, APiecesWorthOfBytesIsProgress) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(40));
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(40));
  const auto runs = rig.Take<FetchPieces>();
  ASSERT_EQ(runs.size(), 2U);
  for (int i = 0; i < 4; ++i) {
    rig.Pass(300ms);
    for (const auto& run : runs) rig.BytesCame(run.id, 1000);
  }
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
  DownloadRig quick;
  quick.Start({Peer(1), Peer(2)});
  quick.Resolved();
  quick.AnswerMapOf(Peer(1), DownloadRig::Whole(40));
  quick.AnswerMapOf(Peer(2), DownloadRig::Whole(40));
  const auto more = quick.Take<FetchPieces>();
  for (int i = 0; i < 3; ++i) {
    quick.Pass(450ms);
    for (const auto& run : more) quick.BytesCame(run.id, kPieceBytesMin.count() / 4);
  }
  EXPECT_EQ(quick.Count<FetchUpstream>(), 0);
}

TEST(DownloadTest, TheUpstreamsRunIsCutWherePiecesAreHere) {
  DownloadRig rig;
  Chain chain = DownloadRig::Whole(6).chain;
  PieceMap have(6);
  have.Set({2});
  rig.download.Resume(chain, have);
  rig.Start();
  rig.Resolved();
  const FetchUpstream first = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(first.first.value, 0);
  EXPECT_EQ(first.count, 2);
  rig.Piece(first.id, 0);
  rig.Piece(first.id, 1);
  rig.Done(first.id);
  const FetchUpstream second = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(second.first.value, 3);
  EXPECT_FALSE(second.count);
}

TEST(DownloadTest, PeersThatAppearTakePiecesFarAheadOfTheUpstream) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  const FetchUpstream run = rig.TakeOne<FetchUpstream>();
  rig.Size(run.id, kPieceBytesMin * 40);
  rig.Piece(run.id, 0);
  rig.Resolved({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(40));
  const FetchPieces asked = rig.TakeOne<FetchPieces>();
  EXPECT_GT(asked.first.value, 8);
  EXPECT_EQ(rig.Count<CancelRequest>(), 0);
}

// Rule 4: stalls.

TEST(DownloadTest, AStalledRequestGoesElsewhereAtOnce) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(1));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(1));
  rig.Pass(250ms);  // the end game lets the idle peer try as well
  EXPECT_EQ(rig.Count<FetchPieces>(), 1);
  DownloadLimits limits = DownloadRig::SmallLimits();
  DownloadRig two(true, limits);
  two.Start({Peer(1)});
  two.AnswerMapOf(Peer(1), DownloadRig::Whole(9));
  const FetchPieces stuck = two.TakeOne<FetchPieces>();
  two.Pass(499ms);
  EXPECT_EQ(two.Count<CancelRequest>(), 0);
  two.Resolved();
  two.Pass(1ms);
  EXPECT_EQ(two.TakeOne<CancelRequest>().id, stuck.id);
  EXPECT_EQ(two.Count<FetchPieces>(), 0);    // its peer is asked nothing for a while
  EXPECT_EQ(two.Count<FetchUpstream>(), 1);  // and nobody else holds it
  two.Pass(500ms);
  EXPECT_EQ(two.Count<FetchPieces>(), 1);
  EXPECT_NE(run.id, 0U);
}

TEST(DownloadTest, AStallIsMeasuredFromTheLastByte) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(9));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  rig.Pass(400ms);
  rig.BytesCame(run.id, 100);
  rig.Pass(499ms);
  EXPECT_EQ(rig.Count<CancelRequest>(), 0);
  rig.Pass(1ms);
  EXPECT_EQ(rig.Count<CancelRequest>(), 1);
}

TEST(DownloadTest, ARequestThatWaitsForItsTurnDoesNotStall) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  const auto asked = rig.TakeOne<FetchUpstream>();
  const Duration step = DownloadLimits{}.upstream_stall / 2;
  for (int i = 0; i < 20; ++i) {
    rig.Pass(step);
    rig.Waiting(asked.id);
  }
  EXPECT_FALSE(rig.download.finished());
  EXPECT_EQ(rig.Count<CancelRequest>(), 0);
  rig.Pass(step * 2);  // it was sent, and nothing comes
  EXPECT_EQ(rig.Count<CancelRequest>(), 1);
}

TEST(DownloadTest, ASlowDiskIsNoStallOfThePeer) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(9));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  rig.BytesCame(run.id, kPieceBytesMin.count());
  rig.Pass(900ms);
  EXPECT_EQ(rig.Count<CancelRequest>(), 0);
}

TEST(DownloadTest, PenaltiesDouble) {
  DownloadRig rig(false);
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(9));
  for (const Duration penalty : {500ms, 1000ms, 2000ms}) {
    rig.Failed(rig.TakeOne<FetchPieces>().id, Code::kRetryLater);
    rig.Pass(penalty - 1us);
    EXPECT_EQ(rig.Count<FetchPieces>(), 0);
    rig.Pass(1us);
  }
  EXPECT_EQ(rig.Count<FetchPieces>(), 1);
}

TEST(DownloadTest, OnlyUnverifiedPiecesOfAFailedRunReturn) {
  DownloadLimits limits = DownloadRig::SmallLimits();
  limits.run_pieces_max = 2;
  DownloadRig rig(true, limits);
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(40));
  rig.Serve(rig.TakeOne<FetchPieces>());
  FetchPieces run{};
  for (const FetchPieces& asked : rig.Take<FetchPieces>()) {
    if (asked.count == 2) run = asked;
  }
  ASSERT_EQ(run.count, 2);
  rig.Piece(run.id, run.first.value);
  rig.Take<FetchPieces>();
  rig.Failed(run.id, Code::kRetryLater);
  EXPECT_TRUE(rig.download.have().Has(run.first));
  EXPECT_FALSE(rig.download.have().Has(run.first + 1));
  EXPECT_EQ(rig.Count<BanPeer>(), 0);
}

TEST(DownloadTest, AnAnswerThatEndsEarlyIsAFailure) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(9));
  rig.Done(rig.TakeOne<FetchPieces>().id);
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

TEST(DownloadTest, APeerThatVanishesLosesItsPiecesToOthersAtOnce) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(1));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  rig.Resolved({Peer(2)});
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(1));
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  rig.Gone(Peer(1));
  EXPECT_EQ(rig.TakeOne<CancelRequest>().id, run.id);
  EXPECT_EQ(rig.TakeOne<FetchPieces>().peer, Peer(2));
}

// Rule 5: lies.

TEST(DownloadTest, ACorruptPieceBansItsSenderAndCostsThatPieceOnly) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20));
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(20));
  auto asked = rig.Take<FetchPieces>();
  ASSERT_EQ(asked.size(), 2U);
  const FetchPieces bad = asked[0].peer == Peer(1) ? asked[0] : asked[1];
  const FetchPieces good = asked[0].peer == Peer(1) ? asked[1] : asked[0];
  rig.BadPiece(bad.id, bad.first.value);
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(1));
  rig.Serve(good);
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<ForgetPieces>(), 0);
  EXPECT_EQ(rig.download.sources().wasted, kPieceBytesMin);
  EXPECT_EQ(rig.download.sources().peers.count(Peer(1)), 0U);
}

TEST(DownloadTest, AFetcherThatStandsBehindAFalsePieceIsBanned) {
  DownloadRig rig(false);
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("***...", 'x'));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  rig.Take<FetchMap>();
  rig.BadPiece(run.id, run.first.value);
  EXPECT_EQ(rig.Count<BanPeer>(), 0);  // not before it was asked again
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("****..", 'x'));
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(1));
}

TEST(DownloadTest, AFetcherThatChangedItsMindIsExcusedOnce) {
  DownloadRig rig(false);
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("***...", 'x'));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  rig.Take<FetchMap>();
  rig.BadPiece(run.id, run.first.value);  // it had been lied to, and found out
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("***...", 'a'));
  EXPECT_EQ(rig.Count<BanPeer>(), 0);
  const FetchPieces again = rig.Take<FetchPieces>().front();
  EXPECT_EQ(again.peer, Peer(1));
  rig.BadPiece(again.id, again.first.value);
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(1));
}

TEST(DownloadTest, WhoeverVouchesForLessThanItsCandidateIsNotRefutedWithIt) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2), Peer(3)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20, 'a'));
  rig.Piece(rig.TakeOne<FetchPieces>().id, 0);
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(20, 'x'));
  HolderMap fetcher = DownloadRig::Map("*..................*", 'x', 3);  // both share two states
  rig.AnswerMapOf(Peer(3), fetcher);
  rig.ServeAll();
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(2));
}

TEST(DownloadTest, WhatABannedPeerHelpedToVerifyStaysWhenTheUpstreamTakesOver) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(5));
  rig.Serve(rig.TakeOne<FetchPieces>());
  const auto runs = rig.Take<FetchPieces>();
  rig.BadPiece(runs[0].id, runs[0].first.value);
  const FetchUpstream run = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(run.first.value, 1);
  for (int i = 1; i < 5; ++i) rig.Piece(run.id, i);
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.download.sources().upstream, kPieceBytesMin * 4);
}

TEST(DownloadTest, AContradictionIsSettledByTheLastPiece) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20, 'x'));  // a liar is first
  const FetchPieces first = rig.TakeOne<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(20, 'a'));
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);  // another chain is a candidate, not a source
  rig.Piece(first.id, 0, 'x');             // its false blob fits its false chain
  EXPECT_TRUE(rig.download.doubtful());
  const FetchPieces last = rig.Take<FetchPieces>().front();
  EXPECT_EQ(last.first.value, 19);
  rig.BadPiece(last.id, 19);  // but cannot lead to the digest
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(1));
  EXPECT_EQ(rig.TakeOne<ForgetPieces>().pieces, (std::vector<PieceIndex>{{0}}));
  EXPECT_FALSE(rig.download.doubtful());
  rig.ServeAll('a');
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<UseGeometry>(), 1);
}

TEST(DownloadTest, MoreHoldersAreBelievedThanTheFirstWhileNothingIsHere) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2), Peer(3)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20, 'x'));
  rig.Take<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(20, 'a'));
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  rig.AnswerMapOf(Peer(3), DownloadRig::Whole(20, 'a'));
  const auto asked = rig.Take<FetchPieces>();
  ASSERT_EQ(asked.size(), 2U);
  // The last piece, which settles it, first of all.
  EXPECT_EQ(std::min(asked[0].first.value, asked[1].first.value), 0);
  EXPECT_EQ(std::max(asked[0].first.value, asked[1].first.value), 19);
  for (const FetchPieces& run : asked) EXPECT_NE(run.peer, Peer(1));
  for (const FetchPieces& run : asked) {
    if (run.first.value == 0) rig.Piece(run.id, 0);
  }
  EXPECT_TRUE(rig.download.doubtful());
  for (const FetchPieces& run : asked) {
    if (run.first.value == 19) rig.Piece(run.id, 19);
  }
  EXPECT_FALSE(rig.download.doubtful());
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(1));
  rig.ServeAll('a');
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<ForgetPieces>(), 0);
}

TEST(DownloadTest, WhereNobodyHasTheLastPieceTheWordOfMostLetsReadersGoOn) {
  DownloadRig rig(false);
  rig.Start({Peer(1), Peer(2), Peer(3)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("***...", 'x'));
  rig.AnswerMapOf(Peer(2), DownloadRig::Map("***...", 'a'));
  rig.Serve(rig.Take<FetchPieces>().front(), 'x');
  EXPECT_TRUE(rig.download.doubtful());
  rig.AnswerMapOf(Peer(3), DownloadRig::Map("***...", 'x'));
  EXPECT_FALSE(rig.download.doubtful());
}

TEST(DownloadTest, AProvedEndRefutesOtherChains) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20, 'a'));
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(20, 'x'));
  rig.Piece(rig.TakeOne<FetchPieces>().id, 0);
  for (const FetchPieces& run : rig.Take<FetchPieces>()) {
    if (run.first.value == 19) rig.Piece(run.id, 19);
  }
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(2));
}

TEST(DownloadTest, PiecesUnderStatesThatBothChainsKnowStay) {
  DownloadRig rig(false);
  rig.Start({Peer(1), Peer(2)});
  rig.Resolved();
  HolderMap liar = DownloadRig::Whole(6);
  liar.chain.Set({5}, StateOf(5, 'x'));
  rig.AnswerMapOf(Peer(1), liar);
  const FetchPieces first = rig.TakeOne<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(6));
  rig.Serve(first);
  for (const FetchPieces& run : rig.Take<FetchPieces>()) {
    if (run.first.value == 5) {
      rig.BadPiece(run.id, 5);
      break;
    }
  }
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(1));
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.download.sources().peers.at(Peer(1)), kPieceBytesMin);  // piece 0 was kept
}

TEST(DownloadTest, AnotherGeometryIsACandidateAndNotUsed) {
  DownloadRig rig(false);
  rig.Start({Peer(1), Peer(2)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(10));
  rig.Take<FetchPieces>();
  const Geometry other = DownloadRig::Pieces(5, kPieceBytesMin * 2);
  HolderMap map{Chain(other), PieceMap(5, true)};
  for (int i = 1; i < 5; ++i) map.chain.Set({i}, StateOf(i, 'b'));
  rig.AnswerMapOf(Peer(2), map);
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  EXPECT_EQ(rig.Count<UseGeometry>(), 1);
  rig.Gone(Peer(1));  // now only the other one is left
  EXPECT_EQ(rig.Take<UseGeometry>().back().geometry, other);
  EXPECT_EQ(rig.TakeOne<FetchPieces>().peer, Peer(2));
}

TEST(DownloadTest, AMapThatCannotBeTrueBansItsSender) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  HolderMap map{Chain(Geometry::Make(Bytes(0), kPieceBytesMin).value()), PieceMap(1, true)};
  rig.AnswerMapOf(Peer(1), map);
  EXPECT_EQ(rig.TakeOne<BanPeer>().peer, Peer(1));
  EXPECT_EQ(rig.Count<UseGeometry>(), 0);
}

TEST(DownloadTest, AHolderThatRefusesWhatItClaimedLosesTheClaim) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(9));
  const FetchPieces run = rig.TakeOne<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(9));
  rig.Take<FetchPieces>();
  rig.Failed(run.id, Code::kCorrupt, "416");
  EXPECT_EQ(rig.Count<BanPeer>(), 0);
  rig.Pass(1s);
  for (const FetchPieces& asked : rig.Take<FetchPieces>()) {
    if (asked.peer == Peer(1)) {
      EXPECT_NE(asked.first.value, run.first.value);
    }
  }
}

}  // namespace
}  // namespace shoal::fetch
