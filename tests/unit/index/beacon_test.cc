#include "index/beacon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/index/mutation.h"
#include "tests/unit/index/records.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string DatagramOf(const SigningKey& key, std::int64_t sent_ms, bool hello = false,
                       std::uint64_t head = 118, std::uint64_t sequence = 1) {
  return EncodeBeacon({SignedBy(key, sequence), 7411, head, sent_ms, hello}, key).value();
}

TEST(BeaconTest, SurvivesTheWire) {
  const auto beacon = DecodeBeacon(DatagramOf(KeyNo(1), 17, true));
  ASSERT_TRUE(beacon.ok()) << beacon.error().text;
  EXPECT_EQ(beacon->record.id(), KeyNo(1).id());
  EXPECT_EQ(beacon->epoch, 7411U);
  EXPECT_EQ(beacon->head, 118U);
  EXPECT_EQ(beacon->sent_ms, 17);
  EXPECT_TRUE(beacon->hello);
  EXPECT_FALSE(DecodeBeacon(DatagramOf(KeyNo(1), 17))->hello);
}

TEST(BeaconTest, RefusesAForeignSignature) {
  auto text = DatagramOf(KeyNo(1), 17);
  const auto other = DatagramOf(KeyNo(2), 17);
  // The record of 1 with the beacon of 2.
  text = text.substr(0, text.find("\"beacon\"")) + other.substr(other.find("\"beacon\""));
  const auto beacon = DecodeBeacon(text);
  ASSERT_FALSE(beacon.ok());
  EXPECT_EQ(beacon.error().code, Code::kDenied);
}

TEST(BeaconTest, SaysWhenARecordIsTooLongForADatagram) {
  const auto key = KeyNo(1);
  auto record = RecordOf(key);
  record.endpoints.clear();
  for (std::uint16_t i = 1; i <= kEndpointsMax; ++i) {
    record.endpoints.push_back({"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", i});
  }
  const auto text = EncodeBeacon({SignedRecord::Sign(record, key), 1, 1, 1, false}, key);
  ASSERT_FALSE(text.ok());
  EXPECT_THAT(text.error().text, testing::HasSubstr("peer.advertise"));
}

TEST(BeaconTest, AUsualRecordFitsWithRoomToSpare) {
  EXPECT_LT(DatagramOf(KeyNo(1), 1'790'000'000'000, true).size(), 900U);
}

TEST(BeaconTest, RefusesMalformedDatagrams) {
  const auto good = DatagramOf(KeyNo(1), 17);
  for (const auto& text : {std::string(), std::string("{}"), std::string("[]"), good + "}",
                           good.substr(1), R"({"shoal":2)" + good.substr(10),
                           std::string(R"({"shoal":1,"record":{},"beacon":"","signature":""})"),
                           std::string(R"({"shoal":1,"record":[],"beacon":"","signature":""})"),
                           std::string(R"({"shoal":1})")}) {
    const auto beacon = DecodeBeacon(text);
    ASSERT_FALSE(beacon.ok()) << text;
    EXPECT_EQ(beacon.error().code, Code::kInvalid) << text;
  }
  EXPECT_EQ(DecodeBeacon(std::string(kBeaconBytesMax + 1, '{')).error().code, Code::kExhausted);
}

TEST(BeaconTest, NeverTakesAMutatedDatagramForSomethingElse) {
  const auto good = DatagramOf(KeyNo(1), 17);
  Rng rng(21);
  for (int i = 0; i < 20'000; ++i) {
    const auto beacon = DecodeBeacon(Mutate(good, rng));
    if (!beacon) continue;
    ASSERT_EQ(beacon->record.id(), KeyNo(1).id());
    ASSERT_EQ(beacon->sent_ms, 17);
    ASSERT_EQ(beacon->head, 118U);
    ASSERT_FALSE(beacon->hello);
  }
}

