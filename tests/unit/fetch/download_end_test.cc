// The rules of download.h, one by one: 6 to 8, and resuming.
#include <gtest/gtest.h>

#include "fetch/download.h"
#include "tests/unit/fetch/download_rig.h"

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;

// Rule 6: end game.

TEST(DownloadTest, InTheEndGameAnIdlePeerMayOvertakeASlowOne) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(1));
  const FetchPieces slow = rig.TakeOne<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(1));
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);  // not at once
  rig.Pass(250ms);
  const FetchPieces quick = rig.TakeOne<FetchPieces>();
  EXPECT_EQ(quick.peer, Peer(2));
  rig.BytesCame(slow.id, 1000);
  rig.Piece(quick.id, 0);
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Take<CancelRequest>().front().id, slow.id);
  EXPECT_EQ(rig.download.sources().wasted, Bytes(1000));
}

TEST(DownloadTest, AsksAPieceAtMostTwiceAtATime) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2), Peer(3)});
  for (int p = 1; p <= 3; ++p) rig.AnswerMapOf(Peer(p), DownloadRig::Whole(1));
  rig.Pass(450ms);
  EXPECT_EQ(rig.Count<FetchPieces>(), 2);
}

// Rule 7: the end.

TEST(DownloadTest, AnEmptyBlobNeedsNobody) {
  const Digest empty =
      ParseDigest("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
          .value();
  Download download(empty, DownloadRig::SmallLimits(), false, Rng(1));
  DownloadActions out;
  download.Start(Time{}, {Peer(1)}, out);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<UseGeometry>(out[0]));
  EXPECT_TRUE(std::holds_alternative<Proved>(out[1]));
  EXPECT_TRUE(download.finished());
  EXPECT_TRUE(download.have().all());
}

TEST(DownloadTest, ABlobOfOnePieceIsProvedByIt) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  HolderMap map{Chain(Geometry::Make(Bytes(1), kPieceBytesMin).value()), PieceMap(1, true)};
  rig.AnswerMapOf(Peer(1), map);
  rig.Serve(rig.TakeOne<FetchPieces>());
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.download.sources().peers.at(Peer(1)), Bytes(1));
}

TEST(DownloadTest, UpstreamBytesThatMissTheDigestAreReadOnceMore) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  for (int round = 0; round < 2; ++round) {
    const FetchUpstream run = rig.TakeOne<FetchUpstream>();
    EXPECT_EQ(run.first.value, 0);
    rig.Size(run.id, kPieceBytesMin * 3);
    rig.Piece(run.id, 0, 'x');
    rig.Piece(run.id, 1, 'x');
    rig.BadPiece(run.id, 2);
    if (round == 0) {
      EXPECT_EQ(rig.TakeOne<ForgetPieces>().pieces, (std::vector<PieceIndex>{{0}, {1}}));
    }
  }
  EXPECT_EQ(rig.TakeOne<GaveUp>().error.code, Code::kCorrupt);
  EXPECT_EQ(rig.Count<UseGeometry>(), 1);
}

TEST(DownloadTest, UpstreamBytesThatMissOnceDoNotFailTheBlob) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  const FetchUpstream bad = rig.TakeOne<FetchUpstream>();
  rig.Size(bad.id, kPieceBytesMin * 2);
  rig.Piece(bad.id, 0, 'x');
  rig.BadPiece(bad.id, 1);
  const FetchUpstream good = rig.TakeOne<FetchUpstream>();
  rig.Size(good.id, kPieceBytesMin * 2);
  rig.Piece(good.id, 0);
  rig.Piece(good.id, 1);
  EXPECT_EQ(rig.Count<Proved>(), 1);
}

TEST(DownloadTest, UpstreamBytesReplaceAChainThatNobodyProves) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Resolved();
  // A partial holder whose chain is false, as far as it goes.
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("**    ", 'x', 3));
  rig.ServeAll('x');
  rig.Pass(1s);
  const FetchUpstream mixed = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(mixed.first.value, 2);
  rig.Size(mixed.id, kPieceBytesMin * 6);
  for (int i = 2; i < 5; ++i) rig.Piece(mixed.id, i, 'y');
  rig.BadPiece(mixed.id, 5);
  const FetchUpstream alone = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(alone.first.value, 0);
  rig.Size(alone.id, kPieceBytesMin * 6);
  for (int i = 0; i < 6; ++i) rig.Piece(alone.id, i, 'a');
  EXPECT_EQ(rig.Count<Proved>(), 1);
}

TEST(DownloadTest, HoldersMayProveThatTheUpstreamIsWrong) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Resolved();
  const RequestId map = rig.TakeOne<FetchMap>().id;
  rig.Pass(400ms);
  rig.AnswerMap(map, DownloadRig::Whole(9));
  rig.Failed(rig.TakeOne<FetchPieces>().id, Code::kRetryLater);  // so the upstream is asked
  const FetchUpstream run = rig.TakeOne<FetchUpstream>();
  rig.Pass(500ms);
  const FetchPieces again = rig.TakeOne<FetchPieces>();
  rig.Size(run.id, kPieceBytesMin * 9 + Bytes(1));  // another blob altogether
  rig.Serve(again);
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<ForgetPieces>(), 0);
  EXPECT_EQ(rig.Count<BanPeer>(), 0);
}

// Rule 8: every wait is bounded.

