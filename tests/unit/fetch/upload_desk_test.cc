#include "fetch/upload_desk.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/unit/fetch/upload_desk_model.h"
#include "tests/unit/numbered.h"
#include "tests/unit/rounds.h"

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;
using namespace literals;

constexpr Time kDeskStart{1h};

Geometry Pieces(std::int32_t count, Bytes piece = 1_MiB) {
  return Geometry::Make(piece * count, piece).value();
}

class UploadDeskTest : public testing::Test {
 protected:
  ~UploadDeskTest() override { desk.CheckInvariants(); }

  std::variant<UploadGrant, UploadBusy> Ask(int peer, std::vector<int> wanted, int blob = 1,
                                            Geometry geometry = Pieces(8), int count = 1) {
    std::vector<PieceIndex> pieces;
    for (const int i : wanted) pieces.push_back({i});
    return desk.OnAsk(now, PeerNo(peer), DigestNo(blob), geometry, pieces, count);
  }
  // The piece given, -1 for busy.
  int Given(int peer, std::vector<int> wanted, int blob = 1) {
    const auto answer = Ask(peer, std::move(wanted), blob);
    const auto* grant = std::get_if<UploadGrant>(&answer);
    if (grant != nullptr) last = grant->id;
    return grant != nullptr ? grant->first.value : -1;
  }
  UploadBusy Busy(int peer, int blob = 1) {
    const auto answer = Ask(peer, {0}, blob);
    EXPECT_TRUE(std::holds_alternative<UploadBusy>(answer));
    const auto* busy = std::get_if<UploadBusy>(&answer);
    return busy != nullptr ? *busy : UploadBusy{};
  }
  // A whole piece for `peer`, which takes `took`.
  int Send(int peer, std::vector<int> wanted, Duration took = 100ms, int blob = 1) {
    const int piece = Given(peer, std::move(wanted), blob);
    now += took;
    desk.OnSent(now, last, 1_MiB);
    return piece;
  }
  // Fills all slots, each with another peer; their ids.
  std::vector<UploadId> Fill(int first_peer = 1) {
    std::vector<UploadId> ids;
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(Given(first_peer + i, {i}), i);
      ids.push_back(last);
    }
    return ids;
  }

  UploadDesk desk{UploadLimits{.slots = 4}};
  Time now = kDeskStart;
  UploadId last = 0;
};

// We lead the swarm of a blob of eight pieces, and one of four slots is taken by another blob.
class LeadsDesk : public UploadDeskTest {
 protected:
  LeadsDesk() { EXPECT_EQ(Given(100, {0}, 2), 0); }
  std::variant<UploadGrant, UploadBusy> AskLead(int peer, std::vector<int> wanted) {
    std::vector<PieceIndex> pieces;
    for (const int i : wanted) pieces.push_back({i});
    return desk.OnAsk(now, PeerNo(peer), DigestNo(1), Pieces(8), pieces, 1, &firsthand);
  }
  int GivenByLead(int peer, std::vector<int> wanted) {
    const auto answer = AskLead(peer, std::move(wanted));
    const auto* grant = std::get_if<UploadGrant>(&answer);
    if (grant != nullptr) last = grant->id;
    return grant != nullptr ? grant->first.value : -1;
  }

  PieceMap firsthand{8};
};

TEST_F(LeadsDesk, SendsEachPieceOfTheUpstreamOnceBeforeItSendsAnyTwice) {
  firsthand.Set({0});
  EXPECT_EQ(GivenByLead(1, {0}), 0);
  EXPECT_EQ(GivenByLead(2, {0}), 0) << "there is nothing else to send";
  firsthand.Set({1});
  EXPECT_EQ(GivenByLead(3, {0}), -1) << "others have it, and nobody has the next one";
  EXPECT_EQ(GivenByLead(3, {0, 1}), 1);
  desk.OnSent(now, last, 1_MiB);
  EXPECT_EQ(GivenByLead(4, {0}), 0) << "each was sent once";
}

TEST_F(LeadsDesk, PutsNobodyOffWhileMostOfItsSlotsAreFree) {
  firsthand.Set({0});
  firsthand.Set({1});
  EXPECT_EQ(GivenByLead(1, {0}), 0);
  desk.OnSent(now, last, 1_MiB);
  EXPECT_EQ(GivenByLead(2, {0}), 0);
}