class NeighboursTest : public testing::Test {
 protected:
  NeighboursTest() : neighbours_({.interval = seconds(5)}, KeyNo(0), Rng(4)) {}
  ~NeighboursTest() override { neighbours_.CheckInvariants(); }

  // What is sent when the next deadline comes.
  std::optional<Beacon> Next() {
    now_ = std::max(now_, neighbours_.NextDeadline());
    const auto datagram = neighbours_.OnDeadline(now_, Wall());
    if (!datagram || !*datagram) return std::nullopt;
    return DecodeBeacon(**datagram).value();
  }
  [[nodiscard]] WallTime Wall() const { return TestWall() + now_.time_since_epoch(); }

  Time now_{seconds(10)};
  Neighbours neighbours_;
};

TEST_F(NeighboursTest, SaysNothingBeforeItHasSomethingToSay) {
  EXPECT_EQ(neighbours_.NextDeadline(), kNever);
  neighbours_.OnNewNetwork(now_);
  EXPECT_EQ(neighbours_.NextDeadline(), kNever);
  const auto nothing = neighbours_.OnDeadline(now_, Wall());
  ASSERT_TRUE(nothing.ok());
  EXPECT_FALSE(nothing->has_value());
}

TEST_F(NeighboursTest, SaysHelloAtOnceAndThenEveryInterval) {
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 3);
  EXPECT_EQ(neighbours_.NextDeadline(), now_);
  const auto first = Next();
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->hello);
  EXPECT_EQ(first->head, 3U);
  for (int i = 0; i < 20; ++i) {
    const Time before = now_;
    const auto beacon = Next();
    ASSERT_TRUE(beacon);
    EXPECT_FALSE(beacon->hello);
    EXPECT_GE(now_ - before, milliseconds(3750));
    EXPECT_LE(now_ - before, milliseconds(6250));
  }
}

TEST_F(NeighboursTest, TellsOfAChangeSoonButNotMoreThanTwiceASecond) {
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 3);
  ASSERT_TRUE(Next());
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 4);
  EXPECT_EQ(neighbours_.NextDeadline(), now_ + kBeaconSpacingMin);
  const auto beacon = Next();
  ASSERT_TRUE(beacon);
  EXPECT_EQ(beacon->head, 4U);
  now_ += seconds(2);
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 5);
  EXPECT_EQ(neighbours_.NextDeadline(), now_);
}

TEST_F(NeighboursTest, AnswersAHelloWithinATenthOfASecond) {
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 3);
  ASSERT_TRUE(Next());
  now_ += seconds(1);
  const Time regular = neighbours_.NextDeadline();
  ASSERT_TRUE(neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 1)).ok());
  EXPECT_EQ(neighbours_.NextDeadline(), regular);
  ASSERT_TRUE(neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 2, true)).ok());
  EXPECT_LE(neighbours_.NextDeadline(), now_ + kHelloAnswerMax);
}

TEST_F(NeighboursTest, CannotBeMadeToShout) {
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 3);
  int sent = 0;
  const Time end = now_ + seconds(3);
  for (int n = 1; now_ < end; ++n) {
    (void)neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(n % 50 + 1), n, true));
    if (neighbours_.NextDeadline() <= now_ && Next()) ++sent;
    now_ += milliseconds(5);
  }
  EXPECT_LE(sent, 7);
}

TEST_F(NeighboursTest, SaysHelloAgainOnANewNetwork) {
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 3);
  ASSERT_TRUE(Next());
  neighbours_.OnNewNetwork(now_);
  EXPECT_TRUE(Next()->hello);
}

TEST_F(NeighboursTest, SentGrowsEvenWhenTheClockIsSetBack) {
  neighbours_.OnSelf(now_, SignedBy(KeyNo(0)), 7, 3);
  const auto first = DecodeBeacon(**neighbours_.OnDeadline(now_, TestWall()));
  now_ = neighbours_.NextDeadline();
  const auto second =
      DecodeBeacon(**neighbours_.OnDeadline(now_, TestWall() - std::chrono::minutes(1)));
  EXPECT_GT(second->sent_ms, first->sent_ms);
}