TEST(DownloadTest, NoUpstreamAndNoHolderIsNotFoundAtOnce) {
  DownloadRig rig(false);
  rig.Start({Peer(1)});
  const FetchMap map = rig.TakeOne<FetchMap>();
  rig.Resolved();
  EXPECT_EQ(rig.Count<GaveUp>(), 0);
  rig.Failed(map.id, Code::kNotFound);
  EXPECT_EQ(rig.TakeOne<GaveUp>().error.code, Code::kNotFound);
}

TEST(DownloadTest, AnUpstreamThatSaysNotFoundOrDeniedEndsItAtOnce) {
  for (const Code code : {Code::kNotFound, Code::kDenied}) {
    DownloadRig rig;
    rig.Start();
    rig.Resolved();
    rig.Failed(rig.TakeOne<FetchUpstream>().id, code, "says the registry");
    const Error error = rig.TakeOne<GaveUp>().error;
    EXPECT_EQ(error.code, code);
    EXPECT_NE(error.text.find("says the registry"), std::string::npos);
  }
}

TEST(DownloadTest, ABusyUpstreamIsTriedAFewTimes) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  for (const Duration wait : {100ms, 200ms, 400ms}) {
    rig.Failed(rig.TakeOne<FetchUpstream>().id, Code::kRetryLater);
    rig.Pass(wait - 1us);
    EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
    rig.Pass(1us);
  }
  rig.Failed(rig.TakeOne<FetchUpstream>().id, Code::kRetryLater);
  EXPECT_EQ(rig.TakeOne<GaveUp>().error.code, Code::kRetryLater);
}

TEST(DownloadTest, AnUpstreamThatIsCutGoesOnWhereItWas) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  FetchUpstream run = rig.TakeOne<FetchUpstream>();
  rig.Size(run.id, kPieceBytesMin * 10);
  for (int i = 0; i < 10; ++i) {  // each time it brings one piece: more often than tries allow
    EXPECT_EQ(run.first.value, i);
    rig.Piece(run.id, i);
    if (i == 9) break;
    rig.Done(run.id);
    rig.Pass(100ms);
    run = rig.TakeOne<FetchUpstream>();
  }
  EXPECT_EQ(rig.Count<Proved>(), 1);
}

TEST(DownloadTest, AHangingUpstreamIsCutAndGivenUp) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  rig.Pass(31s);
  EXPECT_EQ(rig.TakeOne<GaveUp>().error.code, Code::kRetryLater);
}

TEST(DownloadTest, WithoutProgressItGivesUpInTime) {
  DownloadRig rig(false);
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("*     ", 'a', 2));
  rig.ServeAll();
  rig.Pass(29s);
  EXPECT_EQ(rig.Count<GaveUp>(), 0);
  rig.Pass(1s);
  EXPECT_EQ(rig.TakeOne<GaveUp>().error.code, Code::kRetryLater);
  EXPECT_TRUE(rig.download.finished());
}

TEST(DownloadTest, AfterItsEndItDoesNothing) {
  DownloadRig rig(false);
  rig.Start();
  rig.Resolved();
  rig.Take<GaveUp>();
  rig.actions.clear();
  rig.Resolved({Peer(1)});
  rig.Pass(1min);
  EXPECT_TRUE(rig.actions.empty());
  EXPECT_EQ(rig.download.NextDeadline(), kNever);
}

// Resume.

TEST(DownloadTest, ResumesWithoutFetchingAnythingTwice) {
  DownloadRig rig;
  const HolderMap whole = DownloadRig::Whole(9);
  PieceMap have(9);
  for (const int i : {0, 1, 2, 5}) have.Set({i});
  rig.download.Resume(whole.chain, have);
  rig.Start({Peer(1)});
  EXPECT_EQ(rig.Count<UseGeometry>(), 1);
  rig.AnswerMapOf(Peer(1), whole);
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<UseGeometry>(), 1);
  EXPECT_EQ(rig.Count<ForgetPieces>(), 0);
  EXPECT_EQ(rig.download.sources().resumed, kPieceBytesMin * 4);
  EXPECT_EQ(rig.download.sources().peers.at(Peer(1)), kPieceBytesMin * 5);
}

TEST(DownloadTest, AResumedBlobThatIsWholeIsProvedAtOnce) {
  DownloadRig rig;
  rig.download.Resume(DownloadRig::Whole(3).chain, PieceMap(3, true));
  rig.Start();
  EXPECT_EQ(rig.Count<Proved>(), 1);
}

TEST(DownloadTest, ResumedPiecesWithoutTheirStatesAreForgotten) {
  DownloadRig rig;
  PieceMap have(5);
  for (const int i : {0, 1, 3}) have.Set({i});
  rig.download.Resume(DownloadRig::Map("     ", 'a', 3).chain, have);
  rig.Start();
  EXPECT_EQ(rig.TakeOne<ForgetPieces>().pieces, (std::vector<PieceIndex>{{3}}));
  EXPECT_EQ(rig.download.have().count(), 2);
}

TEST(DownloadTest, AFirstAnswerDoesNotOverrideWhatWasResumed) {
  DownloadRig rig;
  const HolderMap whole = DownloadRig::Whole(9);
  PieceMap have(9);
  for (int i = 0; i < 8; ++i) have.Set({i});
  rig.download.Resume(whole.chain, have);
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(9, 'x'));  // a liar is first
  EXPECT_EQ(rig.Count<ForgetPieces>(), 0);
  rig.AnswerMapOf(Peer(2), whole);
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.Count<ForgetPieces>(), 0);
}

}  // namespace
}  // namespace shoal::fetch
