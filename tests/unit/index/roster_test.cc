#include "index/roster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "index/peer_names.h"
#include "tests/unit/index/records.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

class RosterTest : public testing::Test {
 protected:
  explicit RosterTest(RosterLimits limits = {})
      : limits_(limits), roster_(limits, KeyNo(0).id(), {"open", "blue"}, Rng(5)) {}

  ~RosterTest() override { roster_.CheckInvariants(); }

  [[nodiscard]] WallTime wall() const { return TestWall() + (now_ - kStart); }
  Status Take(const SignedRecord& record) { return roster_.OnRecord(now_, wall(), record, out_); }
  // Moves to the next deadline, and no further than `until`.
  bool Advance(Duration until) {
    const Time end = kStart + until;
    const Time next = roster_.NextDeadline();
    if (next > end) {
      now_ = std::max(now_, end);
      return false;
    }
    now_ = std::max(now_, next);
    roster_.OnDeadline(now_, wall(), out_);
    roster_.CheckInvariants();
    return true;
  }

  template <class Action>
  int Count() const {
    return static_cast<int>(std::ranges::count_if(
        out_, [](const auto& action) { return std::holds_alternative<Action>(action); }));
  }
  [[nodiscard]] PeerState StateOf(const PeerId& peer) const { return roster_.Find(peer)->state; }

  static constexpr Time kStart{Duration(1'000'000'000)};
  RosterLimits limits_;
  Roster roster_;
  Time now_ = kStart;
  RosterActions out_;
};

TEST_F(RosterTest, TakesANewPeerAndSyncsWithItAtOnce) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1))).ok());
  ASSERT_EQ(out_.size(), 2U);
  EXPECT_EQ(std::get<PeerAppeared>(out_[0]).peer, KeyNo(1).id());
  EXPECT_EQ(std::get<SyncWith>(out_[1]).peer, KeyNo(1).id());
  EXPECT_EQ(StateOf(KeyNo(1).id()), PeerState::kNew);
  EXPECT_EQ(roster_.alive_count(), 0U);
  roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
  EXPECT_EQ(StateOf(KeyNo(1).id()), PeerState::kAlive);
  EXPECT_THAT(roster_.Alive(), testing::ElementsAre(KeyNo(1).id()));
  EXPECT_EQ(roster_.Peers().size(), 1U);
}

TEST_F(RosterTest, RefusesRecordsItMustNotTake) {
  EXPECT_EQ(Take(SignedBy(KeyNo(0))).error().code, Code::kInvalid);  // ours
  EXPECT_EQ(Take(SignedBy(KeyNo(1), 1, Duration(0))).error().code, Code::kInvalid);
  EXPECT_EQ(Take(SignedBy(KeyNo(1), 1, -minutes(1))).error().code, Code::kInvalid);
  EXPECT_EQ(Take(SignedBy(KeyNo(1), 1, std::chrono::hours(73))).error().code, Code::kInvalid);
  auto stranger = RecordOf(KeyNo(1));
  stranger.rooms = {"red"};
  EXPECT_EQ(Take(SignedRecord::Sign(stranger, KeyNo(1))).error().code, Code::kDenied);
  EXPECT_TRUE(out_.empty());
  EXPECT_TRUE(roster_.Peers().empty());
  EXPECT_EQ(roster_.NextDeadline(), kNever);
}

TEST_F(RosterTest, RefusesReplaysOfOlderRecords) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 5)).ok());
  EXPECT_FALSE(Take(SignedBy(KeyNo(1), 5)).ok());
  EXPECT_FALSE(Take(SignedBy(KeyNo(1), 4, minutes(50))).ok());
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 6, minutes(7))).ok());
  EXPECT_EQ(roster_.Find(KeyNo(1).id())->record.record().sequence, 6U);
  EXPECT_EQ(Count<PeerAppeared>(), 1);
}

TEST_F(RosterTest, SyncsEveryIntervalGiveOrTakeAQuarter) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(60))).ok());
  std::set<Duration> gaps;
  for (int i = 0; i < 50; ++i) {
    const Time before = now_;
    out_.clear();
    roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
    ASSERT_TRUE(Advance(minutes(59)));
    ASSERT_EQ(Count<SyncWith>(), 1);
    const auto gap = now_ - before;
    EXPECT_GE(gap, milliseconds(7500));
    EXPECT_LE(gap, milliseconds(12500));
    gaps.insert(gap);
  }
  EXPECT_GT(gaps.size(), 40U);
}

