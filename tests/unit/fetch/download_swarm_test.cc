// The swarm's rules of download.h: who leads, whom we meet, what is busy, which of several pieces.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fetch/download.h"
#include "fetch/download_impl.h"
#include "index/swarm_table.h"
#include "tests/unit/fetch/download_rig.h"

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;

DownloadLimits Arbitrated() {
  DownloadLimits limits = DownloadRig::SmallLimits();
  limits.arbitrated = true;
  return limits;
}

std::set<PeerId> AskedForMaps(DownloadRig& rig) {
  std::set<PeerId> peers;
  for (const FetchMap& map : rig.Take<FetchMap>()) peers.insert(map.peer);
  return peers;
}

TEST(DownloadSwarmTest, WithoutArbitersNobodyIsAsked) {
  DownloadRig rig;
  rig.Start();
  rig.Resolved();
  EXPECT_EQ(rig.Count<AskSwarm>(), 0);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

TEST(DownloadSwarmTest, WishesTheLeadAtOnceWhereNobodyIsKnownToHoldIt) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  EXPECT_TRUE(rig.TakeOne<AskSwarm>().wants_lead);
}

TEST(DownloadSwarmTest, DoesNotWishTheLeadWhereHoldersAreKnown) {
  DownloadRig rig(true, Arbitrated());
  rig.Start({Peer(1)});
  EXPECT_FALSE(rig.TakeOne<AskSwarm>().wants_lead);
}

TEST(DownloadSwarmTest, OnlyTheLeadAsksTheUpstream) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0) << "nobody has said yet who leads";
  rig.Swarm({.we_lead = true});
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
  EXPECT_TRUE(rig.download.leads());
}

TEST(DownloadSwarmTest, ALeadTellsWhatItHasFromTheUpstream) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  EXPECT_EQ(rig.download.firsthand(), nullptr);
  rig.Swarm({.we_lead = true});
  EXPECT_EQ(rig.download.firsthand(), nullptr) << "the blob's size is not known yet";
  const FetchUpstream upstream = rig.TakeOne<FetchUpstream>();
  rig.Size(upstream.id, kPieceBytesMin * 8);
  rig.Piece(upstream.id, 0);
  ASSERT_NE(rig.download.firsthand(), nullptr);
  EXPECT_EQ(rig.download.firsthand()->count(), 1);
  EXPECT_TRUE(rig.download.firsthand()->Has({0}));
  rig.Swarm({.lead = Peer(5), .members = {Peer(5)}});
  EXPECT_EQ(rig.download.firsthand(), nullptr) << "another goes on";
}

// Nobody sends it a piece, so that it cannot tell how long one takes.
TEST(DownloadSwarmTest, ALeadAsksForNewsSeldom) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Swarm({.we_lead = true});
  const FetchUpstream upstream = rig.TakeOne<FetchUpstream>();
  rig.Size(upstream.id, kPieceBytesMin * 8);
  rig.Piece(upstream.id, 0);
  rig.Member(Peer(1));
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("*......."));
  rig.Take<FetchMap>();
  rig.Pass(kMapPauseIdle - 1ms);
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
  rig.Pass(2ms);
  EXPECT_EQ(rig.TakeOne<FetchMap>().peer, Peer(1));
}

TEST(DownloadSwarmTest, OthersAskTheLeadForItsMap) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Swarm({.lead = Peer(5), .members = {Peer(5), Peer(6)}});
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  EXPECT_EQ(AskedForMaps(rig), (std::set{Peer(5), Peer(6)}));
}

TEST(DownloadSwarmTest, ALeadThatHasNothingYetIsAskedAgainSoon) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Swarm({.lead = Peer(5), .members = {Peer(5)}});
  for (int i = 0; i < 3; ++i) {
    const auto maps = rig.Take<FetchMap>();
    ASSERT_EQ(maps.size(), 1U);
    rig.Failed(maps[0].id, Code::kNotFound);
    rig.Pass(25ms);
  }
}

