#include "index/gossip.h"
#include "tests/unit/numbered.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace shoal::index {
namespace {

using std::chrono::seconds;

std::vector<PeerName> NamesFrom(PeerName first, std::size_t count) {
  std::vector<PeerName> names;
  for (std::size_t i = 0; i < count; ++i) names.push_back(first + i);
  return names;
}

class GossipTest : public testing::Test {
 protected:
  ~GossipTest() override { gossip_.CheckInvariants(); }

  [[nodiscard]] Gossip::View View() const {
    return {1, [] { return std::vector<PeerName>{PeerNameOf(PeerNo(0))}; },
            [this](PeerName name, bool) { return known_.contains(name); }};
  }
  template <class Action>
  std::vector<Action> Of() {
    std::vector<Action> found;
    for (const auto& action : out_) {
      if (const auto* of = std::get_if<Action>(&action)) found.push_back(*of);
    }
    out_.clear();
    return found;
  }
  void AnswerNothing(const PeerId& peer) { gossip_.OnNames(peer, {}, View(), out_); }
  void Advance(Duration time) {
    const Time end = now_ + time;
    while (gossip_.NextDeadline() <= end) {
      now_ = std::max(now_, gossip_.NextDeadline());
      gossip_.OnDeadline(now_, out_);
    }
    now_ = end;
  }

  Time now_{seconds(1000)};
  std::set<PeerName> known_;
  GossipActions out_;
  Gossip gossip_{{}, PeerNo(0), Rng(3)};
};

TEST_F(GossipTest, AsksTheFirstMembersForAll) {
  for (int i = 1; i <= 3; ++i) gossip_.OnMember(now_, PeerNo(i), out_);
  const auto asked = Of<AskNames>();
  ASSERT_EQ(asked.size(), 3U);
  for (const auto& ask : asked) EXPECT_TRUE(ask.whole);
  // Told twice: nothing more.
  gossip_.OnMember(now_, PeerNo(1), out_);
  gossip_.OnMember(now_, PeerNo(0), out_);
  EXPECT_TRUE(out_.empty());
}

TEST_F(GossipTest, OfManyMembersAFewAskANewcomer) {
  int asked = 0;
  for (int i = 1; i <= 2000; ++i) {
    gossip_.OnMember(now_, PeerNo(i), out_);
    for (const auto& ask : Of<AskNames>()) {
      ++asked;
      AnswerNothing(ask.peer);
    }
  }
  // 3 at first, then 4 of so many: 4 * ln(2000 / 4), 25.
  EXPECT_GT(asked, 10);
  EXPECT_LT(asked, 60);
}

TEST_F(GossipTest, AsksForTheRecordsOfThoseItDoesNotKnow) {
  gossip_.OnMember(now_, PeerNo(1), out_);
  out_.clear();
  known_ = {6};
  gossip_.OnNames(PeerNo(1), {5, 6, 7}, View(), out_);
  auto asked = Of<AskRecords>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].peer, PeerNo(1));
  EXPECT_THAT(asked[0].names, testing::UnorderedElementsAre(5, 7));
  // It had none of them: they are let go.
  gossip_.OnRecords(PeerNo(1), View(), out_);
  EXPECT_TRUE(out_.empty());
  gossip_.OnRecords(PeerNo(1), View(), out_);
  EXPECT_TRUE(out_.empty());
}

TEST_F(GossipTest, AsksForManyRecordsAHundredAtATime) {
  gossip_.OnMember(now_, PeerNo(1), out_);
  out_.clear();
  gossip_.OnNames(PeerNo(1), NamesFrom(1, 15'000), View(), out_);
  std::size_t asked = 0;
  while (!out_.empty()) {
    for (const auto& ask : Of<AskRecords>()) {
      EXPECT_LE(ask.names.size(), kRecordsAskedMax);
      asked += ask.names.size();
      known_.insert(ask.names.begin(), ask.names.end());
      gossip_.OnRecords(PeerNo(1), View(), out_);
    }
  }
  EXPECT_EQ(asked, 15'000U);
}

TEST_F(GossipTest, LaterListsGiveABoundedNumber) {
  for (int i = 1; i <= 3; ++i) {
    gossip_.OnMember(now_, PeerNo(i), out_);
    AnswerNothing(PeerNo(i));
  }
  out_.clear();
  gossip_.OnMember(now_, PeerNo(4), out_);
  ASSERT_EQ(Of<AskNames>().size(), 1U);
  gossip_.OnNames(PeerNo(4), NamesFrom(1, 15'000), View(), out_);
  std::size_t asked = 0;
  while (!out_.empty()) {
    for (const auto& ask : Of<AskRecords>()) asked += ask.names.size();
    gossip_.OnRecords(PeerNo(4), View(), out_);
  }
  EXPECT_EQ(asked, kWantedMax);
}

TEST_F(GossipTest, AsksForFreshOnesOftenAndForAllMoreSeldom) {
  for (int i = 1; i <= 10; ++i) {
    gossip_.OnMember(now_, PeerNo(i), out_);
    for (const auto& ask : Of<AskNames>()) AnswerNothing(ask.peer);
  }
  int fresh = 0;
  int whole = 0;
  for (int i = 0; i < 600; ++i) {
    Advance(seconds(1));
    for (const auto& ask : Of<AskNames>()) {
      (ask.whole ? whole : fresh) += 1;
      AnswerNothing(ask.peer);
    }
  }
  EXPECT_NEAR(fresh, 60, 10);
  EXPECT_NEAR(whole, 20, 5);
}

TEST_F(GossipTest, AMemberThatDoesNotAnswerIsNotAskedAgainMeanwhile) {
  gossip_.OnMember(now_, PeerNo(1), out_);
  EXPECT_EQ(Of<AskNames>().size(), 1U);
  Advance(seconds(120));
  EXPECT_TRUE(out_.empty());
  gossip_.OnFailed(now_, PeerNo(1));
  Advance(seconds(13));
  EXPECT_FALSE(Of<AskNames>().empty());
}

TEST_F(GossipTest, WithoutMembersThereIsNothingToDo) {
  EXPECT_EQ(gossip_.NextDeadline(), kNever);
  gossip_.OnMember(now_, PeerNo(1), out_);
  gossip_.OnMemberGone(PeerNo(1));
  EXPECT_EQ(gossip_.NextDeadline(), kNever);
  gossip_.OnFailed(now_, PeerNo(1));
  EXPECT_EQ(gossip_.NextDeadline(), kNever);
  out_.clear();
  gossip_.OnMember(now_, PeerNo(2), out_);
  EXPECT_TRUE(Of<AskNames>().at(0).whole);
}

TEST_F(GossipTest, ReckonsTheSizeFromWholeListsAndItsOwn) {
  gossip_.OnMember(now_, PeerNo(1), out_);
  EXPECT_FALSE(gossip_.Size());
  gossip_.OnNames(PeerNo(1), {PeerNameOf(PeerNo(0))}, View(), out_);
  ASSERT_TRUE(gossip_.Size());
  // Two of them, of whom it names one and is the other; we have named ourselves alone.
  EXPECT_DOUBLE_EQ(gossip_.Size()->peers, 2);
  gossip_.OnMemberGone(PeerNo(1));
  EXPECT_FALSE(gossip_.Size());
}

}  // namespace
}  // namespace shoal::index
