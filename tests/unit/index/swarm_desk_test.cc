#include "index/swarm_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "index/rendezvous_messages.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/records.h"
#include "tests/unit/numbered.h"
#include "tests/unit/rounds.h"

namespace shoal::index {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

RecordPtr RecordNo(int peer, std::uint64_t sequence = 1, Duration life = hours(1)) {
  return std::make_shared<const SignedRecord>(SignedBy(KeyNo(peer), sequence, life));
}

SwarmAsk AskOf(int peer, int blob, bool wants_lead = false) {
  return {.peer = KeyNo(peer).id(), .digest = DigestNo(blob), .wants_lead = wants_lead};
}

class SwarmDeskTest : public testing::Test {
 protected:
  explicit SwarmDeskTest(SwarmDeskLimits limits = {}) : desk_(limits) {}
  ~SwarmDeskTest() override { desk_.CheckInvariants(); }

  RendezvousStatus Ask(int peer, std::vector<int> blobs, bool wants_lead = false) {
    SwarmRequest request{RecordNo(peer, sequence_, life_), sent_++, {}, known_};
    for (const int blob : blobs) request.asks.push_back(AskOf(peer, blob, wants_lead));
    reply_ = {};
    return desk_.OnRequest(now_, Wall(), request, reply_).status;
  }
  [[nodiscard]] std::vector<PeerId> Told() const {
    std::vector<PeerId> out;
    for (const auto& record : reply_.records) out.push_back(record->id());
    return out;
  }
  [[nodiscard]] WallTime Wall() const { return TestWall() + now_.time_since_epoch(); }