TEST(DownloadSwarmTest, WhoHadNothingBeforeWeKnewThatItLeadsIsAskedAgainAtOnce) {
  DownloadRig rig(true, Arbitrated());
  rig.Start({Peer(5)});
  rig.Resolved();
  const FetchMap early = rig.TakeOne<FetchMap>();
  rig.Pass(1ms);
  rig.Swarm({.lead = Peer(5), .members = {Peer(5)}});
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
  rig.Pass(1ms);
  rig.Failed(early.id, Code::kNotFound);
  const FetchMap again = rig.TakeOne<FetchMap>();
  EXPECT_EQ(again.peer, Peer(5));
  // It knows that it leads by now: more is not gained by haste.
  rig.Failed(again.id, Code::kNotFound);
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
}

TEST(DownloadSwarmTest, NoArbiterAnswersThenItLeadsItself) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.SwarmFailed();
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

TEST(DownloadSwarmTest, AnArbiterThatAnswersAfterAllEndsWhatBeganWithoutIt) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.SwarmFailed();
  const RequestId upstream = rig.TakeOne<FetchUpstream>().id;
  rig.Swarm({});
  EXPECT_EQ(rig.Count<CancelRequest>(), 0) << "nobody else reads it";
  rig.Swarm({.lead = Peer(5)});
  EXPECT_EQ(rig.TakeOne<CancelRequest>().id, upstream);
  rig.Pass(200ms);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
}

TEST(DownloadSwarmTest, AsksTheUpstreamWhenTheLeadBringsNothingForTooLong) {
  DownloadLimits limits = Arbitrated();
  DownloadRig rig(true, limits);
  rig.Start();
  rig.Resolved();
  const Time start = rig.now;
  rig.Swarm({.lead = Peer(5)});
  while (rig.Count<FetchUpstream>() == 0 && rig.now < start + 10s) {
    rig.Pass(50ms);
    for (const FetchMap& map : rig.Take<FetchMap>()) rig.Failed(map.id, Code::kNotFound);
    for (int n = rig.Count<AskSwarm>(); n > 0; --n) rig.Swarm({.lead = Peer(5)});
    rig.Take<AskSwarm>();
  }
  EXPECT_GE(rig.now - start, limits.lead_budget);
  EXPECT_LE(rig.now - start, limits.lead_budget + 100ms);
}

TEST(DownloadSwarmTest, RenewsTheLeadWhileTheUpstreamIsRead) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Take<AskSwarm>();
  rig.Swarm({.we_lead = true});
  const FetchUpstream upstream = rig.TakeOne<FetchUpstream>();
  rig.Size(upstream.id, kPieceBytesMin * 8);
  rig.Piece(upstream.id, 0);
  rig.Pass(index::kSwarmPace * 5 / 4);
  const AskSwarm renewal = rig.TakeOne<AskSwarm>();
  EXPECT_TRUE(renewal.wants_lead);
  EXPECT_EQ(renewal.progress, kPieceBytesMin.count());
}

TEST(DownloadSwarmTest, ALeadThatIsBeingGivenBackAsksNoUpstream) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Take<AskSwarm>();
  rig.Member(Peer(1));
  rig.Swarm({.we_lead = true});
  rig.AnswerMap(rig.TakeOne<FetchMap>().id, DownloadRig::Whole(8));
  EXPECT_FALSE(rig.TakeOne<AskSwarm>().wants_lead) << "the member holds it";
  rig.Gone(Peer(1));
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0) << "another may lead by now";
  rig.Swarm({});
  EXPECT_TRUE(rig.TakeOne<AskSwarm>().wants_lead);
  rig.Swarm({.we_lead = true});
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

// It leads, and asked a member for its map before it did.
FetchMap LeadThatAsked(DownloadRig& rig) {
  rig.Start();
  rig.Resolved();
  rig.Take<AskSwarm>();
  rig.Member(Peer(1));
  const FetchMap asked = rig.TakeOne<FetchMap>();
  rig.Swarm({.we_lead = true});
  return asked;
}

// Else the lead would be passed around until no member comes any more.
TEST(DownloadSwarmTest, ALeadKeepsTheLeadUntilItKnowsWhetherItIsNeeded) {
  DownloadRig rig(true, Arbitrated());
  const FetchMap asked = LeadThatAsked(rig);
  EXPECT_EQ(rig.Count<AskSwarm>(), 0) << "the member may hold it";
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
  rig.Failed(asked.id, Code::kNotFound);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
  EXPECT_EQ(rig.Count<AskSwarm>(), 0);
}

