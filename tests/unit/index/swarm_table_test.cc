#include "index/swarm_table.h"

#include <gtest/gtest.h>

#include <set>

#include "base/rng.h"
#include "tests/unit/numbered.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;

class SwarmTableTest : public ::testing::Test {
 protected:
  SwarmAnswer Ask(int peer, bool wants_lead, std::int64_t progress = 0, int blob = 0) {
    auto answer = table_.OnAsk(now_, {.peer = PeerNo(peer),
                                      .digest = DigestNo(blob),
                                      .wants_lead = wants_lead,
                                      .progress = progress});
    table_.CheckInvariants();
    return answer;
  }
  void Pass(Duration time) { now_ += time; }

  Time now_{std::chrono::seconds(1)};
  SwarmTable table_{SwarmLimits{.blobs_max = 3, .members_max = 4}};
};

TEST_F(SwarmTableTest, TheFirstWhoWishesItLeads) {
  EXPECT_EQ(Ask(1, false).lead, std::nullopt);
  EXPECT_EQ(Ask(2, true).lead, PeerNo(2));
  EXPECT_EQ(Ask(3, true).lead, PeerNo(2));
  EXPECT_EQ(Ask(1, true).lead, PeerNo(2));
}

TEST_F(SwarmTableTest, EachBlobHasItsOwnLead) {
  EXPECT_EQ(Ask(1, true, 0, 0).lead, PeerNo(1));
  EXPECT_EQ(Ask(2, true, 0, 1).lead, PeerNo(2));
}

TEST_F(SwarmTableTest, ALeadThatRenewsKeepsIt) {
  EXPECT_EQ(Ask(1, true).lead, PeerNo(1));
  for (int i = 1; i < 20; ++i) {
    Pass(kSwarmPace);
    EXPECT_EQ(Ask(1, true, i).lead, PeerNo(1));
    EXPECT_EQ(Ask(2, true).lead, PeerNo(1));
  }
}

TEST_F(SwarmTableTest, ADeadLeadIsReplacedWithinASecond) {
  Ask(1, true);
  Pass(kLeadLease - milliseconds(1));
  EXPECT_EQ(Ask(2, true).lead, PeerNo(1));
  Pass(milliseconds(1));
  EXPECT_EQ(Ask(2, true).lead, PeerNo(2));
  EXPECT_LE(kLeadLease, std::chrono::seconds(1));
}

TEST_F(SwarmTableTest, ALeadWithoutProgressLosesItAndPatienceDoubles) {
  Ask(1, true);
  for (Duration waited{0}; waited < kLeadPatience; waited += kSwarmPace) {
    EXPECT_EQ(Ask(1, true).lead, PeerNo(1));
    Pass(kSwarmPace);
  }
  EXPECT_EQ(Ask(2, true).lead, PeerNo(2));
  EXPECT_EQ(Ask(1, true).lead, PeerNo(2)) << "the old lead hears so";
  for (Duration waited{0}; waited < kLeadPatience; waited += kSwarmPace) {
    Pass(kSwarmPace);
    Ask(2, true);
  }
  EXPECT_EQ(Ask(1, true).lead, PeerNo(2)) << "the second lead has twice the time";
}

TEST_F(SwarmTableTest, ALeadMayGiveItBack) {
  Ask(1, true);
  EXPECT_EQ(Ask(1, false).lead, std::nullopt);
  EXPECT_EQ(Ask(2, true).lead, PeerNo(2));
  table_.OnAsk(now_, {.peer = PeerNo(2), .digest = DigestNo(0), .wants_lead = true, .whole = true});
  EXPECT_EQ(Ask(3, true).lead, PeerNo(3));
  table_.OnAsk(now_, {.peer = PeerNo(3), .digest = DigestNo(0), .leaving = true});
  EXPECT_EQ(Ask(1, true).lead, PeerNo(1));
}

TEST_F(SwarmTableTest, ADeadLeadThatIsMissedIsReplacedSooner) {
  Ask(1, true);
  Pass(milliseconds(100));
  const SwarmAsk missed{.peer = PeerNo(2), .digest = DigestNo(0), .misses_lead = true};
  const SwarmAnswer answer = table_.OnAsk(now_, missed);
  EXPECT_EQ(answer.lead, PeerNo(1)) << "it may be on its way";
  EXPECT_EQ(answer.lease, kLeadDoubt - milliseconds(100));
  Pass(answer.lease);
  EXPECT_EQ(Ask(2, true).lead, PeerNo(2));
}