TEST_F(NeighboursTest, TellsNewRecordsFromKnownOnes) {
  auto heard = neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 1));
  ASSERT_TRUE(heard.ok()) << heard.error().text;
  EXPECT_TRUE(heard->is_record_new);
  heard = neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 2, false, 119));
  ASSERT_TRUE(heard.ok());
  EXPECT_FALSE(heard->is_record_new);
  EXPECT_EQ(heard->beacon.head, 119U);
  heard = neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 3, false, 119, 2));
  EXPECT_TRUE(heard->is_record_new);
  EXPECT_EQ(neighbours_.known(), 1U);
}

TEST_F(NeighboursTest, DropsReplaysAndItself) {
  const auto datagram = DatagramOf(KeyNo(1), 5);
  ASSERT_TRUE(neighbours_.OnDatagram(now_, Wall(), datagram).ok());
  for (const auto& text : {datagram, DatagramOf(KeyNo(1), 4), DatagramOf(KeyNo(0), 9)}) {
    const auto dropped = neighbours_.OnDatagram(now_, Wall(), text);
    ASSERT_FALSE(dropped.ok());
    EXPECT_EQ(dropped.error().code, Code::kCancelled);
  }
}

TEST_F(NeighboursTest, AForgedBeaconDoesNotSilenceAPeer) {
  ASSERT_TRUE(neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 5)).ok());
  auto forged = DatagramOf(KeyNo(1), 1000);
  const auto at = forged.find("\"signature\":\"", forged.find("\"beacon\"")) + 20;
  forged[at] = forged[at] == 'A' ? 'B' : 'A';
  EXPECT_EQ(neighbours_.OnDatagram(now_, Wall(), forged).error().code, Code::kDenied);
  EXPECT_TRUE(neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 6)).ok());
}

TEST_F(NeighboursTest, DropsExpiredRecordsAndForgetsTheirClock) {
  ASSERT_TRUE(neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 1'000'000)).ok());
  now_ += std::chrono::minutes(5);
  const auto expired = neighbours_.OnDatagram(now_, Wall(), DatagramOf(KeyNo(1), 1'000'001));
  ASSERT_FALSE(expired.ok());
  EXPECT_EQ(expired.error().code, Code::kInvalid);
  const auto fresh = SignedBy(KeyNo(1), 2, std::chrono::minutes(20));
  const auto datagram = EncodeBeacon({fresh, 7, 1, 50, false}, KeyNo(1)).value();
  EXPECT_TRUE(neighbours_.OnDatagram(now_, Wall(), datagram).ok());
}

TEST(NeighboursLimitTest, TakesNoMoreThanItsLimits) {
  Neighbours neighbours({.interval = seconds(5), .peers_max = 2, .beacons_per_second_max = 4},
                        KeyNo(0), Rng(4));
  Time now{seconds(10)};
  const auto wall = TestWall();
  EXPECT_TRUE(neighbours.OnDatagram(now, wall, DatagramOf(KeyNo(1), 1)).ok());
  EXPECT_TRUE(neighbours.OnDatagram(now, wall, DatagramOf(KeyNo(2), 1)).ok());
  EXPECT_EQ(neighbours.OnDatagram(now, wall, DatagramOf(KeyNo(3), 1)).error().code,
            Code::kExhausted);
  EXPECT_TRUE(neighbours.OnDatagram(now, wall, DatagramOf(KeyNo(2), 2)).ok());
  EXPECT_EQ(neighbours.OnDatagram(now, wall, DatagramOf(KeyNo(2), 3)).error().code,
            Code::kExhausted);
  now += seconds(1);
  EXPECT_TRUE(neighbours.OnDatagram(now, wall, DatagramOf(KeyNo(2), 4)).ok());
  neighbours.CheckInvariants();
}

}  // namespace
}  // namespace shoal::index