TEST(DownloadSwarmTest, MembersThatComeLaterDoNotHoldUpALead) {
  DownloadRig rig(true, Arbitrated());
  const FetchMap asked = LeadThatAsked(rig);
  rig.Pass(1ms);
  for (int peer = 2; peer < 10; ++peer) rig.Member(Peer(peer));
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0) << "the first may hold it";
  rig.Failed(asked.id, Code::kNotFound);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 1);
}

// A host that has more members to ask than places for them, all of which have the same as it.
struct CrowdRig : DownloadRig {
  CrowdRig() : DownloadRig(true, Small()) {
    Start(Peers(1, 7));
    Resolved();
    for (const FetchMap& map : Take<FetchMap>()) AnswerMap(map.id, Map("**......"));
    Swarm({.lead = Peer(99)});
    GetAll();
  }

  static DownloadLimits Small() {
    DownloadLimits limits = Arbitrated();
    limits.holders_max = 4;
    return limits;
  }
  static std::vector<PeerId> Peers(int first, int end) {
    std::vector<PeerId> peers;
    for (int i = first; i < end; ++i) peers.push_back(Peer(i));
    return peers;
  }
  // All that is asked for comes; maps that are asked for again are held back.
  void GetAll() {
    for (auto asked = Take<FetchPieces>(); !asked.empty(); asked = Take<FetchPieces>()) {
      for (const FetchPieces& run : asked) {
        Piece(run.id, run.first.value);
        Done(run.id);
      }
    }
    for (const FetchMap& map : Take<FetchMap>()) {
      if (map.known == 0) firsts.push_back(map);
    }
  }

  std::vector<FetchMap> firsts;  // asked for a first map
};

TEST(DownloadSwarmTest, AHolderWithNothingNewGivesItsPlaceToAnother) {
  CrowdRig rig;
  std::set<PeerId> asked;
  for (int i = 0; i < 20 && rig.download.have().count() == 2; ++i) {
    for (const FetchMap& map : std::exchange(rig.firsts, {})) {
      if (map.peer == Peer(99)) continue;
      asked.insert(map.peer);
      rig.AnswerMap(map.id, DownloadRig::Map(asked.size() == 2 ? "****...." : "**......"));
    }
    rig.GetAll();
    rig.Pass(kRoomPause);
    rig.GetAll();
  }
  EXPECT_EQ(asked.size(), 2U) << "those that were queued, one after the other";
  EXPECT_EQ(rig.download.have().count(), 4);
}

TEST(DownloadSwarmTest, TheBusiestHolderGivesItsPlaceWhereAllAreBusy) {
  DownloadRig rig(true, CrowdRig::Small());
  rig.Start(CrowdRig::Peers(1, 6));
  rig.Resolved();
  for (const FetchMap& map : rig.Take<FetchMap>()) rig.AnswerMap(map.id, DownloadRig::Whole(8));
  std::set<PeerId> busy;
  for (auto asked = rig.Take<FetchPieces>(); !asked.empty(); asked = rig.Take<FetchPieces>()) {
    for (const FetchPieces& run : asked) {
      busy.insert(run.peer);
      rig.Busy(run.id, run.peer == Peer(2) ? 900ms : 500ms, {});
    }
  }
  EXPECT_EQ(busy.size(), 4U);
  rig.Pass(kRoomPause);
  EXPECT_EQ(AskedForMaps(rig), std::set{Peer(5)});
  rig.download.OnPeerGone(rig.now, Peer(2), rig.actions);
  EXPECT_EQ(rig.Count<CancelRequest>(), 0) << "it has no place, and nothing is asked of it";
}

TEST(DownloadSwarmTest, PlacesAreGivenAwayMoreSlowlyWhereNobodyHasMore) {
  CrowdRig rig;
  rig.firsts.clear();
  int asked = 0;
  int members = 100;
  for (const Time end = rig.now + 4s; rig.now < end; rig.Pass(10ms)) {
    rig.Member(Peer(members++));
    rig.GetAll();
    for (const FetchMap& map : std::exchange(rig.firsts, {})) {
      if (map.peer == Peer(99)) continue;
      ++asked;
      rig.AnswerMap(map.id, DownloadRig::Map("**......"));
    }
    for (int n = rig.Count<AskSwarm>(); n > 0; --n) rig.Swarm({.lead = Peer(99)});
    rig.Take<AskSwarm>();
  }
  EXPECT_GE(asked, 5);
  EXPECT_LE(asked, 12) << "200 at the first pause";
}