TEST_F(SwarmTableTest, ALivingLeadThatIsMissedKeepsIt) {
  Ask(1, true);
  for (int i = 1; i < 20; ++i) {
    Pass(kSwarmPace);
    table_.OnAsk(
        now_, {.peer = PeerNo(2), .digest = DigestNo(0), .wants_lead = true, .misses_lead = true});
    EXPECT_EQ(Ask(1, true, i).lead, PeerNo(1));
  }
}

TEST_F(SwarmTableTest, AGoneLeadIsReplacedAtOnce) {
  Ask(1, true);
  Ask(2, true);
  table_.OnPeerGone(now_, PeerNo(1));
  table_.CheckInvariants();
  const auto answer = Ask(2, true);
  EXPECT_EQ(answer.lead, PeerNo(2));
  EXPECT_TRUE(answer.members.empty());
}

TEST_F(SwarmTableTest, NamesTheLeadFirstAndNeverTheAsker) {
  Ask(1, true);
  Ask(2, false);
  Ask(3, false);
  EXPECT_EQ(Ask(4, false).members, (std::vector{PeerNo(1), PeerNo(3), PeerNo(2)}));
}

TEST_F(SwarmTableTest, NamesThoseThatHaveAllOfItBeforeOthers) {
  table_.OnAsk(now_, {.peer = PeerNo(2), .digest = DigestNo(0), .whole = true});
  Ask(3, false);
  Ask(1, true);
  EXPECT_EQ(Ask(4, false).members, (std::vector{PeerNo(1), PeerNo(2), PeerNo(3)}));
}

TEST_F(SwarmTableTest, MembersThatDoNotAskAgainAreForgotten) {
  Ask(1, false);
  table_.OnAsk(now_, {.peer = PeerNo(2), .digest = DigestNo(0), .whole = true});
  Pass(kMemberLife);
  EXPECT_EQ(Ask(3, false).members, std::vector{PeerNo(2)}) << "a holder stays longer";
  Pass(kHolderLife);
  EXPECT_TRUE(Ask(3, false).members.empty());
}