  Time now_{seconds(10)};
  std::int64_t sent_ = ToUnixMs(TestWall());
  std::uint64_t sequence_ = 1;
  Duration life_ = hours(1);
  std::vector<PeerPrefix> known_;
  SwarmReply reply_;
  SwarmDesk desk_;
};

TEST_F(SwarmDeskTest, AnswersWithLeadMembersAndTheirRecords) {
  ASSERT_EQ(Ask(1, {7}, true), RendezvousStatus::kOk);
  EXPECT_EQ(reply_.swarms.at(0).second.lead, KeyNo(1).id());
  EXPECT_THAT(Told(), IsEmpty());  // of itself it knows
  ASSERT_EQ(Ask(2, {7}, true), RendezvousStatus::kOk);
  const auto& answer = reply_.swarms.at(0).second;
  EXPECT_EQ(answer.lead, KeyNo(1).id());
  EXPECT_GT(answer.lease, Duration(0));
  EXPECT_THAT(answer.members, ElementsAre(KeyNo(1).id()));
  EXPECT_THAT(Told(), ElementsAre(KeyNo(1).id()));
}

TEST_F(SwarmDeskTest, AnswersSeveralBlobsInTheirOrderAndTellsARecordOnce) {
  ASSERT_EQ(Ask(1, {7, 8}, true), RendezvousStatus::kOk);
  ASSERT_EQ(Ask(2, {8, 9, 7}), RendezvousStatus::kOk);
  ASSERT_EQ(reply_.swarms.size(), 3U);
  EXPECT_EQ(reply_.swarms[0].first, DigestNo(8));
  EXPECT_EQ(reply_.swarms[1].first, DigestNo(9));
  EXPECT_EQ(reply_.swarms[2].first, DigestNo(7));
  EXPECT_THAT(reply_.swarms[1].second.members, IsEmpty());
  EXPECT_THAT(Told(), ElementsAre(KeyNo(1).id()));
}

TEST_F(SwarmDeskTest, LeavesOutTheRecordsThatAreKnown) {
  ASSERT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  ASSERT_EQ(Ask(2, {7}), RendezvousStatus::kOk);
  known_ = {PrefixOf(KeyNo(1).id())};
  ASSERT_EQ(Ask(3, {7}), RendezvousStatus::kOk);
  EXPECT_EQ(reply_.swarms.at(0).second.members.size(), 2U);
  EXPECT_THAT(Told(), ElementsAre(KeyNo(2).id()));
}

TEST_F(SwarmDeskTest, TellsTheNewestRecordAndNoExpiredOne) {
  sequence_ = 5;
  ASSERT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  sequence_ = 4;  // overtaken on the way
  ASSERT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  ASSERT_EQ(Ask(2, {7}), RendezvousStatus::kOk);
  ASSERT_EQ(reply_.records.size(), 1U);
  EXPECT_EQ(reply_.records[0]->record().sequence, 5U);
  life_ = seconds(13);
  ASSERT_EQ(Ask(3, {8}), RendezvousStatus::kOk);
  life_ = hours(1);
  now_ += seconds(4);
  ASSERT_EQ(Ask(4, {8}), RendezvousStatus::kOk);
  EXPECT_THAT(reply_.swarms.at(0).second.members, ElementsAre(KeyNo(3).id()));
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(SwarmDeskTest, RefusesExpiredRecordsReplaysAndRequestsOfAnotherTime) {
  life_ = seconds(5);
  EXPECT_EQ(Ask(1, {7}), RendezvousStatus::kInvalidRecord);
  life_ = hours(1);
  ASSERT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  --sent_;
  EXPECT_EQ(Ask(1, {7}), RendezvousStatus::kNotAuthorized);
  EXPECT_THAT(reply_.swarms, IsEmpty());
  sent_ -= hours(2) / milliseconds(1);
  EXPECT_EQ(Ask(2, {7}), RendezvousStatus::kNotAuthorized);
  sent_ += hours(4) / milliseconds(1);
  EXPECT_EQ(Ask(2, {7}), RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(desk_.peer_count(), 1U);
}

TEST_F(SwarmDeskTest, TakesClocksThatAreTenMinutesOff) {
  sent_ -= std::chrono::minutes(10) / milliseconds(1);
  EXPECT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  sent_ += std::chrono::minutes(20) / milliseconds(1);
  EXPECT_EQ(Ask(2, {7}), RendezvousStatus::kOk);
}

TEST_F(SwarmDeskTest, LetsRequestsOvertakeEachOther) {
  sent_ += 10;
  ASSERT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  sent_ -= 5;
  EXPECT_EQ(Ask(1, {8}), RendezvousStatus::kOk);
}

class SmallSwarmDeskTest : public SwarmDeskTest {
 protected:
  SmallSwarmDeskTest() : SwarmDeskTest({.table = {}, .peers_max = 2, .records_max = 1}) {}
};

TEST_F(SmallSwarmDeskTest, ForgetsThePeerThatAskedLongestAgo) {
  ASSERT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  ASSERT_EQ(Ask(2, {7}), RendezvousStatus::kOk);
  ASSERT_EQ(Ask(1, {7}), RendezvousStatus::kOk);
  ASSERT_EQ(Ask(3, {7}), RendezvousStatus::kOk);
  EXPECT_EQ(desk_.peer_count(), 2U);
  EXPECT_EQ(reply_.swarms.at(0).second.members.size(), 2U);
  EXPECT_THAT(Told(), ElementsAre(KeyNo(1).id()));
}

TEST(ReplayWindowTest, TakesEachNumberOnceInAnyOrder) {
  ReplayWindow window;
  for (const std::int64_t n : {5, 3, 9, 4, 0}) EXPECT_TRUE(window.Take(n));
  for (const std::int64_t n : {5, 3, 9, 4, 0}) EXPECT_FALSE(window.Take(n));
  EXPECT_FALSE(window.Take(-1));
}

TEST(ReplayWindowTest, RefusesWhatLiesBelowTheNumbersItRemembers) {
  ReplayWindow window;
  constexpr auto kWidth = static_cast<std::int64_t>(ReplayWindow::kWidth);
  for (std::int64_t n = 0; n <= 2 * kWidth; n += 2) ASSERT_TRUE(window.Take(n));
  EXPECT_FALSE(window.Take(0));
  for (std::int64_t n = 0; n <= 2 * kWidth; n += 2) EXPECT_FALSE(window.Take(n));
  EXPECT_TRUE(window.Take(2 * kWidth - 1));
  EXPECT_FALSE(window.Take(1));
}

TEST(VerifiedRecordsTest, KnowsTheSameEnvelopeAndNoOther) {
  VerifiedRecords records(2);
  const auto one = RecordNo(1);
  records.Keep(one);
  const auto json = ParseJson(one->envelope(), kRecordBytesMax);
  EXPECT_EQ(records.Find(*json), one);
  EXPECT_EQ(records.Find(*ParseJson(RecordNo(1, 2)->envelope(), kRecordBytesMax)), nullptr);
  Rng rng(3);
  for (int i = 0; i < 5000; ++i) {
    const auto mutated = ParseJson(Mutate(one->envelope(), rng), kRecordBytesMax);
    if (!mutated || !mutated->is_object()) continue;
    if (const auto found = records.Find(*mutated)) {
      EXPECT_EQ(*GetString(*mutated, "payload"), *GetString(*json, "payload"));
      EXPECT_EQ(*GetString(*mutated, "signature"), *GetString(*json, "signature"));
    }
  }
  EXPECT_EQ(records.Find(Json::object()), nullptr);
  EXPECT_EQ(records.Find(Json::number(1)), nullptr);
}

TEST(VerifiedRecordsTest, HasOneRecordOfAPeerAndForgetsTheOldest) {
  VerifiedRecords records(2);
  records.Keep(RecordNo(1));
  records.Keep(RecordNo(1, 2));
  EXPECT_EQ(records.size(), 1U);
  records.Keep(RecordNo(2));
  records.Keep(RecordNo(3));
  EXPECT_EQ(records.size(), 2U);
  EXPECT_EQ(records.Find(*ParseJson(RecordNo(1, 2)->envelope(), kRecordBytesMax)), nullptr);
}

SwarmRequest SampleRequest() {
  SwarmRequest request{RecordNo(1), 12345, {AskOf(1, 7, true), AskOf(1, 8)}, {1, 2, 3}};
  request.asks[1].whole = true;
  request.asks[1].leaving = true;
  request.asks[1].misses_lead = true;
  request.asks[1].progress = 77;
  return request;
}

TEST(SwarmMessagesTest, ARequestSurvivesTheWire) {
  const auto text = EncodeSwarmRequest(SampleRequest(), KeyNo(9).id(), KeyNo(1));
  const auto decoded = DecodeSwarmRequest(text, KeyNo(9).id());
  ASSERT_TRUE(decoded.error.ok()) << decoded.error.text;
  const auto& request = decoded.request.front();
  EXPECT_EQ(request.record->id(), KeyNo(1).id());
  EXPECT_EQ(request.sent_ms, 12345);
  EXPECT_THAT(request.known, ElementsAre(1, 2, 3));
  ASSERT_EQ(request.asks.size(), 2U);
  EXPECT_EQ(request.asks[0].peer, KeyNo(1).id());
  EXPECT_EQ(request.asks[0].digest, DigestNo(7));
  EXPECT_TRUE(request.asks[0].wants_lead);
  EXPECT_FALSE(request.asks[0].whole);
  EXPECT_FALSE(request.asks[1].wants_lead);
  EXPECT_TRUE(request.asks[1].whole);
  EXPECT_TRUE(request.asks[1].leaving);
  EXPECT_TRUE(request.asks[1].misses_lead);
  EXPECT_FALSE(request.asks[0].misses_lead);
  EXPECT_EQ(request.asks[1].progress, 77);
}

TEST(SwarmMessagesTest, ARequestIsGoodForOneServerAndItsOwnKeyOnly) {
  const auto text = EncodeSwarmRequest(SampleRequest(), KeyNo(9).id(), KeyNo(1));
  EXPECT_EQ(DecodeSwarmRequest(text, KeyNo(8).id()).error.status, RendezvousStatus::kNotAuthorized);
  const auto foreign = EncodeSwarmRequest(SampleRequest(), KeyNo(9).id(), KeyNo(2));
  EXPECT_EQ(DecodeSwarmRequest(foreign, KeyNo(9).id()).error.status,
            RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(DecodeRequest(text, RendezvousVerb::kRegister, KeyNo(9).id()).error.status,
            RendezvousStatus::kNotAuthorized);
}

TEST(SwarmMessagesTest, RefusesWhatIsBeyondItsLimits) {
  const auto decode = [](const SwarmRequest& request) {
    return DecodeSwarmRequest(EncodeSwarmRequest(request, KeyNo(9).id(), KeyNo(1)), KeyNo(9).id())
        .error.ok();
  };
  auto request = SampleRequest();
  request.asks.assign(kSwarmAsksMax, AskOf(1, 1));
  request.known.assign(kSwarmKnownMax, 1);
  EXPECT_TRUE(decode(request));
  request.known.push_back(1);
  EXPECT_FALSE(decode(request));
  request = SampleRequest();
  request.asks.assign(kSwarmAsksMax + 1, AskOf(1, 1));
  EXPECT_FALSE(decode(request));
  request.asks.clear();
  EXPECT_FALSE(decode(request));
  request = SampleRequest();
  request.asks[0].progress = -1;
  EXPECT_FALSE(decode(request));
}

TEST(SwarmMessagesTest, NeverTakesAMutatedRequestForSomethingElse) {
  const auto good = EncodeSwarmRequest(SampleRequest(), KeyNo(9).id(), KeyNo(1));
  Rng rng(23);
  for (int i = 0; i < Rounds(5'000); ++i) {
    const auto decoded = DecodeSwarmRequest(Mutate(good, rng), KeyNo(9).id());
    if (!decoded.error.ok()) continue;
    ASSERT_EQ(decoded.request.front().asks.size(), 2U);
    ASSERT_EQ(decoded.request.front().record->id(), KeyNo(1).id());
    ASSERT_EQ(decoded.request.front().sent_ms, 12345);
  }
}

SwarmReply SampleReply() {
  SwarmReply reply;
  reply.swarms.emplace_back(
      DigestNo(7), SwarmAnswer{KeyNo(1).id(), milliseconds(900), {KeyNo(1).id(), KeyNo(2).id()}});
  reply.swarms.emplace_back(DigestNo(8), SwarmAnswer{});
  reply.records = {RecordNo(1), RecordNo(2)};
  return reply;
}

TEST(SwarmMessagesTest, AReplySurvivesTheWire) {
  const auto answer = DecodeAnswer(EncodeSwarmReply(SampleReply()));
  ASSERT_TRUE(answer.ok()) << answer.error().text;
  EXPECT_EQ(answer->swarms, SampleReply().swarms);
  ASSERT_EQ(answer->records.size(), 2U);
  EXPECT_EQ(answer->records[1].id(), KeyNo(2).id());
}

TEST(SwarmMessagesTest, NeverCrashesOnMutatedReplies) {
  const auto text = EncodeSwarmReply(SampleReply());
  Rng rng(29);
  for (int i = 0; i < 5'000; ++i) {
    const auto decoded = DecodeAnswer(Mutate(text, rng));
    if (!decoded) continue;
    for (const auto& record : decoded->records) {
      ASSERT_TRUE(record.id() == KeyNo(1).id() || record.id() == KeyNo(2).id());
    }
  }
  for (const std::string bad : {R"({"status":"OK","swarms":1})", R"({"status":"OK","swarms":[1]})",
                                R"({"status":"OK","swarms":[{"members":[]}]})",
                                R"({"status":"OK","swarms":[{"digest":"x","members":[]}]})"}) {
    EXPECT_FALSE(DecodeAnswer(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace shoal::index
