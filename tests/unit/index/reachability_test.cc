#include "index/reachability.h"
#include "tests/unit/numbered.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class ReachabilityTest : public testing::Test {
 protected:
  // Peers 1 to `count` are reached.
  void Reach(int count) {
    std::vector<PeerId> peers;
    for (int i = 1; i <= count; ++i) peers.push_back(PeerNo(i));
    reachability_.OnPeers(now_, peers, Clear());
    Check();
  }
  void Pass(Duration time) {
    now_ += time;
    reachability_.OnDeadline(now_, Clear());
    Check();
  }
  void Answer(const PeerId& peer, std::optional<bool> dialled) {
    reachability_.OnAnswer(now_, peer, dialled, Clear());
    Check();
  }
  void Place(const PeerId& peer) {
    reachability_.OnPlace(now_, peer, Clear());
    Check();
  }
  void Check() const { reachability_.CheckInvariants(); }
  ReachActions& Clear() {
    out_.clear();
    return out_;
  }
  template <class Action>
  std::vector<PeerId> Told() const {
    std::vector<PeerId> peers;
    for (const auto& action : out_) {
      if (const auto* told = std::get_if<Action>(&action)) peers.push_back(told->peer);
    }
    return peers;
  }
  // A whole round in which the first `yes` of those asked say yes.
  void Round(int yes) {
    Pass(reachability_.NextDeadline() - now_);
    auto asked = Told<AskDialBack>();
    ReachActions all;
    for (const PeerId& peer : asked) {
      Answer(peer, yes-- > 0);
      all.insert(all.end(), out_.begin(), out_.end());
    }
    out_ = all;
  }

  ReachabilityLimits limits_;
  Reachability reachability_{limits_, Rng(1)};
  Time now_{seconds(100)};
  ReachActions out_;
};

TEST_F(ReachabilityTest, AsksThreePeersOnceItReachesSome) {
  EXPECT_EQ(reachability_.NextDeadline(), kNever);
  Reach(5);
  EXPECT_THAT(out_, IsEmpty()) << "more may be reached in a moment";
  EXPECT_EQ(reachability_.NextDeadline(), now_ + limits_.first);
  Pass(limits_.first);
  EXPECT_THAT(Told<AskDialBack>(), SizeIs(3));
  EXPECT_EQ(reachability_.reach(), index::Reach::kUnknown);
}

TEST_F(ReachabilityTest, WhoIsDialledAsksForNoPlace) {
  Reach(5);
  Round(3);
  EXPECT_EQ(reachability_.reach(), index::Reach::kDialable);
  EXPECT_THAT(Told<AskForPlace>(), IsEmpty());
  EXPECT_EQ(reachability_.NextDeadline(), now_ + limits_.again_dialable);
}

TEST_F(ReachabilityTest, WhomHalfCannotDialAsksForTwoPlaces) {
  Reach(2);
  Round(1);
  EXPECT_EQ(reachability_.reach(), index::Reach::kUndialable);
  EXPECT_THAT(Told<AskForPlace>(), UnorderedElementsAre(PeerNo(1), PeerNo(2)));
  EXPECT_THAT(reachability_.Relays(), IsEmpty()) << "until they are given";
  Place(PeerNo(2));
  EXPECT_THAT(reachability_.Relays(), UnorderedElementsAre(PeerNo(2)));
}

TEST_F(ReachabilityTest, MostDecide) {
  Reach(3);
  Round(2);
  EXPECT_EQ(reachability_.reach(), index::Reach::kDialable);
  EXPECT_EQ(reachability_.NextDeadline(), now_ + limits_.again_dialable);
}

TEST_F(ReachabilityTest, OneYesIsAskedAboutSooner) {
  Reach(1);
  Round(1);
  EXPECT_EQ(reachability_.reach(), index::Reach::kDialable);
  EXPECT_EQ(reachability_.NextDeadline(), now_ + limits_.again);
}

TEST_F(ReachabilityTest, ARoundWithoutAnswersChangesNothing) {
  Reach(1);
  Round(0);
  EXPECT_EQ(reachability_.reach(), index::Reach::kUndialable);
  Pass(limits_.again);
  Answer(PeerNo(1), std::nullopt);
  EXPECT_EQ(reachability_.reach(), index::Reach::kUndialable);
  EXPECT_EQ(reachability_.NextDeadline(), now_ + limits_.again);
}