TEST_F(RosterTest, GoesOnAtOnceWhenThePageWasNotTheLast) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1))).ok());
  out_.clear();
  roster_.OnSynced(now_, KeyNo(1).id(), true, out_);
  EXPECT_EQ(Count<SyncWith>(), 1);
}

TEST_F(RosterTest, NewsBringASyncForwardButNotTooClose) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1))).ok());
  const auto peer = KeyNo(1).id();
  roster_.OnSynced(now_, peer, false, out_);
  out_.clear();
  // No news: what we hold is as far.
  roster_.OnHead(now_, peer, 7, 10, {7, 10}, out_);
  EXPECT_GT(roster_.NextDeadline(), now_ + seconds(1));
  roster_.OnHead(now_, peer, 7, 11, {7, 10}, out_);
  EXPECT_EQ(Count<SyncWith>(), 0);
  EXPECT_EQ(roster_.NextDeadline(), now_ + kSyncSpacingMin);
  ASSERT_TRUE(Advance(seconds(1)));
  EXPECT_EQ(Count<SyncWith>(), 1);
  roster_.OnSynced(now_, peer, false, out_);
  now_ += seconds(1);
  out_.clear();
  roster_.OnHead(now_, peer, 8, 1, {7, 11}, out_);
  EXPECT_EQ(Count<SyncWith>(), 1);
}

TEST_F(RosterTest, NewsDuringASyncAreFollowedByAnother) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1))).ok());
  const auto peer = KeyNo(1).id();
  roster_.OnHead(now_, peer, 7, 11, {}, out_);
  roster_.OnHead(now_, peer, 7, 12, {}, out_);
  EXPECT_EQ(Count<SyncWith>(), 1);
  now_ += seconds(1);
  out_.clear();
  roster_.OnSynced(now_, peer, false, out_);
  EXPECT_EQ(Count<SyncWith>(), 1);
}

TEST_F(RosterTest, APeerIsGoneOnceAfterThreeFailuresInARow) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(60))).ok());
  const auto peer = KeyNo(1).id();
  roster_.OnSynced(now_, peer, false, out_);
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(Advance(minutes(59)));
    roster_.OnSyncFailed(now_, peer, out_);
    EXPECT_EQ(Count<PeerGone>(), i < kSyncFailuresMax ? 0 : 1);
    EXPECT_EQ(StateOf(peer), i < kSyncFailuresMax ? PeerState::kAlive : PeerState::kGone);
  }
  EXPECT_EQ(roster_.alive_count(), 0U);
}

TEST_F(RosterTest, ASuccessBetweenFailuresCountsAnew) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(60))).ok());
  const auto peer = KeyNo(1).id();
  for (int i = 0; i < 6; ++i) {
    if (i % 3 == 2) {
      roster_.OnSynced(now_, peer, false, out_);
    } else {
      roster_.OnSyncFailed(now_, peer, out_);
    }
    ASSERT_TRUE(Advance(minutes(59)));
  }
  EXPECT_EQ(Count<PeerGone>(), 0);
}

TEST_F(RosterTest, AGonePeerComesBackByASyncOrANewRecord) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(60))).ok());
  const auto peer = KeyNo(1).id();
  const auto lose = [&] {
    for (int i = 0; i < kSyncFailuresMax; ++i) {
      while (Count<SyncWith>() == 0) ASSERT_TRUE(Advance(minutes(59)));
      out_.clear();
      roster_.OnSyncFailed(now_, peer, out_);
    }
    ASSERT_EQ(StateOf(peer), PeerState::kGone);
    out_.clear();
  };
  lose();
  const Time lost = now_;
  ASSERT_TRUE(Advance(minutes(59)));
  EXPECT_GE(now_ - lost, limits_.sync_interval * (kGonePace - 1));
  roster_.OnSynced(now_, peer, false, out_);
  EXPECT_EQ(StateOf(peer), PeerState::kAlive);
  EXPECT_EQ(Count<PeerAppeared>(), 1);
  out_.clear();
  lose();
  now_ += seconds(1);
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 2, minutes(60))).ok());
  EXPECT_EQ(StateOf(peer), PeerState::kNew);
  EXPECT_EQ(Count<PeerAppeared>(), 1);
  EXPECT_EQ(Count<SyncWith>(), 1);
}