TEST_F(LeadsDesk, WhoIsPutOffHearsWhomElseToAskAndComesBackSoon) {
  firsthand.Set({0});
  firsthand.Set({1});
  EXPECT_EQ(GivenByLead(1, {0}), 0);
  const auto answer = AskLead(2, {0});
  ASSERT_TRUE(std::holds_alternative<UploadBusy>(answer));
  EXPECT_EQ(std::get<UploadBusy>(answer), (UploadBusy{kBusyRetryMin, {PeerNo(1)}}));
}

TEST_F(LeadsDesk, NobodyIsPutOffForLong) {
  firsthand.Set({0});
  firsthand.Set({1});
  EXPECT_EQ(GivenByLead(1, {0}), 0);
  EXPECT_EQ(GivenByLead(2, {0}), -1);
  now += kPutOffMax - 1us;
  EXPECT_EQ(GivenByLead(2, {0}), -1);
  EXPECT_EQ(GivenByLead(3, {0}), -1) << "its time begins now";
  now += 1us;
  EXPECT_EQ(GivenByLead(2, {0}), 0) << "those who were given it may be gone";
}

TEST_F(LeadsDesk, WhatPeersBroughtIsNotOwed) {
  firsthand.Set({0});
  EXPECT_EQ(GivenByLead(1, {0}), 0);
  EXPECT_EQ(GivenByLead(2, {3}), 3);
  EXPECT_EQ(GivenByLead(3, {3}), 3) << "pieces that were never sent, but are with others too";
}

TEST_F(LeadsDesk, AsManyArePutOffAsAreRemembered) {
  firsthand.Set({0});
  firsthand.Set({1});
  EXPECT_EQ(GivenByLead(1, {0}), 0);
  for (int i = 0; i < static_cast<int>(kPutOffsMax); ++i) EXPECT_EQ(GivenByLead(2 + i, {0}), -1);
  EXPECT_EQ(GivenByLead(5000, {0}), 0);
  now += kPutOffMax;
  EXPECT_EQ(GivenByLead(5001, {0}), -1) << "the first of them are forgotten";
}

TEST_F(UploadDeskTest, GivesWhatItHasSentLeastAndTheEarliestNamedAmongEquals) {
  EXPECT_EQ(Send(1, {3, 4, 5}), 3);
  EXPECT_EQ(Send(2, {3, 5, 4}), 5);
  EXPECT_EQ(Send(3, {3, 4}), 4);
  EXPECT_EQ(Send(4, {5, 3, 4}), 5);
  EXPECT_EQ(Send(5, {5, 3}), 3);
}

TEST_F(UploadDeskTest, SendsEachPieceOnceBeforeItSendsAnyTwice) {
  std::vector<int> sent(8);
  for (int i = 0; i < 16; ++i) {
    ++sent[static_cast<std::size_t>(Send(i, {0, 1, 2, 3, 4, 5, 6, 7}))];
    EXPECT_LE(*std::max_element(sent.begin(), sent.end()), i / 8 + 1);
  }
}

TEST_F(UploadDeskTest, AnAnswerUnderWayCountsAsSent) {
  EXPECT_EQ(Given(1, {0, 1}), 0);
  EXPECT_EQ(Given(2, {0, 1}), 1);
}

TEST_F(UploadDeskTest, AnAnswerThatEndedEarlyDoesNotCount) {
  EXPECT_EQ(Given(1, {0, 1}), 0);
  desk.OnSent(now, last, 1_MiB - 1_B);
  EXPECT_EQ(Given(2, {0, 1}), 0);
}

TEST_F(UploadDeskTest, BlobsAreCountedApart) {
  EXPECT_EQ(Send(1, {0, 1}, 1ms, 1), 0);
  EXPECT_EQ(Send(1, {0, 1}, 1ms, 2), 0);
  EXPECT_EQ(Send(1, {0, 1}, 1ms, 1), 1);
}