// Askings in `span`, each answered with `view`; the holder is busy all the time.
int AskingsWithin(DownloadRig& rig, Duration span, const SwarmView& view) {
  int askings = 0;
  for (const Time end = rig.now + span; rig.now < end; rig.Pass(50ms)) {
    for (const FetchPieces& asked : rig.Take<FetchPieces>()) rig.Busy(asked.id, 1s, {});
    const int now = rig.Count<AskSwarm>();
    rig.Take<AskSwarm>();
    for (int n = now; n > 0; --n) rig.Swarm(view);
    askings += now;
  }
  return askings;
}

TEST(DownloadSwarmTest, AsksAtThePaceThatItIsToldOnceItHasBegun) {
  for (const bool begun : {false, true}) {
    DownloadRig rig(true, Arbitrated());
    rig.Start({Peer(1)});
    rig.AnswerMap(rig.TakeOne<FetchMap>().id, DownloadRig::Whole(8));
    if (begun) {
      const FetchPieces first = rig.Take<FetchPieces>().at(0);
      rig.Piece(first.id, first.first.value);
    }
    const SwarmView view{.lead = Peer(1), .pace = 20s};
    const int askings = AskingsWithin(rig, 2s, view);
    EXPECT_LE(askings, 9);
    EXPECT_GE(askings, begun ? 2 : 5) << "a swarm that begins changes quickly";
    EXPECT_LE(AskingsWithin(rig, 6s, view), 6) << "20 at the usual pace: it doubles each time";
  }
}

TEST(DownloadSwarmTest, AsksSeldomWhereNobodyLeads) {
  for (const bool led : {false, true}) {
    DownloadRig rig(false, Arbitrated());  // without an upstream it wishes no lead
    rig.Start({Peer(1)});
    rig.AnswerMap(rig.TakeOne<FetchMap>().id, DownloadRig::Whole(8));
    const FetchPieces first = rig.Take<FetchPieces>().at(0);
    rig.Piece(first.id, first.first.value);
    const SwarmView view{.lead = led ? std::optional(Peer(1)) : std::nullopt,
                         .pace = index::kSwarmPace};
    AskingsWithin(rig, 2s, view);
    const int askings = AskingsWithin(rig, 6s, view);
    EXPECT_EQ(askings > 12, led) << askings;
    EXPECT_GE(askings, 3);
  }
}

// A member that has the first of four pieces from a lead, which then fails it. Another brings the
// third, and nobody has the others.
class LostLead : public ::testing::Test {
 protected:
  LostLead() : rig(true, Arbitrated()) {
    rig.Start();
    rig.Resolved();
    rig.Take<AskSwarm>();
    rig.Swarm({.lead = Peer(1), .lease = 900ms});
    rig.AnswerMapOf(Peer(1), DownloadRig::Map("*...", 'a', 2));
    rig.Serve(rig.TakeOne<FetchPieces>());
    rig.Member(Peer(2));
    rig.AnswerMapOf(Peer(2), DownloadRig::Map("*.*.", 'a', 4));  // it is asked for its second
    rig.Pass(50ms);
    for (const FetchMap& map : rig.Take<FetchMap>()) {
      if (map.peer == Peer(1)) last_map = map.id;
    }
    rig.Take<AskSwarm>();
  }

  DownloadRig rig;
  RequestId last_map = 0;
};

