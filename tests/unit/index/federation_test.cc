#include "index/federation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/index/federation_rig.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/rounds.h"

namespace shoal::index {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

const std::string kRoom = "room/open";

TEST(FederationTest, AnyServerAnswersForAllWithinASecond) {
  FederationRig rig(5);
  rig.Run(seconds(5));
  for (int peer = 0; peer < 10; ++peer) {
    ASSERT_EQ(rig.Register(peer % 5, peer, {kRoom}), RendezvousStatus::kOk);
  }
  ASSERT_TRUE(rig.RunUntil(
      [&] {
        return rig.AllFind(kRoom, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
      },
      seconds(1)));
  rig.CheckInvariants();
}

TEST(FederationTest, TakesBackWhatIsTakenBackAndForgetsWhatEnds) {
  FederationRig rig(3);
  rig.Run(seconds(5));
  rig.Register(0, 1, {kRoom, "blob/a"});
  rig.Register(0, 2, {kRoom}, 1, seconds(30));
  rig.Run(seconds(1));
  ASSERT_TRUE(rig.AllFind(kRoom, {1, 2}));
  rig.Unregister(0, 1, {kRoom});
  rig.Run(seconds(1));
  EXPECT_TRUE(rig.AllFind(kRoom, {2}));
  EXPECT_TRUE(rig.AllFind("blob/a", {1}));
  const auto before = rig.traffic.pages;
  rig.Run(seconds(30));
  EXPECT_TRUE(rig.AllFind(kRoom, {}));
  EXPECT_EQ(rig.traffic.pages, before);  // nobody is told that time has passed
  // Everybody forgets it, and then has it again.
  rig.Register(0, 1, {kRoom});
  rig.Run(seconds(1));
  EXPECT_TRUE(rig.AllFind(kRoom, {1}));
  rig.CheckInvariants();
}

TEST(FederationTest, APeerAtTwoServersIsToldOnceWithItsNewestRecordUntilTheLastOfThemEnds) {
  FederationRig rig(3);
  rig.Run(seconds(5));
  rig.Register(0, 1, {kRoom}, 5, seconds(60));
  rig.Register(1, 1, {kRoom}, 7, seconds(20));
  rig.Run(seconds(1));
  EXPECT_TRUE(rig.AllFind(kRoom, {1}));
  for (int n = 0; n < 3; ++n) EXPECT_EQ(rig.SequenceOf(n, kRoom, 1), 7U) << n;
  rig.Run(seconds(25));
  EXPECT_TRUE(rig.AllFind(kRoom, {1}));
  rig.Unregister(0, 1, {kRoom});
  rig.Run(seconds(1));
  EXPECT_TRUE(rig.AllFind(kRoom, {}));
  rig.CheckInvariants();
}

TEST(FederationTest, NobodysWordTakesBackAnothers) {
  FederationRig rig(3);
  rig.Run(seconds(5));
  rig.Register(0, 1, {kRoom}, 1);
  rig.Register(1, 1, {kRoom}, 2);
  rig.Run(seconds(1));
  rig.Unregister(1, 1, {kRoom});
  rig.Run(seconds(1));
  EXPECT_TRUE(rig.AllFind(kRoom, {1}));
  rig.CheckInvariants();
}

TEST(FederationTest, GoesOnByIncrementsAfterAPartitionHowLongItMayBe) {
  FederationRig rig(5);
  for (int peer = 0; peer < 100; ++peer) {
    rig.Register(peer % 5, peer, {kRoom}, 1, hours(2));
  }
  rig.Run(seconds(10));
  std::vector<int> all;
  for (int peer = 0; peer < 100; ++peer) all.push_back(peer);
  ASSERT_TRUE(rig.AllFind(kRoom, all));
  rig.Part({0, 1});
  rig.Run(seconds(30));
  rig.traffic = {};
  rig.Register(0, 200, {kRoom}, 1, hours(2));
  rig.Register(4, 201, {kRoom}, 1, hours(2));
  rig.Unregister(3, 3, {kRoom});
  rig.Run(minutes(20));
  EXPECT_EQ(rig.Discover(1, kRoom).size(), 101U);
  EXPECT_EQ(rig.Discover(2, kRoom).size(), 100U);
  const auto in_parts = rig.traffic.peers;
  rig.HealAll();
  all.erase(all.begin() + 3);
  all.insert(all.end(), {200, 201});
  const auto took = rig.RunUntil([&] { return rig.AllFind(kRoom, all); }, minutes(1));
  ASSERT_TRUE(took);
  EXPECT_LE(*took, seconds(16));
  EXPECT_EQ(rig.traffic.snapshots, 0U);
  // Three changes, to those who did not have them.
  EXPECT_LE(rig.traffic.peers - in_parts, 3U + 2U * 2U + 10U);
  rig.CheckInvariants();
}

TEST(FederationTest, AHealedLinkIsUsedWithinTheLongestRetryHoweverLongQuestionsTake) {
  FederationRig rig(2);
  rig.patience = seconds(10);
  const auto reach_each_other = [&] {
    return rig.federation(0).Servers(rig.wall())[1].works &&
           rig.federation(1).Servers(rig.wall())[1].works;
  };
  rig.Run(seconds(5));
  ASSERT_TRUE(reach_each_other());
  for (int cut = 0; cut < 30; ++cut) {
    rig.Cut(0, 1);
    rig.Run(minutes(3) +
            milliseconds(700) * cut);  // heals at another place of an attempt each time
    ASSERT_FALSE(reach_each_other());
    rig.Heal(0, 1);
    const auto took = rig.RunUntil(reach_each_other, minutes(1));
    ASSERT_TRUE(took);
    EXPECT_LE(*took, FederationLimits().retry_max + milliseconds(20)) << cut;
    rig.Run(minutes(1));
  }
  rig.CheckInvariants();
}

TEST(FederationTest, AServerThatWorksHasNoTroubleThoughOthersToldAllOfItBefore) {
  FederationRig rig(3);
  rig.Register(0, 1, {kRoom});
  rig.Cut(0, 2);
  rig.Run(minutes(1));
  ASSERT_EQ(rig.Discover(2, kRoom), std::vector{1});  // by way of the second
  ASSERT_NE(rig.federation(2).TroubleOf(rig.IdOf(0)), "");
  rig.Heal(0, 2);
  ASSERT_TRUE(rig.RunUntil([&] { return rig.federation(2).Servers(rig.wall())[1].works; },
                           FederationLimits().retry_max + seconds(1)));
  rig.Run(milliseconds(200));  // and not when its log has news
  EXPECT_EQ(rig.federation(2).TroubleOf(rig.IdOf(0)), "");
}

TEST(FederationTest, AServerThatIsUpAtLastIsMetByAllWhenItMeetsThem) {
  FederationRig rig(2);
  rig.Kill(1);
  rig.Run(minutes(5));  // the first asks it seldom by now
  rig.Start(1);
  const auto took = rig.RunUntil(
      [&] {
        return rig.federation(0).TroubleOf(rig.IdOf(1)).empty() &&
               rig.federation(0).Servers(rig.wall()).size() == 2 &&
               rig.federation(1).TroubleOf(rig.IdOf(0)).empty();
      },
      minutes(1));
  ASSERT_TRUE(took);
  EXPECT_LE(*took, seconds(5));
}

TEST(FederationTest, AFlappingLinkCostsIncrementsOnly) {
  FederationRig rig(2);
  for (int peer = 0; peer < 50; ++peer) rig.Register(0, peer, {kRoom}, 1, hours(10));
  rig.Run(seconds(10));
  rig.traffic = {};
  for (int flap = 0; flap < 40; ++flap) {
    rig.Cut(0, 1);
    rig.Run(seconds(7));
    rig.Register(0, 100 + flap, {kRoom}, 1, hours(10));
    rig.Heal(0, 1);
    rig.Run(seconds(9));
  }
  rig.Run(seconds(30));
  EXPECT_EQ(rig.Discover(1, kRoom).size(), 90U);
  EXPECT_EQ(rig.traffic.snapshots, 0U);
  // Each once, and again when its page was lost on the way.
  EXPECT_LE(rig.traffic.peers, 90U);
  rig.CheckInvariants();
}

TEST(FederationTest, ARestartedServerAnswersAtOnceAndGoesOnByIncrements) {
  FederationRig rig(3);
  for (int peer = 0; peer < 30; ++peer) rig.Register(peer % 3, peer, {kRoom}, 1, hours(1));
  rig.Run(seconds(10));
  rig.Kill(1);
  rig.Register(0, 100, {kRoom}, 1, hours(1));
  rig.Run(seconds(40));
  rig.traffic = {};
  rig.Start(1);
  EXPECT_EQ(rig.Discover(1, kRoom).size(), 30U);
  rig.Run(seconds(20));
  EXPECT_EQ(rig.Discover(1, kRoom).size(), 31U);
  EXPECT_EQ(rig.traffic.snapshots, 0U);
  // Its own log goes on as well.
  rig.Register(1, 101, {kRoom}, 1, hours(1));
  rig.Unregister(1, 1, {kRoom});
  rig.Run(seconds(1));
  EXPECT_EQ(rig.Discover(2, kRoom).size(), 31U);
  EXPECT_EQ(rig.traffic.snapshots, 0U);
  rig.CheckInvariants();
}

TEST(FederationTest, ASnapshotOfALaterLogReplacesTheCopy) {
  FederationRig rig(2);
  for (int peer = 0; peer < 10; ++peer) rig.Register(0, peer, {kRoom}, 1, hours(1));
  rig.Run(seconds(10));
  ASSERT_EQ(rig.Discover(1, kRoom).size(), 10U);
  rig.Kill(0);
  rig.LoseDisk(0);
  rig.Start(0);
  rig.Register(0, 50, {kRoom}, 1, hours(1));
  rig.Run(seconds(40));
  EXPECT_THAT(rig.Discover(1, kRoom), ElementsAre(50));
  rig.CheckInvariants();
}

TEST(FederationTest, TakesALongSnapshotInPagesAndLosesNothingThatChangesMeanwhile) {
  FederationRig rig(2);
  rig.Cut(0, 1);
  std::vector<std::string> names;
  for (int n = 0; n < 900; ++n) names.push_back("blob/" + std::to_string(n));
  for (int peer = 0; peer < 20; ++peer) rig.Register(0, peer, names, 1, hours(1));
  rig.Heal(0, 1);
  ASSERT_TRUE(rig.RunUntil([&] { return rig.registrations(1).size() > 0; }, minutes(1)));
  ASSERT_LT(rig.registrations(1).size(), 18'000U);
  rig.Register(0, 3, {"blob/5"}, 2, hours(1));  // moves to the end
  rig.Unregister(0, 4, {"blob/6"});
  rig.Run(seconds(10));
  EXPECT_EQ(rig.registrations(1).size(), 17'999U);
  EXPECT_EQ(rig.Discover(1, "blob/5").size(), 20U);
  EXPECT_EQ(rig.Discover(1, "blob/6").size(), 19U);
  EXPECT_EQ(rig.traffic.snapshots, 1U);
  rig.CheckInvariants();
}

TEST(FederationTest, AServerThatIsAwayIsFollowedThroughOthers) {
  FederationRig rig(4);
  rig.Register(0, 1, {kRoom});
  rig.Run(seconds(10));
  // Nobody but the second server reaches the first; the fourth reaches the third alone.
  rig.Cut(0, 2);
  rig.Cut(0, 3);
  rig.Cut(1, 3);
  rig.Run(seconds(30));
  rig.Register(0, 2, {kRoom});
  rig.Unregister(0, 1, {kRoom});
  ASSERT_TRUE(rig.RunUntil([&] { return rig.AllFind(kRoom, {2}); }, seconds(10)));
  EXPECT_GT(rig.traffic.relayed, 0U);
  // And there is an end of it.
  const auto relayed = rig.traffic.relayed;
  rig.Run(minutes(2));
  EXPECT_EQ(rig.traffic.relayed, relayed);
  rig.CheckInvariants();
}

TEST(FederationTest, ANewcomerLearnsOfADeadServersPeersFromOthers) {
  FederationRig rig(3);
  rig.Kill(2);
  rig.Run(seconds(10));
  rig.Register(0, 1, {kRoom});
  rig.Run(seconds(2));
  rig.Kill(0);
  rig.Start(2);
  ASSERT_TRUE(rig.RunUntil([&] { return rig.Discover(2, kRoom) == std::vector{1}; }, seconds(30)));
  rig.CheckInvariants();
}

TEST(FederationTest, ARelayCanForgeNothing) {
  FederationRig rig(3);
  rig.Register(0, 1, {kRoom});
  rig.Run(seconds(10));
  rig.Cut(0, 2);
  rig.Run(seconds(30));
  Rng rng(7);
  int lies = 0;
  rig.lie = [&](int, std::string answer) {
    if (answer.find("\"page\"") == std::string::npos) return answer;
    ++lies;
    // A namespace that nobody registered in, or anything.
    const auto at = answer.find("room/open");
    if (lies % 2 == 0 && at != std::string::npos) return answer.replace(at, 9, "room/evil");
    return Mutate(answer, rng);
  };
  for (int peer = 2; peer < 60; ++peer) {
    rig.Register(0, peer, {kRoom});
    rig.Run(seconds(3));
    EXPECT_THAT(rig.Discover(2, "room/evil"), IsEmpty());
  }
  EXPECT_GT(lies, 5);
  // What was kept back comes from the server itself.
  rig.lie = {};
  rig.HealAll();
  rig.Run(seconds(20));
  EXPECT_EQ(rig.Discover(2, kRoom).size(), 59U);
  rig.CheckInvariants();
}

TEST(FederationTest, ADeadServersEntriesEndAndItsCopyIsForgotten) {
  FederationRig rig(2);
  rig.Register(0, 1, {kRoom}, 1, seconds(300));
  rig.Register(0, 2, {"blob/a"}, 1, hours(5));
  rig.Run(seconds(10));
  rig.Kill(0);
  rig.Run(minutes(6));
  EXPECT_TRUE(rig.AllFind(kRoom, {}));
  EXPECT_TRUE(rig.AllFind("blob/a", {2}));
  rig.Run(minutes(60));
  EXPECT_TRUE(rig.AllFind("blob/a", {}));
  EXPECT_EQ(rig.registrations(1).size(), 0U);
  EXPECT_EQ(rig.registrations(1).peer_count(), 0U);
  rig.Start(0);
  rig.Run(seconds(30));
  EXPECT_TRUE(rig.AllFind("blob/a", {2}));
  rig.CheckInvariants();
}

TEST(FederationTest, ServersThatOneOfOursListsTakePartUntilNobodyListsThem) {
  // 0 lists 1; 1 lists 0 and 2; 2 lists 1.
  FederationRig rig(3, {{1}, {0, 2}, {1}});
  rig.Run(seconds(20));
  rig.Register(0, 1, {kRoom});
  rig.Register(2, 2, {kRoom});
  rig.Run(seconds(2));
  EXPECT_TRUE(rig.AllFind(kRoom, {1, 2}));
  const auto knows = [&](int n, int other) { return rig.federation(n).IsMember(rig.IdOf(other)); };
  EXPECT_TRUE(knows(0, 2) && knows(2, 0));
  rig.Kill(1);
  rig.Run(minutes(30));
  EXPECT_TRUE(knows(0, 2));
  rig.Run(minutes(40));
  EXPECT_FALSE(knows(0, 2));
  EXPECT_TRUE(knows(0, 1));
  rig.CheckInvariants();
}

TEST(FederationTest, ReadsAllOfItAnewWhenWhatItTookWasNotKept) {
  FederationRig rig(2);
  for (int peer = 0; peer < 10; ++peer) rig.Register(0, peer, {kRoom}, 1, hours(1));
  rig.Run(seconds(10));
  rig.traffic = {};
  rig.federation(1).OnNotKept(rig.now());
  rig.Register(0, 20, {kRoom}, 1, hours(1));
  rig.Run(seconds(30));
  EXPECT_EQ(rig.traffic.snapshots, 1U);
  EXPECT_EQ(rig.Discover(1, kRoom).size(), 11U);
  rig.federation(1).OnNotKept(rig.now());  // a disk that stays full does not do it all the time
  rig.Run(minutes(5));
  EXPECT_EQ(rig.traffic.snapshots, 1U);
  rig.CheckInvariants();
}

TEST(FederationTest, WhoMissedATombstoneThatIsNoMoreBeginsAnew) {
  RegistrationLimits limits;
  limits.tombstones_max = 5;
  FederationRig rig(2, {}, limits);
  for (int peer = 0; peer < 30; ++peer) rig.Register(0, peer, {kRoom}, 1, hours(5));
  rig.Run(seconds(10));
  rig.Part({1});
  for (int peer = 0; peer < 10; ++peer) {
    rig.Unregister(0, peer, {kRoom});
    rig.Run(seconds(1));
  }
  rig.Kill(0);  // what it has no more it has no more afterwards either
  rig.Start(0);
  rig.traffic = {};
  rig.HealAll();
  rig.Run(minutes(1));
  EXPECT_EQ(rig.Discover(1, kRoom).size(), 20U);
  EXPECT_EQ(rig.traffic.snapshots, 1U);
  rig.CheckInvariants();
}

TEST(FederationTest, TellsItsLogToNobodyElse) {
  // The second lists the first, which does not list it.
  FederationRig rig(2, {{}, {0}});
  rig.Register(0, 1, {kRoom});
  rig.Run(minutes(2));
  EXPECT_THAT(rig.Discover(1, kRoom), IsEmpty());
  EXPECT_EQ(rig.federation(1).TroubleOf(rig.IdOf(0)), "not known here");
  EXPECT_LE(rig.traffic.other_bytes, 30U * 400U);  // it is asked ever more seldom
}

TEST(FederationTest, KeepsRoomForItsOwnPeersAndCountsWhatItLeavesOut) {
  RegistrationLimits limits;
  limits.peers_max = 16;
  FederationRig rig(2, {}, limits);
  for (int peer = 0; peer < 16; ++peer) rig.Register(0, peer, {kRoom}, 1, hours(1));
  rig.Run(seconds(10));
  EXPECT_EQ(rig.Discover(1, kRoom).size(), 14U);
  EXPECT_GE(rig.federation(1).left_out(), 2U);
  EXPECT_EQ(rig.Register(1, 100, {kRoom}), RendezvousStatus::kOk);
  EXPECT_EQ(rig.Register(1, 101, {kRoom}), RendezvousStatus::kOk);
  EXPECT_EQ(rig.Register(1, 102, {kRoom}), RendezvousStatus::kUnavailable);
  rig.CheckInvariants();
}

// What each server answers is what its own registrations and, of the others', the copies would be
// if nobody had been away.
TEST(FederationTest, ConvergesWhateverHappens) {
  for (std::uint64_t seed = 1; seed <= std::uint64_t(Rounds(5)); ++seed) {
    FederationRig rig(5);
    Rng rng(seed);
    std::map<std::pair<int, int>, std::set<std::string>> held;  // of server and peer
    std::map<int, std::uint64_t> sequence;
    for (int step = 0; step < 120; ++step) {
      const int n = static_cast<int>(rng.Below(5));
      const int peer = static_cast<int>(rng.Below(12));
      const std::string name = rng.Below(2) == 0 ? kRoom : "blob/" + std::to_string(rng.Below(4));
      switch (rng.Below(8)) {
        case 0:
          rig.Part({n, static_cast<int>(rng.Below(5))});
          break;
        case 1:
          rig.HealAll();
          break;
        case 2:
          rig.Kill(n);
          if (rng.Below(6) == 0) {
            rig.LoseDisk(n);
            for (int p = 0; p < 12; ++p) held.erase({n, p});
          }
          rig.Start(n);
          break;
        case 3:
          rig.Unregister(n, peer, {name});
          held[{n, peer}].erase(name);
          break;
        default:
          ASSERT_EQ(rig.Register(n, peer, {name}, ++sequence[peer], hours(24)),
                    RendezvousStatus::kOk);
          held[{n, peer}].insert(name);
      }
      rig.Run(milliseconds(static_cast<std::int64_t>(rng.Below(8000))));
      if (step % 10 == 0) rig.CheckInvariants();
    }
    rig.HealAll();
    rig.Run(minutes(2));
    rig.CheckInvariants();
    for (const std::string name : {"room/open", "blob/0", "blob/1", "blob/2", "blob/3"}) {
      std::set<int> peers;
      for (const auto& [who, names] : held) {
        if (names.contains(name)) peers.insert(who.second);
      }
      for (int n = 0; n < 5; ++n) {
        EXPECT_EQ(rig.Discover(n, name), std::vector<int>(peers.begin(), peers.end()))
            << "seed " << seed << ", server " << n << ", " << name;
      }
    }
  }
}

}  // namespace
}  // namespace shoal::index