TEST_F(UploadDeskTest, ARunOfPiecesIsCountedPieceByPiece) {
  auto answer = Ask(1, {0}, 1, Pieces(8), 3);
  EXPECT_EQ(std::get<UploadGrant>(answer).count, 3);
  desk.OnSent(now, std::get<UploadGrant>(answer).id, 3_MiB);
  EXPECT_EQ(Send(1, {2, 3}), 3);
  answer = Ask(1, {2, 4}, 1, Pieces(8), 2);
  EXPECT_EQ(std::get<UploadGrant>(answer).first.value, 4);
}

TEST_F(UploadDeskTest, SaysBusyWhenAllSlotsAreTaken) {
  const auto ids = Fill();
  EXPECT_EQ(desk.busy_slots(now), 4);
  EXPECT_EQ(Given(9, {5}), -1);
  desk.OnSent(now, ids[2], 1_MiB);
  EXPECT_EQ(desk.busy_slots(now), 3);
  EXPECT_EQ(Given(9, {5}), 5);
  EXPECT_EQ(Given(8, {5}), -1);
}

TEST_F(UploadDeskTest, OneAskerMayHaveAllSlotsWhileNobodyElseWants) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Given(1, {i}), i);
  EXPECT_EQ(Given(1, {4}), -1);
}

TEST_F(UploadDeskTest, AnAskerGetsItsFairShareWhileOthersWait) {
  std::vector<UploadId> ids;
  for (int i = 0; i < 4; ++i) {
    Given(1, {i});
    ids.push_back(last);
  }
  EXPECT_EQ(Given(2, {0}), -1);
  desk.OnSent(now, ids[0], 1_MiB);
  EXPECT_EQ(Given(1, {4}), -1);  // it has three of the two that are its share
  EXPECT_EQ(Given(2, {0}), 0);
  desk.OnSent(now, ids[1], 1_MiB);
  EXPECT_EQ(Given(1, {4}), 4);  // nobody else waits: the rest is its own again
  desk.OnSent(now, ids[2], 1_MiB);
  EXPECT_EQ(Given(2, {1}), 1);
}

TEST_F(UploadDeskTest, TheShareIsAtLeastOneSlot) {
  const auto ids = Fill();
  for (int peer = 10; peer < 30; ++peer) EXPECT_EQ(Given(peer, {0}), -1);
  desk.OnSent(now, ids[0], 1_MiB);
  EXPECT_EQ(Given(2, {0}), -1);
  EXPECT_EQ(Given(10, {7}), 7);
}

TEST_F(UploadDeskTest, WhoWasRefusedLongAgoIsNotWaitedFor) {
  const auto ids = Fill();
  EXPECT_EQ(Given(9, {0}), -1);
  for (const UploadId id : ids) desk.OnSent(now, id, 1_MiB);
  EXPECT_EQ(Given(1, {0}), 0);
  EXPECT_EQ(Given(1, {1}), -1);  // five asked lately
  now += kRefusedLately + 1us;
  EXPECT_EQ(Given(1, {1}), 1);
  EXPECT_EQ(Given(1, {2}), 2);
}

TEST_F(UploadDeskTest, SmallAnswersNeedNoSlot) {
  Fill();
  const Geometry small = Pieces(8, kSmallAnswer);
  for (int i = 0; i < 20; ++i) {
    const auto answer = Ask(7, {0, 1}, 2, small);
    EXPECT_EQ(std::get<UploadGrant>(answer), (UploadGrant{0, {i % 2}, 1}));
    desk.OnSent(now, 0, kSmallAnswer);
  }
  EXPECT_EQ(desk.busy_slots(now), 4);
}

TEST_F(UploadDeskTest, ASlowAnswerLosesItsSlotButGoesOn) {
  for (int i = 0; i < 20; ++i) Send(1, {0});  // 100 ms each, alone: 400 ms among four
  const auto ids = Fill();
  now += 4 * 4 * 100ms - 10ms;
  EXPECT_EQ(desk.busy_slots(now), 4);
  EXPECT_EQ(Given(9, {5}), -1);
  now += 20ms;
  EXPECT_EQ(desk.busy_slots(now), 0);
  EXPECT_EQ(Given(9, {5}), 5);
  for (const UploadId id : ids) desk.OnSent(now, id, 1_MiB);
  EXPECT_EQ(desk.busy_slots(now), 1);
}