TEST_F(RosterTest, APeerThatMayNotBeOneOfUsIsGoneAndComesBackByASync) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1))).ok());
  roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
  out_.clear();
  roster_.OnDenied(now_, KeyNo(1).id(), out_);
  EXPECT_EQ(Count<PeerGone>(), 1);
  EXPECT_EQ(StateOf(KeyNo(1).id()), PeerState::kGone);
  EXPECT_TRUE(roster_.Alive().empty());
  roster_.OnDenied(now_, KeyNo(1).id(), out_);
  roster_.OnDenied(now_, KeyNo(2).id(), out_);
  EXPECT_EQ(Count<PeerGone>(), 1);
  while (Count<SyncWith>() == 0 && Advance(minutes(4))) {
  }
  roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
  EXPECT_EQ(StateOf(KeyNo(1).id()), PeerState::kAlive);
}

TEST_F(RosterTest, InOtherRoomsItForgetsThoseThatShareNone) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1))).ok());  // syncing
  auto blue = RecordOf(KeyNo(2));
  blue.rooms = {"blue"};
  ASSERT_TRUE(Take(SignedRecord::Sign(blue, KeyNo(2))).ok());
  out_.clear();
  roster_.SetRooms(now_, {"blue", "red"}, out_);
  roster_.CheckInvariants();
  EXPECT_EQ(Count<PeerGone>(), 1);
  EXPECT_EQ(roster_.Find(KeyNo(1).id()), nullptr);
  EXPECT_NE(roster_.Find(KeyNo(2).id()), nullptr);
  // The answer of the sync that was under way finds nobody.
  roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
  EXPECT_EQ(Take(SignedBy(KeyNo(3))).error().code, Code::kDenied);
}

TEST_F(RosterTest, APeerIsForgottenWhenItsRecordExpires) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(5))).ok());
  const auto peer = KeyNo(1).id();
  while (Advance(minutes(6))) {
    roster_.OnSynced(now_, peer, false, out_);
  }
  EXPECT_EQ(roster_.Find(peer), nullptr);
  EXPECT_EQ(Count<PeerGone>(), 1);
  EXPECT_EQ(roster_.NextDeadline(), kNever);
}

TEST_F(RosterTest, ARenewedRecordKeepsAPeerAlive) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(5))).ok());
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 2, minutes(10))).ok());
  while (Advance(minutes(9))) roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
  EXPECT_NE(roster_.Find(KeyNo(1).id()), nullptr);
}

TEST_F(RosterTest, ForgettingDuringASyncGivesItsPlaceBack) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(1))).ok());
  while (Advance(minutes(2))) {
  }
  roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
  roster_.OnSyncFailed(now_, KeyNo(1).id(), out_);
  EXPECT_EQ(roster_.Find(KeyNo(1).id()), nullptr);
}

TEST_F(RosterTest, HearingFromAPeerMakesItAliveAndATriedOneSooner) {
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(60))).ok());
  const auto peer = KeyNo(1).id();
  roster_.OnHeard(now_, peer);
  EXPECT_EQ(StateOf(peer), PeerState::kAlive);
  EXPECT_EQ(roster_.Find(peer)->last_heard, now_);
  for (int i = 0; i < kSyncFailuresMax; ++i) {
    roster_.OnSyncFailed(now_, peer, out_);
    if (i + 1 < kSyncFailuresMax) {
      ASSERT_TRUE(Advance(minutes(59)));
    }
  }
  now_ += seconds(1);
  roster_.OnHeard(now_, peer);
  EXPECT_EQ(StateOf(peer), PeerState::kGone);
  EXPECT_EQ(roster_.NextDeadline(), now_);
  roster_.OnHeard(now_, KeyNo(9).id());
}

class SmallRosterTest : public RosterTest {
 protected:
  SmallRosterTest() : RosterTest({.sync_interval = seconds(10), .syncs_max = 2, .peers_max = 5}) {}
};

TEST_F(SmallRosterTest, SyncsWithNoMoreThanAllowedAtOnce) {
  for (int n = 1; n <= 5; ++n) ASSERT_TRUE(Take(SignedBy(KeyNo(n))).ok());
  EXPECT_EQ(Count<SyncWith>(), 2);
  // With all places taken only expiry is waited for.
  EXPECT_GT(roster_.NextDeadline(), now_ + minutes(4));
  const auto first = std::get<SyncWith>(*std::ranges::find_if(out_, [](const auto& action) {
                       return std::holds_alternative<SyncWith>(action);
                     })).peer;
  out_.clear();
  roster_.OnSynced(now_, first, false, out_);
  EXPECT_EQ(Count<SyncWith>(), 1);
}