TEST_F(LostLead, IsToldToTheArbiterAtOnceAndReplacedWhenItsLeaseIsOver) {
  rig.Failed(last_map, Code::kRetryLater);
  const AskSwarm told = rig.TakeOne<AskSwarm>();
  EXPECT_TRUE(told.misses_lead);
  EXPECT_FALSE(told.wants_lead);
  rig.Swarm({.lead = Peer(1), .lease = 100ms});
  rig.Pass(99ms);
  EXPECT_EQ(rig.Count<AskSwarm>(), 0);
  rig.Pass(10ms);
  EXPECT_FALSE(rig.TakeOne<AskSwarm>().misses_lead) << "once is enough";
  rig.Swarm({});
  EXPECT_TRUE(rig.TakeOne<AskSwarm>().wants_lead) << "nobody has the other pieces";
  rig.Swarm({.we_lead = true});
  const FetchUpstream upstream = rig.TakeOne<FetchUpstream>();
  EXPECT_EQ(upstream.first, PieceIndex{1});
  EXPECT_EQ(upstream.count, 1) << "another has the next";
}

TEST_F(LostLead, IsNotOneThatAnswers) {
  rig.Failed(last_map, Code::kNotFound);
  rig.Swarm({});
  for (const AskSwarm& ask : rig.Take<AskSwarm>()) {
    EXPECT_FALSE(ask.misses_lead);
    EXPECT_FALSE(ask.wants_lead) << "there is one who can help";
  }
}

TEST_F(LostLead, IsOfNoMatterWhenAnotherLeads) {
  rig.Failed(last_map, Code::kRetryLater);
  rig.Take<AskSwarm>();
  rig.Swarm({.lead = Peer(2), .lease = 900ms});
  rig.Swarm({});
  for (const AskSwarm& ask : rig.Take<AskSwarm>()) EXPECT_FALSE(ask.misses_lead);
}

TEST(DownloadSwarmTest, BytesThatComeDoNotHideWhatIsDue) {
  DownloadRig rig(true, Arbitrated());
  rig.Start({Peer(1)});
  rig.AnswerMap(rig.TakeOne<FetchMap>().id, DownloadRig::Whole(8));
  rig.Take<AskSwarm>();
  rig.Swarm({});
  const FetchPieces asked = rig.Take<FetchPieces>().at(0);
  // Not woken in time: the arbiters should have been asked by now.
  rig.now += 450ms;
  rig.BytesCame(asked.id, 100);
  EXPECT_LE(rig.download.NextDeadline(), rig.now);
  rig.Pass(0ms);
  EXPECT_EQ(rig.Count<AskSwarm>(), 1);
}

TEST(DownloadSwarmTest, ALeadThatLostItStopsReadingTheUpstream) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Swarm({.we_lead = true});
  const RequestId upstream = rig.TakeOne<FetchUpstream>().id;
  rig.Swarm({.lead = Peer(5)});
  EXPECT_EQ(rig.TakeOne<CancelRequest>().id, upstream);
  EXPECT_FALSE(rig.download.leads());
  rig.Pass(200ms);
  EXPECT_EQ(rig.Count<FetchUpstream>(), 0);
}

TEST(DownloadSwarmTest, AFreeLeadIsWishedAtOnceWhenNobodyHasWhatWeLack) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Swarm({.lead = Peer(5), .members = {Peer(5), Peer(6)}});
  rig.AnswerMapOf(Peer(5), DownloadRig::Map("*   ", 'a', 2));
  rig.AnswerMapOf(Peer(6), DownloadRig::Map("*   ", 'a', 2));
  rig.ServeAll();
  rig.Take<AskSwarm>();
  rig.Pass(index::kSwarmPace * 5 / 4);
  EXPECT_FALSE(rig.TakeOne<AskSwarm>().wants_lead);
  rig.Swarm({.members = {Peer(6)}});  // the lead is dead
  EXPECT_TRUE(rig.TakeOne<AskSwarm>().wants_lead);
  rig.Swarm({.we_lead = true});
  EXPECT_EQ(rig.TakeOne<FetchUpstream>().first.value, 1) << "it goes on where the other was";
}

TEST(DownloadSwarmTest, ANewLeadLeavesToHoldersWhatTheyHave) {
  DownloadRig rig(true, Arbitrated());
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Map("***   ", 'a', 4));
  EXPECT_EQ(rig.Count<FetchPieces>(), 1);
  rig.Swarm({});
  rig.Pass(rig.Limits().peer_budget / 2);
  // Still lacking what peer 1 can give, it does not wish the lead before peers are stuck.
  for (const AskSwarm& ask : rig.Take<AskSwarm>()) EXPECT_FALSE(ask.wants_lead);
}

