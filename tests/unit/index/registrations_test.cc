#include "index/registrations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "index/rendezvous_messages.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/records.h"

namespace shoal::index {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

class RegistrationsTest : public testing::Test {
 protected:
  explicit RegistrationsTest(RegistrationLimits limits = {}) : registrations_(limits, 99) {}
  ~RegistrationsTest() override { registrations_.CheckInvariants(); }

  RendezvousStatus Register(int peer, std::vector<std::string> names, std::uint64_t sequence = 1,
                            Duration ttl = seconds(300)) {
    return registrations_
        .Register(now_, Wall(),
                  {std::move(names), SignedBy(KeyNo(peer), sequence, hours(1)), ttl, ++sent_}, ttl_)
        .status;
  }
  RendezvousStatus Unregister(int peer, std::vector<std::string> names) {
    return registrations_
        .Unregister(now_, {std::move(names), SignedBy(KeyNo(peer)), Duration(0), ++sent_})
        .status;
  }
  // The peers found, by number, in the order of the answer; moves the cookie on.
  std::vector<int> Discover(const std::string& name, std::string& cookie, int limit = 100) {
    const auto answer = registrations_.Discover(now_, Wall(), name, limit, cookie);
    EXPECT_TRUE(answer.error.ok()) << answer.error.text;
    cookie = answer.cookie;
    std::vector<int> out;
    for (const auto& found : answer.found) {
      for (int n = 0; n < 20; ++n) {
        if (KeyNo(n).id() == found.record.id()) out.push_back(n);
      }
    }
    return out;
  }
  std::vector<int> Discover(const std::string& name) {
    std::string cookie;
    return Discover(name, cookie);
  }
  [[nodiscard]] WallTime Wall() const { return TestWall() + now_.time_since_epoch(); }