TEST_F(SmallRosterTest, RefusesMorePeersThanItMayKnow) {
  for (int n = 1; n <= 5; ++n) {
    ASSERT_TRUE(Take(SignedBy(KeyNo(n))).ok());
    roster_.OnSynced(now_, KeyNo(n).id(), false, out_);
  }
  EXPECT_EQ(Take(SignedBy(KeyNo(6))).error().code, Code::kExhausted);
  EXPECT_TRUE(Take(SignedBy(KeyNo(5), 2)).ok());
}

TEST_F(SmallRosterTest, KeepsItsInvariantsUnderAnything) {
  Rng rng(99);
  std::vector<SigningKey> keys;
  for (int n = 1; n <= 7; ++n) keys.push_back(KeyNo(n));
  std::uint64_t sequence = 1;
  for (int step = 0; step < 3000; ++step) {
    const auto& key = keys[rng.Below(keys.size())];
    switch (rng.Below(7)) {
      case 0:
        (void)roster_.OnRecord(
            now_, wall(),
            SignedBy(key, ++sequence,
                     (now_ - kStart) + milliseconds(static_cast<int>(rng.Below(40'000)))),
            out_);
        break;
      case 1:
        roster_.OnHead(now_, key.id(), rng.Below(2), rng.Below(3), {rng.Below(2), rng.Below(3)},
                       out_);
        break;
      case 2:
        roster_.OnSynced(now_, key.id(), rng.Below(4) == 0, out_);
        break;
      case 3:
        roster_.OnSyncFailed(now_, key.id(), out_);
        break;
      case 4:
        roster_.OnHeard(now_, key.id());
        break;
      default:
        now_ += milliseconds(static_cast<int>(rng.Below(2000)));
        roster_.OnDeadline(now_, wall(), out_);
        EXPECT_GT(roster_.NextDeadline(), now_);
    }
    roster_.CheckInvariants();
  }
  EXPECT_GT(Count<PeerGone>(), 10);
}

// --- large rooms ---

class LargeRosterTest : public RosterTest {
 protected:
  LargeRosterTest()
      : RosterTest(
            {.syncs_max = 4, .peers_max = 60, .paced = 2, .others_per_second = 2, .burst = 8}) {}
  // Syncs that began, by peer; each ends at once.
  std::map<PeerId, int> Run(Duration time, const std::set<PeerId>& dead = {}) {
    std::map<PeerId, int> begun;
    const Time end = now_ + time;
    while (true) {
      for (const auto& action : std::exchange(out_, {})) {
        const auto* sync = std::get_if<SyncWith>(&action);
        if (sync == nullptr) continue;
        ++begun[sync->peer];
        if (dead.contains(sync->peer)) {
          roster_.OnSyncFailed(now_, sync->peer, out_);
        } else {
          roster_.OnSynced(now_, sync->peer, false, out_);
        }
      }
      if (out_.empty() && !Advance(end - kStart)) break;
    }
    return begun;
  }
};

TEST_F(LargeRosterTest, SyncsNoFasterThanItsPace) {
  for (int i = 1; i <= 40; ++i) ASSERT_TRUE(Take(SignedBy(KeyNo(i), 1, minutes(60))).ok());
  Run(seconds(60));
  EXPECT_EQ(roster_.alive_count(), 40U);
  EXPECT_EQ(roster_.Interval(), seconds(20));
  int syncs = 0;
  for (const auto& [peer, count] : Run(minutes(10))) {
    EXPECT_GE(count, 22);
    syncs += count;
  }
  EXPECT_NEAR(syncs, 2 * 600, 60);
}

TEST_F(LargeRosterTest, ManyThatDoNotAnswerDoNotHoldUpTheLiving) {
  for (int i = 1; i <= 10; ++i) ASSERT_TRUE(Take(SignedBy(KeyNo(i), 1, minutes(60))).ok());
  Run(seconds(20));
  std::set<PeerId> dead;
  for (int i = 100; i < 150; ++i) {
    ASSERT_TRUE(Take(SignedBy(KeyNo(i), 1, minutes(60))).ok());
    dead.insert(KeyNo(i).id());
  }
  int tries = 0;
  for (const auto& [peer, count] : Run(minutes(2), dead)) {
    if (dead.contains(peer)) {
      tries += count;
    } else {
      EXPECT_GE(count, 9);
    }
  }
  EXPECT_LE(tries, 2 * 120 + limits_.burst);
  EXPECT_EQ(roster_.alive_count(), 10U);
}

TEST_F(LargeRosterTest, WithAllPlacesTakenThoseMakeRoomWhoWereNeverHeardFrom) {
  for (int i = 1; i <= 10; ++i) ASSERT_TRUE(Take(SignedBy(KeyNo(i), 1, minutes(60))).ok());
  Run(seconds(20));
  for (int i = 100; i < 300; ++i) {
    now_ += milliseconds(1);
    ASSERT_TRUE(Take(SignedBy(KeyNo(i), 1, minutes(60))).ok());
    roster_.CheckInvariants();
  }
  EXPECT_EQ(roster_.known_count(), limits_.peers_max);
  for (int i = 1; i <= 10; ++i) EXPECT_EQ(StateOf(KeyNo(i).id()), PeerState::kAlive);
  EXPECT_EQ(roster_.Find(KeyNo(100).id()), nullptr);
  EXPECT_NE(roster_.Find(KeyNo(299).id()), nullptr);
}

TEST_F(LargeRosterTest, ARecordThatEndsSoonIsAskedForAnew) {
  for (int i = 1; i <= 40; ++i) ASSERT_TRUE(Take(SignedBy(KeyNo(i), 1, minutes(60))).ok());
  Run(seconds(60));
  const auto peer = KeyNo(50).id();
  ASSERT_TRUE(Take(SignedBy(KeyNo(50), 1, minutes(3))).ok());
  bool renewed = false;
  const Time end = now_ + minutes(2);
  while (!renewed && now_ < end) {
    for (const auto& action : std::exchange(out_, {})) {
      if (const auto* sync = std::get_if<SyncWith>(&action)) {
        roster_.OnSynced(now_, sync->peer, false, out_);
      }
      if (const auto* renew = std::get_if<Renew>(&action)) renewed |= renew->peer == peer;
    }
    if (out_.empty()) Advance(end - kStart);
  }
  EXPECT_TRUE(renewed);
  EXPECT_EQ(roster_.RecordLife(), minutes(25));
}

TEST_F(RosterTest, OnlyThoseHeardFromLatelyArePassedOn) {
  const auto heard = [this](Duration fresh) {
    std::vector<PeerId> peers;
    roster_.ForEachHeard(now_, fresh,
                         [&](const PeerView& view) { peers.push_back(view.record.id()); });
    return peers;
  };
  ASSERT_TRUE(Take(SignedBy(KeyNo(1), 1, minutes(60))).ok());
  ASSERT_TRUE(Take(SignedBy(KeyNo(2), 1, minutes(60))).ok());
  EXPECT_TRUE(heard(Duration::max()).empty());
  roster_.OnSynced(now_, KeyNo(1).id(), false, out_);
  EXPECT_THAT(heard(Duration::max()), testing::ElementsAre(KeyNo(1).id()));
  EXPECT_THAT(heard(seconds(5)), testing::ElementsAre(KeyNo(1).id()));
  now_ += seconds(15);
  EXPECT_TRUE(heard(seconds(5)).empty());
  EXPECT_THAT(heard(Duration::max()), testing::ElementsAre(KeyNo(1).id()));
  now_ += seconds(6);
  EXPECT_TRUE(heard(Duration::max()).empty());
}

TEST_F(RosterTest, FindsAPeerByTheFirstBytesOfItsId) {
  EXPECT_EQ(roster_.FindByName(PeerNameOf(KeyNo(1).id())), nullptr);
  for (int i = 1; i < 20; ++i) ASSERT_TRUE(Take(SignedBy(KeyNo(i))).ok());
  for (int i = 1; i < 20; ++i) {
    const auto* view = roster_.FindByName(PeerNameOf(KeyNo(i).id()));
    ASSERT_NE(view, nullptr);
    EXPECT_EQ(view->record.id(), KeyNo(i).id());
  }
  EXPECT_EQ(roster_.FindByName(PeerNameOf(KeyNo(20).id())), nullptr);
}

}  // namespace
}  // namespace shoal::index