TEST_F(UploadDeskTest, SlowReadersAreFoundBeforeAnyPaceIsKnown) {
  Fill();
  now += kSlowAnswerUnknown;
  EXPECT_EQ(Given(9, {5}), 5);
}

TEST_F(UploadDeskTest, AHiccupIsNoSlowness) {
  for (int i = 0; i < 20; ++i) Send(1, {0}, 1ms);
  Fill();
  now += kSlowAnswerMin - 1us;
  EXPECT_EQ(desk.busy_slots(now), 4);
  now += 1us;
  EXPECT_EQ(desk.busy_slots(now), 0);
}

TEST_F(UploadDeskTest, SlowAnswersAreBounded) {
  for (int round = 0; round < kSlowAnswerFactor; ++round) {
    Fill(10 * round);
    now += kSlowAnswerUnknown;
  }
  EXPECT_EQ(desk.busy_slots(now), 0);
  Fill(100);
  now += 1h;
  EXPECT_EQ(desk.busy_slots(now), 4);
  EXPECT_EQ(Given(9, {5}), -1);
  desk.OnSent(now, 1, 1_MiB);  // one slow answer less: one of the last four may take its place
  EXPECT_EQ(Given(9, {5}), 5);
  EXPECT_EQ(Given(9, {5}), -1);
}

TEST_F(UploadDeskTest, ASlowAskerGetsNoMoreThanTheSlots) {
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Given(1, {i}), i);
  now += 1h;
  EXPECT_EQ(desk.busy_slots(now), 0);
  EXPECT_EQ(Given(1, {4}), -1);
  EXPECT_EQ(Given(2, {4}), 4);
}

TEST_F(UploadDeskTest, SlowReadersDoNotMakeSlownessTheRule) {
  for (int i = 0; i < 20; ++i) Send(1, {0});
  Given(2, {0});
  now += 1h;
  desk.OnSent(now, last, 1_MiB);  // moves the pace to 1.75 times what it was, at most
  Fill();
  now += 4 * 4 * 175ms + 10ms;
  EXPECT_EQ(desk.busy_slots(now), 0);
}

TEST_F(UploadDeskTest, TheWaitFollowsPaceAndCrowd) {
  Fill();
  EXPECT_EQ(Busy(9).retry, kBusyRetryUnknown);
  now += 400ms;
  for (UploadId id = 1; id <= 4; ++id) desk.OnSent(now, id, 1_MiB);
  now += kRefusedLately + 1us;
  // 400 ms to 533 ms each (the last to end had others beside it for less of its time).
  Fill();
  const Duration alone = Busy(9).retry;
  EXPECT_GE(alone, 400ms / 16);
  EXPECT_LE(alone, 540ms / 16);
  for (int peer = 10; peer < 19; ++peer) {
    const Duration retry = Busy(peer).retry;
    EXPECT_NEAR(static_cast<double>(retry.count()), static_cast<double>(alone.count()) * (peer - 8),
                10.0)
        << "one after the other";
  }
  for (int peer = 100; peer < 300; ++peer) Busy(peer);
  EXPECT_EQ(Busy(9).retry, kBusyRetryMax);
  now += kBusyRetryMax;
  EXPECT_EQ(Busy(9).retry, alone) << "all have had their turns";
}

TEST_F(UploadDeskTest, BusyNamesThoseWhoGotPiecesLately) {
  for (int peer = 1; peer <= 6; ++peer) Send(peer, {0}, 1ms);
  Send(3, {0}, 1ms);
  Send(20, {0}, 1ms, 2);
  for (int i = 0; i < 4; ++i) Given(30, {i}, 3);
  EXPECT_EQ(Busy(9).others, (std::vector<PeerId>{PeerNo(3), PeerNo(6), PeerNo(5), PeerNo(4)}));
  // Not the asker itself.
  EXPECT_EQ(Busy(3).others, (std::vector<PeerId>{PeerNo(6), PeerNo(5), PeerNo(4), PeerNo(2)}));
  EXPECT_EQ(Busy(9, 7).others, std::vector<PeerId>{});
}