TEST(DownloadSwarmTest, AnUpstreamThatRefusesFreesTheLead) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Swarm({.we_lead = true});
  rig.Take<AskSwarm>();
  rig.Failed(rig.TakeOne<FetchUpstream>().id, Code::kNotFound);
  const auto asks = rig.Take<AskSwarm>();
  ASSERT_FALSE(asks.empty());
  EXPECT_FALSE(asks.back().wants_lead);
}

TEST(DownloadSwarmTest, ModestHostsWishTheLeadLater) {
  DownloadLimits limits = Arbitrated();
  limits.lead_modesty = 10ms;
  DownloadRig rig(true, limits);
  rig.Start();
  EXPECT_FALSE(rig.TakeOne<AskSwarm>().wants_lead);
  rig.Resolved();
  rig.Swarm({});
  rig.Pass(9ms);
  EXPECT_EQ(rig.Count<AskSwarm>(), 0);
  rig.Pass(1ms);
  EXPECT_TRUE(rig.TakeOne<AskSwarm>().wants_lead);
}

TEST(DownloadSwarmTest, TellsTheArbitersHowItEnded) {
  DownloadRig rig(true, Arbitrated());
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(3));
  rig.Take<AskSwarm>();
  rig.ServeAll();
  const AskSwarm last = rig.TakeOne<AskSwarm>();
  EXPECT_TRUE(last.whole);
  EXPECT_FALSE(last.leaving);

  DownloadRig failed(false, Arbitrated());
  failed.Start();
  failed.Take<AskSwarm>();
  failed.Resolved();
  EXPECT_EQ(failed.Count<GaveUp>(), 1);
  EXPECT_TRUE(failed.TakeOne<AskSwarm>().leaving);
}

// Members.

TEST(DownloadSwarmTest, WhoAsksUsForItIsAskedForIts) {
  DownloadRig rig;
  rig.Start();
  rig.Member(Peer(3));
  EXPECT_EQ(rig.TakeOne<FetchMap>().peer, Peer(3));
}

TEST(DownloadSwarmTest, MembersThatHadNothingAreAskedAgainWithOurFirstPiece) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Member(Peer(3));
  for (const FetchMap& map : rig.Take<FetchMap>()) {
    if (map.peer == Peer(3)) {
      rig.Failed(map.id, Code::kNotFound);
    } else {
      rig.AnswerMap(map.id, DownloadRig::Whole(8));
    }
  }
  EXPECT_EQ(rig.Count<FetchMap>(), 0);
  rig.Piece(rig.TakeOne<FetchPieces>().id, 0);
  EXPECT_EQ(rig.TakeOne<FetchMap>().peer, Peer(3));
}

// One of several pieces.

TEST(DownloadSwarmTest, ALargeSwarmThatHasNothingIsNotAskedWithoutBound) {
  DownloadLimits limits = Arbitrated();
  limits.holders_max = 4;
  DownloadRig rig(true, limits);
  rig.Start();
  rig.Resolved();
  int asked = 0;
  int next = 0;
  for (const Time end = rig.now + 300ms; rig.now < end; rig.Pass(10ms)) {
    for (int k = 0; k < 16; ++k) rig.Member(Peer(next++ % 200 + 2));
    for (const FetchMap& map : rig.Take<FetchMap>()) {
      ++asked;
      rig.Failed(map.id, Code::kNotFound);
    }
  }
  EXPECT_GE(asked, 16 * 4 + 2 * 16) << "some may have a piece by now";
  EXPECT_LE(asked, 16 * 4 + 4 * 16);
  // Whoever is worth more finds room among all those that wait.
  rig.Take<FetchMap>();
  rig.Swarm({.lead = Peer(1)});
  EXPECT_EQ(rig.TakeOne<FetchMap>().peer, Peer(1));
}

TEST(DownloadSwarmTest, PeersThatHavePiecesAreAskedAsSoonAsTheyAreKnown) {
  DownloadLimits limits = Arbitrated();
  limits.holders_max = 4;
  DownloadRig rig(true, limits);
  rig.Start();
  rig.Resolved();
  std::set<PeerId> asked;
  for (int n = 1; n <= 100; ++n) {
    rig.Member(Peer(n));
    for (const FetchMap& map : rig.Take<FetchMap>()) {
      asked.insert(map.peer);
      rig.AnswerMap(map.id, DownloadRig::Map("*..."));
      rig.Gone(map.peer);
    }
  }
  EXPECT_EQ(asked.size(), 100U);
}