  Time now_{seconds(10)};
  std::int64_t sent_ = 1000;
  Duration ttl_{0};
  Registrations registrations_;
};

TEST_F(RegistrationsTest, FindsWhatWasRegisteredUnderTheNamespace) {
  ASSERT_EQ(Register(1, {"room/open", "room/blue"}), RendezvousStatus::kOk);
  ASSERT_EQ(Register(2, {"room/open"}), RendezvousStatus::kOk);
  EXPECT_THAT(Discover("room/open"), testing::ElementsAre(1, 2));
  EXPECT_THAT(Discover("room/blue"), testing::ElementsAre(1));
  EXPECT_THAT(Discover("room/red"), testing::IsEmpty());
  EXPECT_EQ(registrations_.size(), 3U);
  EXPECT_EQ(registrations_.peer_count(), 2U);
}

TEST_F(RegistrationsTest, BoundsTheTtlAndExpiresByIt) {
  ASSERT_EQ(Register(1, {"a"}, 1, seconds(0)), RendezvousStatus::kOk);
  EXPECT_EQ(ttl_, kTtlMin);
  ASSERT_EQ(Register(2, {"a"}, 1, hours(1000)), RendezvousStatus::kOk);
  EXPECT_EQ(ttl_, kTtlMax);
  EXPECT_EQ(registrations_.NextDeadline(), now_ + kTtlMin);
  now_ += kTtlMin;
  EXPECT_THAT(Discover("a"), testing::ElementsAre(2));
  registrations_.OnDeadline(now_);
  EXPECT_EQ(registrations_.size(), 1U);
  EXPECT_EQ(registrations_.peer_count(), 1U);
}

TEST_F(RegistrationsTest, RegisteringAgainExtends) {
  ASSERT_EQ(Register(1, {"a"}, 1, seconds(10)), RendezvousStatus::kOk);
  now_ += seconds(8);
  ASSERT_EQ(Register(1, {"a"}, 1, seconds(10)), RendezvousStatus::kOk);
  now_ += seconds(8);
  registrations_.OnDeadline(now_);
  EXPECT_THAT(Discover("a"), testing::ElementsAre(1));
}

TEST_F(RegistrationsTest, NeverGivesOutExpiredRecords) {
  ASSERT_EQ(Register(1, {"a"}, 1, hours(10)), RendezvousStatus::kOk);
  now_ += hours(1);
  EXPECT_THAT(Discover("a"), testing::IsEmpty());
  EXPECT_EQ(Register(2, {"a"}), RendezvousStatus::kInvalidRecord);
}

TEST_F(RegistrationsTest, UnregistersOnlyWhatIsNamed) {
  ASSERT_EQ(Register(1, {"a", "b"}), RendezvousStatus::kOk);
  ASSERT_EQ(Register(2, {"a"}), RendezvousStatus::kOk);
  ASSERT_EQ(Unregister(1, {"a", "absent"}), RendezvousStatus::kOk);
  EXPECT_THAT(Discover("a"), testing::ElementsAre(2));
  EXPECT_THAT(Discover("b"), testing::ElementsAre(1));
  ASSERT_EQ(Unregister(1, {"b"}), RendezvousStatus::kOk);
  EXPECT_EQ(registrations_.peer_count(), 1U);
}

TEST_F(RegistrationsTest, CookiesGivePagesAndIncrements) {
  for (int n = 1; n <= 5; ++n) ASSERT_EQ(Register(n, {"a"}), RendezvousStatus::kOk);
  std::string cookie;
  EXPECT_THAT(Discover("a", cookie, 2), testing::ElementsAre(1, 2));
  EXPECT_THAT(Discover("a", cookie, 2), testing::ElementsAre(3, 4));
  EXPECT_THAT(Discover("a", cookie, 2), testing::ElementsAre(5));
  EXPECT_THAT(Discover("a", cookie, 2), testing::IsEmpty());
  ASSERT_EQ(Register(6, {"a"}), RendezvousStatus::kOk);
  ASSERT_EQ(Register(1, {"a"}, 2), RendezvousStatus::kOk);  // a new record is news
  ASSERT_EQ(Register(2, {"a"}), RendezvousStatus::kOk);     // a refresh is not
  EXPECT_THAT(Discover("a", cookie), testing::ElementsAre(6, 1));
}

TEST_F(RegistrationsTest, RefusesCookiesThatAreNotItsOwn) {
  ASSERT_EQ(Register(1, {"a"}), RendezvousStatus::kOk);
  for (const std::string cookie :
       {"98-0", "99-", "99-x", "99-2", "99-99999999999999999999", "x", "99-1 ", "99--1", "99"}) {
    EXPECT_EQ(registrations_.Discover(now_, Wall(), "a", 10, cookie).error.status,
              RendezvousStatus::kInvalidCookie)
        << cookie;
  }
}

TEST_F(RegistrationsTest, RefusesReplaysAndOlderRecords) {
  ASSERT_EQ(Register(1, {"a"}, 5), RendezvousStatus::kOk);
  EXPECT_EQ(Register(1, {"a"}, 4), RendezvousStatus::kNotAuthorized);
  --sent_;
  --sent_;
  EXPECT_EQ(Register(1, {"b"}, 5), RendezvousStatus::kNotAuthorized);
  --sent_;
  EXPECT_EQ(Unregister(1, {"a"}), RendezvousStatus::kNotAuthorized);
  EXPECT_THAT(Discover("a"), testing::ElementsAre(1));
}

TEST_F(RegistrationsTest, RefusesWhatIsNoNamespace) {
  for (const auto& name : {std::string(), std::string(256, 'a'), std::string("a b"),
                           std::string("a\n"), std::string("\xc3\xa9")}) {
    EXPECT_EQ(Register(1, {"good", name}), RendezvousStatus::kInvalidNamespace);
    EXPECT_EQ(registrations_.Discover(now_, Wall(), name, 1, "").error.status,
              RendezvousStatus::kInvalidNamespace);
  }
  EXPECT_EQ(Register(1, {}), RendezvousStatus::kInvalidNamespace);
  EXPECT_EQ(registrations_.size(), 0U);
  EXPECT_EQ(Register(1, {std::string(255, 'a')}), RendezvousStatus::kOk);
}

class SmallRegistrationsTest : public RegistrationsTest {
 protected:
  SmallRegistrationsTest()
      : RegistrationsTest({.peers_max = 3, .total_max = 6, .per_peer_max = 4, .discover_max = 2}) {}
};

TEST_F(SmallRegistrationsTest, HoldsItsLimitsAndTakesAllOrNothing) {
  EXPECT_EQ(Register(1, {"a", "b", "c", "d", "e"}), RendezvousStatus::kUnavailable);
  EXPECT_EQ(registrations_.size(), 0U);
  EXPECT_EQ(Register(1, {"a", "b", "c", "d", "a"}), RendezvousStatus::kOk);
  EXPECT_EQ(Register(1, {"e"}), RendezvousStatus::kUnavailable);
  EXPECT_EQ(Register(1, {"a"}), RendezvousStatus::kOk);
  EXPECT_EQ(Register(2, {"a", "b", "c"}), RendezvousStatus::kUnavailable);
  EXPECT_EQ(Register(2, {"a"}), RendezvousStatus::kOk);
  EXPECT_EQ(Register(3, {"a"}), RendezvousStatus::kOk);
  EXPECT_EQ(Register(4, {"a"}), RendezvousStatus::kUnavailable);
  std::string cookie;
  EXPECT_EQ(Discover("a", cookie, 1000).size(), 2U);
}

TEST_F(SmallRegistrationsTest, KeepsItsInvariantsUnderAnything) {
  Rng rng(17);
  for (int step = 0; step < 2000; ++step) {
    const int peer = 1 + static_cast<int>(rng.Below(4));
    const std::vector<std::string> names{std::string(1, static_cast<char>('a' + rng.Below(4))),
                                         std::string(1, static_cast<char>('a' + rng.Below(4)))};
    switch (rng.Below(4)) {
      case 0:
      case 1:
        (void)Register(peer, names, 1 + rng.Below(2), seconds(static_cast<int>(rng.Below(20))));
        break;
      case 2:
        (void)Unregister(peer, names);
        break;
      default:
        now_ += seconds(static_cast<int>(rng.Below(5)));
        registrations_.OnDeadline(now_);
        EXPECT_GT(registrations_.NextDeadline(), now_);
    }
    registrations_.CheckInvariants();
  }
}

Registrations::Request SampleRequest(const SigningKey& key) {
  return {{"room/open", "blob/x"}, SignedBy(key), seconds(300), 12345};
}

TEST(RendezvousMessagesTest, ARequestSurvivesTheWire) {
  const auto text =
      EncodeRequest(RendezvousVerb::kRegister, SampleRequest(KeyNo(1)), KeyNo(9).id(), KeyNo(1));
  const auto decoded = DecodeRequest(text, RendezvousVerb::kRegister, KeyNo(9).id());
  ASSERT_TRUE(decoded.error.ok()) << decoded.error.text;
  const auto& request = decoded.request.front();
  EXPECT_THAT(request.namespaces, testing::ElementsAre("room/open", "blob/x"));
  EXPECT_EQ(request.record.id(), KeyNo(1).id());
  EXPECT_EQ(request.ttl, seconds(300));
  EXPECT_EQ(request.sent_ms, 12345);
}

TEST(RendezvousMessagesTest, ARequestIsGoodForOneVerbOneServerAndItsOwnKeyOnly) {
  const auto request = SampleRequest(KeyNo(1));
  const auto text = EncodeRequest(RendezvousVerb::kRegister, request, KeyNo(9).id(), KeyNo(1));
  EXPECT_EQ(DecodeRequest(text, RendezvousVerb::kUnregister, KeyNo(9).id()).error.status,
            RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(DecodeRequest(text, RendezvousVerb::kRegister, KeyNo(8).id()).error.status,
            RendezvousStatus::kNotAuthorized);
  const auto foreign = EncodeRequest(RendezvousVerb::kRegister, request, KeyNo(9).id(), KeyNo(2));
  EXPECT_EQ(DecodeRequest(foreign, RendezvousVerb::kRegister, KeyNo(9).id()).error.status,
            RendezvousStatus::kNotAuthorized);
}

TEST(RendezvousMessagesTest, NamesWhatIsWrongWithARequest) {
  const auto decode = [](Registrations::Request request) {
    const auto text = EncodeRequest(RendezvousVerb::kRegister, request, KeyNo(9).id(), KeyNo(1));
    return DecodeRequest(text, RendezvousVerb::kRegister, KeyNo(9).id()).error.status;
  };
  auto request = SampleRequest(KeyNo(1));
  request.namespaces = {};
  EXPECT_EQ(decode(request), RendezvousStatus::kInvalidNamespace);
  request.namespaces.assign(kNamespacesPerRequestMax + 1, "a");
  EXPECT_EQ(decode(request), RendezvousStatus::kInvalidNamespace);
  request.namespaces.assign(kNamespacesPerRequestMax, std::string(kNamespaceBytesMax, 'a'));
  EXPECT_EQ(decode(request), RendezvousStatus::kOk);
  request.ttl = -seconds(1);
  EXPECT_EQ(decode(request), RendezvousStatus::kInvalidTtl);
  for (const std::string text : {"", "{}", "[]", "null", R"({"record":7})", R"({"record":{}})"}) {
    const auto decoded = DecodeRequest(text, RendezvousVerb::kRegister, KeyNo(9).id());
    EXPECT_FALSE(decoded.error.ok()) << text;
    EXPECT_TRUE(decoded.request.empty());
  }
  const std::string huge(kRendezvousRequestBytesMax + 1, '{');
  EXPECT_FALSE(DecodeRequest(huge, RendezvousVerb::kRegister, KeyNo(9).id()).error.ok());
}

TEST(RendezvousMessagesTest, NeverTakesAMutatedRequestForSomethingElse) {
  const auto good =
      EncodeRequest(RendezvousVerb::kRegister, SampleRequest(KeyNo(1)), KeyNo(9).id(), KeyNo(1));
  Rng rng(23);
  for (int i = 0; i < 10'000; ++i) {
    const auto decoded = DecodeRequest(Mutate(good, rng), RendezvousVerb::kRegister, KeyNo(9).id());
    if (!decoded.error.ok()) continue;
    ASSERT_THAT(decoded.request.front().namespaces, testing::ElementsAre("room/open", "blob/x"));
    ASSERT_EQ(decoded.request.front().record.id(), KeyNo(1).id());
    ASSERT_EQ(decoded.request.front().sent_ms, 12345);
  }
}

TEST(RendezvousMessagesTest, AnswersSurviveTheWire) {
  const auto registered = DecodeAnswer(EncodeRegistered(seconds(300)));
  ASSERT_TRUE(registered.ok());
  EXPECT_TRUE(registered->error.ok());
  EXPECT_EQ(registered->ttl, seconds(300));
  const auto failed =
      DecodeAnswer(EncodeError({RendezvousStatus::kInvalidCookie, "begin \"anew\""}));
  ASSERT_TRUE(failed.ok());
  EXPECT_EQ(failed->error.status, RendezvousStatus::kInvalidCookie);
  EXPECT_EQ(failed->error.text, "begin \"anew\"");
  Registrations::Answer answer;
  answer.found = {{SignedBy(KeyNo(1)), seconds(10)}, {SignedBy(KeyNo(2)), seconds(20)}};
  answer.cookie = "99-2";
  const auto found = DecodeAnswer(EncodeDiscovered("room/open", answer));
  ASSERT_TRUE(found.ok()) << found.error().text;
  ASSERT_EQ(found->records.size(), 2U);
  EXPECT_EQ(found->records[1].id(), KeyNo(2).id());
  EXPECT_EQ(found->cookie, "99-2");
}

TEST(RendezvousMessagesTest, LeavesOutRecordsThatDoNotVerify) {
  Registrations::Answer answer;
  answer.found = {{SignedBy(KeyNo(1)), seconds(10)}, {SignedBy(KeyNo(2)), seconds(20)}};
  auto text = EncodeDiscovered("room/open", answer);
  const auto key = ToBase64Url(KeyNo(1).public_key().bytes);
  text.replace(text.find(key), key.size(), ToBase64Url(KeyNo(3).public_key().bytes));
  const auto found = DecodeAnswer(text);
  ASSERT_TRUE(found.ok());
  ASSERT_EQ(found->records.size(), 1U);
  EXPECT_EQ(found->records[0].id(), KeyNo(2).id());
  EXPECT_EQ(found->given, 2U);
}

TEST(RendezvousMessagesTest, NeverCrashesOnMutatedAnswers) {
  Registrations::Answer answer;
  answer.found = {{SignedBy(KeyNo(1)), seconds(10)}};
  const auto text = EncodeDiscovered("room/open", answer);
  Rng rng(29);
  for (int i = 0; i < 10'000; ++i) {
    const auto decoded = DecodeAnswer(Mutate(text, rng));
    if (!decoded) continue;
    for (const auto& record : decoded->records) ASSERT_EQ(record.id(), KeyNo(1).id());
  }
  for (const std::string bad : {"", "[]", "{}", R"({"status":7})", R"({"status":"OK","records":1})",
                                R"({"status":"OK","cookie":1})", R"({"status":"OK","ttl_s":-1})"}) {
    EXPECT_FALSE(DecodeAnswer(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace shoal::index
