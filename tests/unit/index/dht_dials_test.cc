#include "index/dht_dials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "index/dht_key.h"
#include "tests/unit/index/records.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Endpoint At(int n) {
  return {"10.0." + std::to_string(n / 250) + "." + std::to_string(n % 250 + 1), 7381};
}

class DhtDialsTest : public testing::Test {
 protected:
  std::vector<Endpoint> Dial() {
    std::vector<Endpoint> out;
    dials_.OnDeadline(now_, out);
    dials_.CheckInvariants();
    return out;
  }
  void Name(const Endpoint& endpoint, int weight = 1) { dials_.OnNamed(now_, endpoint, weight); }
  void Answer(const Endpoint& endpoint, int who, Duration life = minutes(5)) {
    dials_.OnRecord(now_, TestWall(), endpoint, SignedBy(KeyNo(who), 1, life));
    dials_.CheckInvariants();
  }
  void Fail(const Endpoint& endpoint) {
    dials_.OnFailure(now_, endpoint);
    dials_.CheckInvariants();
  }

  DialLimits limits_{.at_once = 4, .per_second = 6, .waiting_max = 20, .known_max = 30};
  DhtDials dials_{limits_, KeyNo(1).id(), Rng(1)};
  Time now_{seconds(100)};
};

TEST(DhtKeyTest, IsTheSha1OfWhatTheProtocolSays) {
  // printf 'shoal-dht-v1\nroom/open' | sha1sum
  EXPECT_EQ(ToHex(DhtKeyOf(RoomKey("open"))), "797721cdebcc0a5669a13e4d9085b6e7e41f9cb8");
  // printf 'shoal-dht-v1\nblob/sha256:00...00' | sha1sum
  EXPECT_EQ(ToHex(DhtKeyOf(BlobKey(Digest{}))), "0163ba75f5f6d9ebc38021db6fe378d5a6d6df65");
}

TEST_F(DhtDialsTest, DialsEachEndpointOnce) {
  EXPECT_EQ(dials_.NextDeadline(), kNever);
  Name(At(1));
  Name(At(1));
  EXPECT_EQ(dials_.NextDeadline(), now_);
  EXPECT_THAT(Dial(), ElementsAre(At(1)));
  Name(At(1));
  EXPECT_THAT(Dial(), IsEmpty());
  EXPECT_TRUE(dials_.IsDialling(At(1)));
  Answer(At(1), 2);
  Name(At(1));
  EXPECT_THAT(Dial(), IsEmpty());
  EXPECT_EQ(dials_.answered(), 1u);
  ASSERT_NE(dials_.FreshAt(now_, At(1)), nullptr);
  EXPECT_EQ(dials_.FreshAt(now_, At(1))->id(), KeyNo(2).id());
}

TEST_F(DhtDialsTest, DialsAgainAtHalfOfTheRecordsLife) {
  Name(At(1));
  EXPECT_THAT(Dial(), SizeIs(1));
  Answer(At(1), 2, minutes(4));
  now_ += minutes(2) - milliseconds(1);
  Name(At(1));
  EXPECT_THAT(Dial(), IsEmpty());
  now_ += milliseconds(1);
  EXPECT_EQ(dials_.FreshAt(now_, At(1)), nullptr);
  EXPECT_THAT(Dial(), IsEmpty());  // nobody names it now
  Name(At(1));
  EXPECT_THAT(Dial(), ElementsAre(At(1)));
}

TEST_F(DhtDialsTest, BelievesNoRecordToLiveLong) {
  Name(At(1));
  EXPECT_THAT(Dial(), SizeIs(1));
  Answer(At(1), 2, std::chrono::hours(72));
  now_ += kDialAgainMax;
  Name(At(1));
  EXPECT_THAT(Dial(), ElementsAre(At(1)));
}

TEST_F(DhtDialsTest, WaitsTwiceAsLongAfterEachFailure) {
  Duration wait = kDialAgainMin;
  for (int i = 0; i < 12; ++i) {
    Name(At(1));
    EXPECT_THAT(Dial(), ElementsAre(At(1))) << i;
    Fail(At(1));
    now_ += wait - milliseconds(1);
    Name(At(1));
    EXPECT_THAT(Dial(), IsEmpty()) << i;
    now_ += milliseconds(1);
    wait = std::min(2 * wait, kDialAgainMax);
  }
  Name(At(1));
  EXPECT_THAT(Dial(), SizeIs(1));
  Answer(At(1), 2, seconds(2));  // that is forgiven once it answers
  now_ += seconds(1);
  Name(At(1));
  EXPECT_THAT(Dial(), SizeIs(1));
  Fail(At(1));
  now_ += kDialAgainMin;
  Name(At(1));
  EXPECT_THAT(Dial(), SizeIs(1));
}