TEST(DownloadSwarmTest, NamesFurtherPiecesAndTakesTheOneThatIsChosen) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(64));
  const FetchPieces asked = rig.TakeOne<FetchPieces>();
  EXPECT_EQ(asked.first.value, 0);
  ASSERT_FALSE(asked.options.empty());
  EXPECT_LE(asked.options.size(), 15U);
  EXPECT_TRUE(std::ranges::any_of(asked.options, [](PieceIndex i) { return i.value >= 32; }));
  EXPECT_TRUE(std::ranges::any_of(asked.options, [](PieceIndex i) { return i.value < 32; }));
  const PieceIndex chosen = asked.options.front();
  rig.Chosen(asked.id, chosen.value);
  rig.Piece(asked.id, chosen.value);
  EXPECT_TRUE(rig.download.have().Has(chosen));
  rig.Done(asked.id);
  rig.ServeAll();
  EXPECT_EQ(rig.Count<Proved>(), 1);
  EXPECT_EQ(rig.download.sources().wasted, Bytes(0));
}

TEST(DownloadSwarmTest, WhatAReaderBeginsWithIsNamedFirstUntilItIsHere) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Reader(1, 0);
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(64));
  FetchPieces asked = rig.TakeOne<FetchPieces>();
  for (int others = 0; others < 3; ++others) {
    EXPECT_EQ(asked.first.value, 0);
    ASSERT_FALSE(asked.options.empty());
    const PieceIndex other = asked.options.front();
    rig.Chosen(asked.id, other.value);
    rig.Piece(asked.id, other.value);
    rig.Done(asked.id);
    const auto next = rig.Take<FetchPieces>();
    ASSERT_FALSE(next.empty());
    asked = next.front();
  }
}

TEST(DownloadSwarmTest, PiecesThatMayComeAreNotAskedElsewhereUntilChosen) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(40));
  const FetchPieces first = rig.TakeOne<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(40));
  const FetchPieces second = rig.TakeOne<FetchPieces>();
  std::set<PieceIndex> named(first.options.begin(), first.options.end());
  named.insert(first.first);
  EXPECT_FALSE(named.contains(second.first));
  for (const PieceIndex i : second.options) EXPECT_FALSE(named.contains(i));
}

TEST(DownloadSwarmTest, NamesNoFurtherPiecesWhenFewAreLeft) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(3));
  EXPECT_TRUE(rig.TakeOne<FetchPieces>().options.empty());
}

// Of the first 40 requests, served in turn, those that go to the lead; two others have half of the
// blob, or all of it.
int AskedOfTheLead(char other_half) {
  DownloadRig rig(true, Arbitrated());
  rig.Start({Peer(1), Peer(2), Peer(5)});
  rig.Resolved();
  rig.Swarm({.lead = Peer(5), .members = {Peer(1), Peer(2), Peer(5)}});
  const HolderMap others = DownloadRig::Map(std::string(128, '*') + std::string(128, other_half));
  rig.AnswerMapOf(Peer(1), others);
  rig.AnswerMapOf(Peer(2), others);
  rig.AnswerMapOf(Peer(5), DownloadRig::Whole(256));
  int of_lead = 0;
  std::vector<FetchPieces> asked;
  for (std::size_t i = 0; i < 40; ++i) {
    for (const FetchPieces& one : rig.Take<FetchPieces>()) asked.push_back(one);
    if (i >= asked.size()) break;
    of_lead += asked[i].peer == Peer(5) ? 1 : 0;
    rig.Chosen(asked[i].id, asked[i].first.value);
    rig.Serve(asked[i]);
  }
  EXPECT_GE(asked.size(), 40U);
  return of_lead;
}

TEST(DownloadSwarmTest, WhatTheLeadAloneHasIsAskedSooner) {
  EXPECT_GE(AskedOfTheLead(' '), AskedOfTheLead('*') + 5);
}

// Busy and slow holders.