TEST_F(UploadDeskTest, CountsAreForgottenWithTime) {
  EXPECT_EQ(Send(1, {0, 1}), 0);
  now += kCountLife;
  EXPECT_EQ(Send(1, {0, 1}), 1);
  now += kCountLife + 1us;
  EXPECT_EQ(Send(1, {0, 1}), 0);
}

TEST_F(UploadDeskTest, AnAnswerOfAnEarlierLifeTakesNothingBack) {
  EXPECT_EQ(Given(1, {0}), 0);
  const UploadId early = last;
  now += kCountLife + 1us;
  EXPECT_EQ(Send(2, {0}), 0);
  desk.OnSent(now, early, 0_B);
  EXPECT_EQ(Given(2, {0, 1}), 1);
}

TEST_F(UploadDeskTest, AFullTableForgetsTheBlobOfLongestAgo) {
  desk = UploadDesk({4, 2, 100});
  Send(1, {0}, 1ms, 1);
  Send(1, {0}, 1ms, 2);
  Send(1, {0, 1}, 1ms, 1);
  Send(1, {0}, 1ms, 3);  // forgets 2
  EXPECT_EQ(Send(1, {0, 1, 2}, 1ms, 1), 2);
  EXPECT_EQ(Send(1, {0, 1}, 1ms, 2), 0);
}

TEST_F(UploadDeskTest, ManyPiecesForgetOtherBlobs) {
  desk = UploadDesk({4, 100, 20});
  Send(1, {0}, 1ms, 1);
  Send(1, {0}, 1ms, 2);
  EXPECT_EQ(Send(1, {0, 1}, 1ms, 1), 1);
  Ask(1, {0}, 3, Pieces(30));
  EXPECT_EQ(Send(1, {0, 1}, 1ms, 1), 0);
}

TEST_F(UploadDeskTest, AnotherCutBeginsAnew) {
  EXPECT_EQ(Send(1, {0, 1}), 0);
  const auto answer = Ask(1, {0, 1}, 1, Pieces(4, 2_MiB));
  EXPECT_EQ(std::get<UploadGrant>(answer).first.value, 0);
}

TEST(UploadDeskRandomTest, DoesAsTheNaiveModelDoes) {
  for (std::uint64_t seed = 1; seed <= std::uint64_t(Rounds(60)); ++seed) {
    Rng rng(seed);
    const auto below = [&](int n) { return static_cast<int>(rng.Below(static_cast<unsigned>(n))); };
    const UploadLimits limits{1 + below(6), 1 + rng.Below(4), 10 + rng.Below(40)};
    UploadDesk desk(limits);
    UploadDeskModel model(limits);
    const int peers = 1 + below(12);
    Time now = kDeskStart;
    for (int step = 0; step < 600; ++step) {
      SCOPED_TRACE("seed " + std::to_string(seed) + " step " + std::to_string(step));
      const int speed = below(100);
      now += Duration(speed == 0 ? 400'000'000 : below(speed < 10 ? 3'000'000 : 60'000));
      const auto under_way = model.under_way();
      if (!under_way.empty() && below(5) < 2) {
        const UploadId id = under_way[rng.Below(under_way.size())];
        const Bytes length = model.LengthOf(id);
        const Bytes sent = below(4) > 0 ? length : Bytes(below(static_cast<int>(length.count())));
        desk.OnSent(now, id, sent);
        model.OnSent(now, id, sent);
      } else {
        const std::int32_t count = 1 + below(12);
        const Bytes piece = below(5) == 0 ? kPieceBytesMin : 256_KiB;
        const Geometry geometry = Geometry::Make(piece * count - 100_B, piece).value();
        const std::int32_t run = 1 + below(count);
        std::vector<PieceIndex> wanted;
        for (int i = 1 + below(9); i > 0; --i) wanted.push_back({below(count - run + 1)});
        const PeerId peer = PeerNo(below(peers));
        const Digest digest = DigestNo(below(5));
        const auto expected = model.OnAsk(now, peer, digest, geometry, wanted, run);
        ASSERT_EQ(desk.OnAsk(now, peer, digest, geometry, wanted, run), expected);
      }
      ASSERT_EQ(desk.busy_slots(now), model.busy_slots(now));
      desk.CheckInvariants();
    }
  }
}

}  // namespace
}  // namespace shoal::fetch