TEST_F(DhtDialsTest, AnExpiredRecordIsAFailure) {
  Name(At(1));
  EXPECT_THAT(Dial(), SizeIs(1));
  Answer(At(1), 2, Duration(0));
  EXPECT_EQ(dials_.answered(), 0u);
  EXPECT_EQ(dials_.FreshAt(now_, At(1)), nullptr);
  Name(At(1));
  EXPECT_THAT(Dial(), IsEmpty());
}

TEST_F(DhtDialsTest, NeverDialsUs) {
  dials_.OnOwn({At(1), At(2)});
  Name(At(1));
  Name(At(2));
  EXPECT_THAT(Dial(), IsEmpty());
  // Behind a NAT: the address is not one that we know, but we answer there.
  Name(At(3));
  EXPECT_THAT(Dial(), ElementsAre(At(3)));
  Answer(At(3), 1);
  now_ += std::chrono::hours(10);
  Name(At(3));
  EXPECT_THAT(Dial(), IsEmpty());
  EXPECT_EQ(dials_.known(), 0u);
}

TEST_F(DhtDialsTest, LeavesOutWhatTurnsOutToBeUs) {
  Name(At(1));
  dials_.OnOwn({At(1)});
  EXPECT_THAT(Dial(), IsEmpty());
  EXPECT_EQ(dials_.known(), 0u);
}

TEST_F(DhtDialsTest, DialsNotMoreThanItsLimits) {
  for (int i = 0; i < 20; ++i) Name(At(i));
  auto dialled = Dial();
  EXPECT_THAT(dialled, SizeIs(4));
  EXPECT_EQ(dials_.NextDeadline(), kNever);  // until one of them ends
  for (const auto& endpoint : dialled) Fail(endpoint);
  EXPECT_THAT(Dial(), SizeIs(2));  // six a second
  EXPECT_EQ(dials_.NextDeadline(), now_ + seconds(1));
  now_ = dials_.NextDeadline();
  EXPECT_THAT(Dial(), SizeIs(2));  // two are still under way
}

TEST_F(DhtDialsTest, DialsFirstWhatIsNamedMost) {
  for (int i = 0; i < 18; ++i) Name(At(i));
  Name(At(7));
  Name(At(11), 3);
  Name(At(30), 8);
  Name(At(7));
  const auto dialled = Dial();
  ASSERT_THAT(dialled, SizeIs(4));
  EXPECT_EQ(dialled[0], At(30));
  EXPECT_EQ(dialled[1], At(11));
  EXPECT_EQ(dialled[2], At(7));
}

TEST_F(DhtDialsTest, ForgetsWhatNobodyNamesAnyMore) {
  for (int i = 0; i < 10; ++i) Name(At(i));
  EXPECT_THAT(Dial(), SizeIs(4));
  now_ += kDialWaitMax;
  EXPECT_THAT(Dial(), IsEmpty());
  EXPECT_EQ(dials_.known(), 4u);
}

TEST_F(DhtDialsTest, AFloodOfFalseEndpointsDoesNotPushOutWhoAnswered) {
  Name(At(1000));
  EXPECT_THAT(Dial(), SizeIs(1));
  Answer(At(1000), 2);
  int dialled = 0;
  for (int i = 0; i < 900; ++i) {
    Name(At(i));
    if (i % 30 != 0) continue;
    const auto now = Dial();
    dialled += static_cast<int>(now.size());
    for (const auto& endpoint : now) Fail(endpoint);
    now_ += seconds(1);
  }
  EXPECT_LE(dialled, 31 * limits_.per_second);
  EXPECT_LE(dials_.known(), limits_.known_max);
  EXPECT_NE(dials_.FreshAt(now_, At(1000)), nullptr);
  // And one more who is real comes to be dialled, for many name it.
  for (int i = 0; i < 3; ++i) Name(At(2000));
  const auto next = Dial();
  EXPECT_THAT(next, testing::Contains(At(2000)));
}

TEST_F(DhtDialsTest, TakesNoMoreWhenAllHaveAnswered) {
  for (int i = 0; i < 40; ++i) {
    Name(At(i));
    for (const auto& endpoint : Dial()) Answer(endpoint, 2 + i);
    now_ += seconds(1);
  }
  EXPECT_EQ(dials_.answered(), 30u);
  EXPECT_EQ(dials_.known(), 30u);
}

}  // namespace
}  // namespace shoal::index