TEST(DownloadSwarmTest, ABusyHolderIsNotAskedBeforeItSaid) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20));
  rig.Busy(rig.TakeOne<FetchPieces>().id, 40ms, {Peer(7)});
  EXPECT_EQ(rig.TakeOne<FetchMap>().peer, Peer(7)) << "whom it named is met";
  rig.Pass(39ms);
  EXPECT_EQ(rig.Count<FetchPieces>(), 0);
  rig.Pass(1ms);
  EXPECT_EQ(rig.Count<FetchPieces>(), 1);
}

TEST(DownloadSwarmTest, BusyHoldersAreWaitedForLongerThanSilentOnes) {
  DownloadRig rig;
  rig.Start({Peer(1)});
  rig.Resolved();
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(20));
  const Time start = rig.now;
  while (rig.Count<FetchUpstream>() == 0 && rig.now < start + 60s) {
    for (const FetchPieces& asked : rig.Take<FetchPieces>()) rig.Busy(asked.id, 100ms, {});
    rig.Pass(10ms);
  }
  EXPECT_GE(rig.now - start, 10s);
  EXPECT_LE(rig.now - start, 12s) << "but not for ever";
}

TEST(DownloadSwarmTest, AFarSlowerHolderLosesItsPieceToAnother) {
  DownloadRig rig;
  rig.Start({Peer(1), Peer(2)});
  rig.AnswerMapOf(Peer(1), DownloadRig::Whole(200));
  const FetchPieces slow = rig.TakeOne<FetchPieces>();
  rig.AnswerMapOf(Peer(2), DownloadRig::Whole(200));
  // Peer 2 brings a piece each 50 ms; peer 1 a byte now and then, never silent for a stall.
  bool cancelled = false;
  for (int step = 0; step < 40 && !cancelled; ++step) {
    rig.Pass(25ms);
    rig.BytesCame(slow.id, 10);
    for (const FetchPieces& asked : rig.Take<FetchPieces>()) {
      if (asked.peer != Peer(2)) continue;
      rig.BytesCame(asked.id, kPieceBytesMin.count());
      rig.Serve(asked);
      rig.Pass(25ms);
      rig.BytesCame(slow.id, 10);
    }
    for (const CancelRequest& cancel : rig.Take<CancelRequest>()) {
      cancelled |= cancel.id == slow.id;
    }
  }
  EXPECT_TRUE(cancelled);
}

TEST(DownloadSwarmTest, ALeadThatWaitsForItsTurnSaysSo) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  rig.Take<AskSwarm>();
  rig.Swarm({.we_lead = true});
  const RequestId upstream = rig.TakeOne<FetchUpstream>().id;
  rig.Pass(index::kSwarmPace * 5 / 4 - 1ms);
  rig.Take<AskSwarm>();
  rig.Swarm({.we_lead = true});
  rig.Waiting(upstream);
  rig.Pass(index::kSwarmPace * 5 / 4);
  EXPECT_TRUE(rig.TakeOne<AskSwarm>().waiting);
  rig.Swarm({.we_lead = true});
  rig.Pass(1s);  // its turn has come
  EXPECT_FALSE(rig.Take<AskSwarm>().back().waiting);
}

TEST(DownloadSwarmTest, ALeadThatWaitsForItsTurnIsWaitedForButNotForEver) {
  DownloadRig rig(true, Arbitrated());
  rig.Start();
  rig.Resolved();
  const Time start = rig.now;
  rig.Swarm({.lead = Peer(5), .lead_waits = true});
  while (rig.Count<FetchUpstream>() == 0 && rig.now < start + 10min) {
    rig.Pass(100ms);
    for (const FetchMap& map : rig.Take<FetchMap>()) rig.Failed(map.id, Code::kNotFound);
    const int asks = rig.Count<AskSwarm>();
    rig.Take<AskSwarm>();
    if (asks > 0) rig.Swarm({.lead = Peer(5), .lead_waits = true});
  }
  EXPECT_GE(rig.now - start, index::kLeadWaitMax);
  EXPECT_LE(rig.now - start, index::kLeadWaitMax + Arbitrated().lead_budget + 1s);
  EXPECT_EQ(rig.Count<GaveUp>(), 0);
}

}  // namespace
}  // namespace shoal::fetch