TEST_F(ReachabilityTest, AnswersOfWhoWasNotAskedAreNotCounted) {
  Reach(1);
  Pass(limits_.first);
  Answer(PeerNo(7), true);
  EXPECT_EQ(reachability_.reach(), index::Reach::kUnknown);
  Answer(PeerNo(1), false);
  Answer(PeerNo(1), true);
  EXPECT_EQ(reachability_.reach(), index::Reach::kUndialable);
}

TEST_F(ReachabilityTest, AnotherIsAskedWhenOneRefuses) {
  Reach(3);
  Round(0);
  const auto first = Told<AskForPlace>();
  ASSERT_THAT(first, SizeIs(2));
  reachability_.OnRefused(now_, first[0], Clear());
  const auto second = Told<AskForPlace>();
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_THAT(first, Not(Contains(second[0])));
  reachability_.OnRefused(now_, second[0], Clear());
  EXPECT_THAT(out_, IsEmpty()) << "all have been asked";
  Place(first[1]);
  for (Time start = now_; now_ < start + limits_.refused - minutes(1);) {
    Pass(minutes(1));
    EXPECT_THAT(Told<AskForPlace>(), IsEmpty());
    for (const auto& peer : Told<AskDialBack>()) Answer(peer, false);
  }
  Pass(minutes(1));
  EXPECT_THAT(Told<AskForPlace>(), SizeIs(1));
}

TEST_F(ReachabilityTest, ALostRelayIsReplacedAtOnceAndTriedAgainLater) {
  Reach(3);
  Round(0);
  const auto places = Told<AskForPlace>();
  ASSERT_THAT(places, SizeIs(2));
  Place(places[0]);
  Place(places[1]);
  reachability_.OnLost(now_, places[0], Clear());
  Check();
  const auto next = Told<AskForPlace>();
  ASSERT_THAT(next, SizeIs(1));
  EXPECT_NE(next[0], places[0]);
  EXPECT_THAT(reachability_.Relays(), UnorderedElementsAre(places[1]));
  reachability_.OnLost(now_, next[0], Clear());
  EXPECT_THAT(out_, IsEmpty());
  EXPECT_EQ(reachability_.NextDeadline(), now_ + limits_.lost);
  Pass(limits_.lost);
  EXPECT_THAT(Told<AskForPlace>(), SizeIs(1));
}

TEST_F(ReachabilityTest, LetsGoWhenItCanBeDialled) {
  Reach(3);
  Round(0);
  const auto places = Told<AskForPlace>();
  ASSERT_THAT(places, SizeIs(2));
  Place(places[0]);
  Round(3);
  EXPECT_THAT(Told<LetGo>(), UnorderedElementsAre(places[0]));
  EXPECT_THAT(reachability_.Relays(), IsEmpty());
  Place(places[1]);
  EXPECT_THAT(Told<LetGo>(), UnorderedElementsAre(places[1])) << "given after it was of no use";
}

TEST_F(ReachabilityTest, ANewPeerIsAskedForAMissingPlace) {
  Reach(1);
  Round(0);
  Place(PeerNo(1));
  Reach(2);
  EXPECT_THAT(Told<AskForPlace>(), UnorderedElementsAre(PeerNo(2)));
}

TEST_F(ReachabilityTest, KeepsItsRulesWhateverComes) {
  Rng rng(3);
  for (int i = 0; i < 5000; ++i) {
    const PeerId peer = PeerNo(static_cast<int>(rng.Below(8)));
    switch (rng.Below(6)) {
      case 0:
        Reach(static_cast<int>(rng.Below(8)));
        break;
      case 1:
        Answer(peer, rng.Below(3) == 0 ? std::nullopt : std::optional(rng.Below(4) == 0));
        break;
      case 2:
        Place(peer);
        break;
      case 3:
        reachability_.OnRefused(now_, peer, Clear());
        break;
      case 4:
        reachability_.OnLost(now_, peer, Clear());
        break;
      default:
        Pass(milliseconds(static_cast<int>(rng.Below(20'000))));
        EXPECT_GT(reachability_.NextDeadline(), now_);
    }
    Check();
  }
}

}  // namespace
}  // namespace shoal::index