TEST(LargeSwarmTest, IsAskedAboutAsOftenAsASmallOne) {
  SwarmTable table{SwarmLimits{}};
  const Time now{std::chrono::seconds(1)};
  const auto ask = [&](int peer, bool wishes) {
    return table.OnAsk(now, {.peer = PeerNo(peer), .digest = DigestNo(0), .wants_lead = wishes})
        .pace;
  };
  for (int peer = 1; peer <= 100; ++peer) EXPECT_EQ(ask(peer, false), kSwarmPace);
  for (int peer = 101; peer <= 1000; ++peer) EXPECT_EQ(ask(peer, false), kAskGap * peer);
  EXPECT_EQ(ask(7, true), kSwarmPace) << "whoever wishes the lead is one of few";
  for (int peer = 1; peer <= 1000; ++peer) ask(peer, true);
  EXPECT_EQ(ask(7, true), kAskGap * 1000) << "unless all do";
  for (int peer = 1001; peer <= 15'000; ++peer) ask(peer, false);
  EXPECT_EQ(ask(7, false), kSwarmPaceMax);
  table.CheckInvariants();
}

TEST(LargeSwarmTest, MembersStayForThreeOfTheirPaces) {
  SwarmTable table{SwarmLimits{}};
  Time now{std::chrono::seconds(1)};
  for (int peer = 1; peer <= 2000; ++peer) table.OnAsk(now, {PeerNo(peer), DigestNo(0)});
  now += kAskGap * 2000 * 2;
  EXPECT_EQ(table.OnAsk(now, {PeerNo(1), DigestNo(0)}).members.size(), kMembersGiven);
  now += kAskGap * 2000 * 3;
  EXPECT_TRUE(table.OnAsk(now, {PeerNo(1), DigestNo(0)}).members.empty());
}

TEST_F(SwarmTableTest, AllBlobsTogetherHaveABoundOfMembersToo) {
  SwarmTable table{SwarmLimits{.all_members_max = 10}};
  for (int blob = 0; blob < 3; ++blob) {
    for (int peer = 1; peer <= 4; ++peer) table.OnAsk(now_, {PeerNo(peer), DigestNo(blob)});
    table.CheckInvariants();
  }
  EXPECT_EQ(table.blob_count(), 2U) << "the one asked about longest ago made room";
}

TEST_F(SwarmTableTest, FullTablesForgetTheOldest) {
  for (int peer = 1; peer <= 6; ++peer) Ask(peer, false);
  EXPECT_EQ(Ask(6, false).members.size(), 3U);
  for (int blob = 0; blob < 5; ++blob) Ask(1, true, 0, blob);
  EXPECT_EQ(table_.blob_count(), 3U);
  EXPECT_EQ(Ask(2, true, 0, 0).lead, PeerNo(2)) << "blob 0 was forgotten, and its lead with it";
}

TEST_F(SwarmTableTest, ForgetsWhatNobodyAsksAbout) {
  Ask(1, true);
  EXPECT_EQ(table_.NextDeadline(), now_ + kHolderLife);
  Pass(kHolderLife);
  table_.OnDeadline(now_);
  EXPECT_EQ(table_.blob_count(), 0U);
  EXPECT_EQ(table_.NextDeadline(), kNever);
}

TEST_F(SwarmTableTest, NeverHasTwoLeadsWhateverIsAsked) {
  Rng rng(7);
  for (int step = 0; step < 20'000; ++step) {
    const int peer = 1 + static_cast<int>(rng.Below(8));
    const int blob = static_cast<int>(rng.Below(4));
    const auto answer = table_.OnAsk(now_, {.peer = PeerNo(peer),
                                            .digest = DigestNo(blob),
                                            .wants_lead = rng.Below(2) == 0,
                                            .whole = rng.Below(10) == 0,
                                            .leaving = rng.Below(10) == 0,
                                            .progress = static_cast<std::int64_t>(rng.Below(5))});
    table_.CheckInvariants();
    ASSERT_LE(answer.members.size(), 4U);
    ASSERT_FALSE(answer.lead && answer.lease <= Duration(0));
    if (rng.Below(50) == 0) table_.OnPeerGone(now_, PeerNo(peer));
    Pass(milliseconds(rng.Below(400)));
  }
}

TEST(RankArbitersTest, EveryHostRanksAlikeAndDigestsSpread) {
  std::vector<PeerId> peers;
  for (int i = 0; i < 100; ++i) peers.push_back(PeerNo(i * 7));
  std::set<PeerId> firsts;
  for (int blob = 0; blob < 200; ++blob) {
    const auto best = RankArbiters(DigestNo(blob), peers, 3);
    ASSERT_EQ(best.size(), 3U);
    auto shuffled = peers;
    std::reverse(shuffled.begin(), shuffled.end());
    EXPECT_EQ(RankArbiters(DigestNo(blob), shuffled, 3), best);
    firsts.insert(best[0]);
  }
  EXPECT_GT(firsts.size(), 60U);
}

TEST(RankArbitersTest, APeerThatLeavesMovesOnlyItsOwnDigests) {
  std::vector<PeerId> peers;
  for (int i = 0; i < 20; ++i) peers.push_back(PeerNo(i));
  const std::vector<PeerId> fewer(peers.begin() + 1, peers.end());
  for (int blob = 0; blob < 100; ++blob) {
    const auto before = RankArbiters(DigestNo(blob), peers, 1);
    if (before[0] != peers[0]) {
      EXPECT_EQ(RankArbiters(DigestNo(blob), fewer, 1), before);
    }
  }
}

TEST_F(SwarmTableTest, ALeadThatWaitsForItsTurnIsNotStalledForAWhile) {
  const auto ask = [this](int peer, bool waiting) {
    return table_.OnAsk(
        now_,
        {.peer = PeerNo(peer), .digest = DigestNo(0), .wants_lead = true, .waiting = waiting});
  };
  const Time start = now_;
  EXPECT_EQ(ask(1, true).lead, PeerNo(1));
  std::optional<PeerId> lead = PeerNo(1);
  while (lead == PeerNo(1) && now_ < start + kLeadWaitMax * 2) {
    Pass(kSwarmPace);
    ask(1, true);
    const auto answer = ask(2, false);
    lead = answer.lead;
    EXPECT_EQ(answer.lead_waits, lead == PeerNo(1) && now_ < start + kLeadWaitMax);
  }
  EXPECT_GE(now_ - start, kLeadWaitMax);
  EXPECT_LE(now_ - start, kLeadWaitMax + kLeadPatience + kSwarmPace * 2);
  EXPECT_FALSE(ask(1, false).lead_waits);
}

TEST_F(SwarmTableTest, AnAskForSlotsIsNoMemberOfASwarm) {
  const auto answer =
      table_.OnAsk(now_, {.peer = PeerNo(1), .digest = DigestNo(0), .slots = SlotAsk{2, 0, 4}});
  EXPECT_EQ(answer, (SwarmAnswer{.slots = 2}));
  EXPECT_EQ(table_.blob_count(), 0U);
  EXPECT_TRUE(Ask(2, false).members.empty());
}

}  // namespace
}  // namespace shoal::index
