#include "index/registrations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "index/peer_index.h"
#include "index/rendezvous_messages.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/records.h"
#include "tests/unit/rounds.h"

namespace shoal::index {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

CookieSecret SecretNo(int n) {
  CookieSecret secret{};
  secret[0] = static_cast<std::byte>(n);
  return secret;
}

class RegistrationsTest : public testing::Test {
 protected:
  explicit RegistrationsTest(RegistrationLimits limits = {})
      : limits_(limits), registrations_(std::make_unique<Registrations>(limits, SecretNo(1))) {}
  ~RegistrationsTest() override { registrations_->CheckInvariants(); }

  RendezvousStatus Register(int peer, std::vector<std::string> names, std::uint64_t sequence = 1,
                            std::optional<Duration> ttl = seconds(300)) {
    auto taken = registrations_->Register(
        now_, Wall(), {std::move(names), SignedBy(KeyNo(peer), sequence, hours(1)), ttl, ++sent_});
    ttl_ = taken.ttl;
    news_ = std::move(taken.news);
    Keep();
    return taken.error.status;
  }
  RendezvousStatus Unregister(int peer, std::vector<std::string> names) {
    const auto status =
        registrations_
            ->Unregister(now_, Wall(),
                         {std::move(names), SignedBy(KeyNo(peer), 9, hours(1)), {}, ++sent_})
            .status;
    Keep();
    return status;
  }
  // The peers found, by number, in the order of the answer; moves the cookie on.
  std::vector<int> Discover(const std::string& name, std::string& cookie, int limit = 100) {
    const auto answer = registrations_->Discover(now_, Wall(), name, limit, cookie);
    EXPECT_TRUE(answer.error.ok()) << answer.error.text;
    cookie = answer.cookie;
    std::vector<int> out;
    for (const auto& found : answer.found) {
      const auto record = SignedRecord::Parse(*found.envelope);
      for (int n = 0; n < 20; ++n) {
        if (KeyNo(n).id() == record->id()) out.push_back(n);
      }
    }
    return out;
  }
  std::vector<int> Discover(const std::string& name) {
    std::string cookie;
    return Discover(name, cookie);
  }
  RendezvousStatus StatusOf(const std::string& name, const std::string& cookie) {
    return registrations_->Discover(now_, Wall(), name, 10, cookie).error.status;
  }
  [[nodiscard]] WallTime Wall() const { return TestWall() + now_.time_since_epoch(); }

  // What is on disk.
  void Keep() {
    for (auto& row : registrations_->TakeRows()) {
      if (row.value) {
        disk_[row.key] = *row.value;
      } else {
        disk_.erase(row.key);
      }
    }
  }
  // The server dies and comes back.
  Status Restart() {
    registrations_ = std::make_unique<Registrations>(limits_, SecretNo(1));
    const auto disk = disk_;
    std::vector<Registrations::ReadRow> rows;
    for (const auto& [key, value] : disk) {
      const auto row = registrations_->Read(key, value);
      if (!row) return row.error();
      rows.push_back(*row);
    }
    registrations_->ExpectRows(rows.size());
    std::vector<std::string_view> useless;
    if (auto loaded = registrations_->Load(now_, Wall(), rows, useless); !loaded) return loaded;
    for (const auto key : useless) disk_.erase(std::string(key));
    registrations_->Loaded();
    registrations_->CheckInvariants();
    Keep();
    return Ok();
  }

  RegistrationLimits limits_;
  Time now_{seconds(10)};
  std::int64_t sent_ = ToUnixMs(TestWall());
  Duration ttl_{0};
  std::vector<std::string> news_;
  std::map<std::string, std::string> disk_;
  std::unique_ptr<Registrations> registrations_;
};

TEST_F(RegistrationsTest, FindsWhatWasRegisteredUnderTheNamespace) {
  ASSERT_EQ(Register(1, {"room/open", "room/blue"}), RendezvousStatus::kOk);
  ASSERT_EQ(Register(2, {"room/open"}), RendezvousStatus::kOk);
  EXPECT_THAT(Discover("room/open"), testing::ElementsAre(1, 2));
  EXPECT_THAT(Discover("room/blue"), testing::ElementsAre(1));
  EXPECT_THAT(Discover("room/red"), testing::IsEmpty());
  EXPECT_EQ(registrations_->size(), 3U);
  EXPECT_EQ(registrations_->peer_count(), 2U);
}

TEST_F(RegistrationsTest, ComesBackInOrderFromMoreRowsThanAreLoadedAtOnce) {
  // Numbers go from namespace to namespace, rows from peer to peer.
  for (int blob = 0; blob < 150; ++blob) {
    for (const int peer : {3, 1, 2}) {
      ASSERT_EQ(Register(peer, {"blob/" + std::to_string(blob), "room/open"}),
                RendezvousStatus::kOk);
    }
  }
  ASSERT_EQ(Register(2, {"blob/7"}, 1, seconds(600)), RendezvousStatus::kOk);
  now_ += seconds(301);  // all but that one have ended
  ASSERT_EQ(Register(3, {"blob/7", "blob/8"}), RendezvousStatus::kOk);
  ASSERT_TRUE(Restart().ok());
  EXPECT_EQ(registrations_->size(), 3U);
  EXPECT_THAT(Discover("blob/7"), testing::ElementsAre(2, 3));
  EXPECT_THAT(Discover("blob/6"), testing::IsEmpty());
  for (int blob = 0; blob < 150; ++blob) {
    for (const int peer : {3, 1, 2}) {
      ASSERT_EQ(Register(peer, {"blob/" + std::to_string(blob)}), RendezvousStatus::kOk);
    }
  }
  ASSERT_TRUE(Restart().ok());
  EXPECT_EQ(registrations_->size(), 450U);
  for (int blob = 10; blob < 150; ++blob) {
    ASSERT_THAT(Discover("blob/" + std::to_string(blob)), testing::ElementsAre(3, 1, 2));
  }
}

TEST_F(RegistrationsTest, BoundsTheTtlAndExpiresByIt) {
  ASSERT_EQ(Register(1, {"a"}, 1, seconds(0)), RendezvousStatus::kOk);
  EXPECT_EQ(ttl_, kTtlMin);
  ASSERT_EQ(Register(2, {"a"}, 1, hours(1000)), RendezvousStatus::kOk);
  EXPECT_EQ(ttl_, kTtlMax);
  EXPECT_LE(registrations_->NextDeadline(), now_ + kTtlMin);
  now_ += kTtlMin;
  EXPECT_THAT(Discover("a"), testing::ElementsAre(2));
  registrations_->OnDeadline(now_);
  EXPECT_EQ(registrations_->size(), 1U);
  EXPECT_EQ(registrations_->peer_count(), 1U);
}

TEST_F(RegistrationsTest, RegisteringAgainExtends) {
  ASSERT_EQ(Register(1, {"a"}, 1, seconds(10)), RendezvousStatus::kOk);
  now_ += seconds(8);
  ASSERT_EQ(Register(1, {"a"}, 1, seconds(10)), RendezvousStatus::kOk);
  now_ += seconds(8);
  registrations_->OnDeadline(now_);
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
  EXPECT_EQ(registrations_->peer_count(), 1U);
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

TEST_F(RegistrationsTest, RefusesCookiesThatAreForgedOrOfAnotherNamespace) {
  ASSERT_EQ(Register(1, {"a", "b"}), RendezvousStatus::kOk);
  std::string cookie;
  Discover("a", cookie);
  EXPECT_EQ(StatusOf("a", cookie), RendezvousStatus::kOk);
  EXPECT_EQ(StatusOf("b", cookie), RendezvousStatus::kInvalidCookie);
  EXPECT_EQ(StatusOf("", cookie), RendezvousStatus::kInvalidCookie);
  const auto foreign = SealCookie({1, 0}, "a", SecretNo(2));
  for (const auto& forged : {foreign, std::string("x"), std::string(200, 'A'), cookie + "A",
                             cookie.substr(1), std::string(38, 'A')}) {
    EXPECT_EQ(StatusOf("a", forged), RendezvousStatus::kInvalidCookie) << forged;
  }
}

TEST_F(RegistrationsTest, CookiesOutliveARestart) {
  for (int n = 1; n <= 3; ++n) ASSERT_EQ(Register(n, {"a", "b"}), RendezvousStatus::kOk);
  std::string cookie;
  EXPECT_THAT(Discover("a", cookie, 2), testing::ElementsAre(1, 2));
  ASSERT_TRUE(Restart().ok());
  ASSERT_EQ(Register(4, {"a"}), RendezvousStatus::kOk);
  EXPECT_THAT(Discover("a", cookie), testing::ElementsAre(3, 4));
}

TEST_F(RegistrationsTest, NumbersThatWereNotKeptAreNotGivenAgain) {
  ASSERT_EQ(Register(1, {"a"}), RendezvousStatus::kOk);
  const auto kept = disk_;
  ASSERT_EQ(Register(2, {"a"}), RendezvousStatus::kOk);
  std::string cookie;
  EXPECT_THAT(Discover("a", cookie), testing::ElementsAre(1, 2));
  disk_ = kept;  // killed before it was on disk
  ASSERT_TRUE(Restart().ok());
  ASSERT_EQ(Register(3, {"a"}), RendezvousStatus::kOk);
  EXPECT_THAT(Discover("a", cookie), testing::ElementsAre(3));
}

TEST_F(RegistrationsTest, ComesBackFromItsRows) {
  ASSERT_EQ(Register(1, {"a", BlobKey(Digest{})}, 5), RendezvousStatus::kOk);
  ASSERT_EQ(Register(2, {"a", "b"}), RendezvousStatus::kOk);
  ASSERT_EQ(Register(3, {"b"}, 1, seconds(20)), RendezvousStatus::kOk);
  ASSERT_EQ(Register(4, {"c"}), RendezvousStatus::kOk);
  ASSERT_EQ(Unregister(2, {"b"}), RendezvousStatus::kOk);
  ASSERT_EQ(Unregister(4, {"c"}), RendezvousStatus::kOk);
  ASSERT_EQ(Register(1, {"a"}, 6), RendezvousStatus::kOk);
  now_ += seconds(30);
  ASSERT_TRUE(Restart().ok());
  EXPECT_EQ(registrations_->size(), 3U);
  EXPECT_EQ(registrations_->peer_count(), 2U);
  EXPECT_THAT(Discover("a"), testing::ElementsAre(2, 1));
  EXPECT_THAT(Discover(BlobKey(Digest{})), testing::ElementsAre(1));
  EXPECT_THAT(Discover("b"), testing::IsEmpty());
  // What is remembered of a peer came back too.
  EXPECT_EQ(Register(1, {"a"}, 5), RendezvousStatus::kNotAuthorized);
  sent_ -= 10;
  EXPECT_EQ(Register(1, {"a"}, 6), RendezvousStatus::kNotAuthorized);
  now_ += seconds(280);
  registrations_->OnDeadline(now_);
  EXPECT_EQ(registrations_->size(), 0U);
}

TEST_F(RegistrationsTest, SaysThatRowsCannotBeRead) {
  ASSERT_EQ(Register(1, {"a"}), RendezvousStatus::kOk);
  const auto good = disk_;
  for (const auto& [key, value] : good) {
    if (key[0] == 'm') continue;
    disk_ = good;
    disk_[key] = value.substr(0, value.size() > 20 ? 20 : 3);
    const auto restarted = Restart();
    ASSERT_FALSE(restarted.ok());
    EXPECT_EQ(restarted.error().code, Code::kCorrupt);
    EXPECT_THAT(restarted.error().text, testing::HasSubstr("remove the directory"));
  }
  disk_ = good;
  ASSERT_TRUE(Restart().ok());
}

TEST_F(RegistrationsTest, WithoutANamespaceGivesEachPeerOnce) {
  for (int n = 1; n <= 3; ++n) ASSERT_EQ(Register(n, {"a", "b"}), RendezvousStatus::kOk);
  std::string cookie;
  EXPECT_THAT(Discover("", cookie, 2), testing::ElementsAre(1, 2));
  EXPECT_THAT(Discover("", cookie, 2), testing::ElementsAre(3));
  ASSERT_EQ(Register(2, {"c"}), RendezvousStatus::kOk);
  EXPECT_THAT(Discover("", cookie), testing::IsEmpty());
  ASSERT_EQ(Register(2, {"c"}, 2), RendezvousStatus::kOk);
  EXPECT_THAT(Discover("", cookie), testing::ElementsAre(2));
}

TEST_F(RegistrationsTest, TellsWhereThereIsNews) {
  ASSERT_EQ(Register(1, {"a", "b"}), RendezvousStatus::kOk);
  EXPECT_THAT(news_, testing::ElementsAre("a", "b"));
  ASSERT_EQ(Register(1, {"a", "c"}), RendezvousStatus::kOk);
  EXPECT_THAT(news_, testing::ElementsAre("c"));
  // A later record that says the same is no reason to wake anybody.
  ASSERT_EQ(Register(1, {"a"}, 2), RendezvousStatus::kOk);
  EXPECT_THAT(news_, testing::IsEmpty());
  auto moved = RecordOf(KeyNo(1), 3, hours(1));
  moved.endpoints = {{"10.0.0.9", 7381}};
  const auto taken = registrations_->Register(
      now_, Wall(), {{"a"}, SignedRecord::Sign(moved, KeyNo(1)), seconds(60), ++sent_});
  EXPECT_THAT(taken.news, testing::ElementsAre("a"));
}

TEST_F(RegistrationsTest, BoundsByItsConfiguration) {
  limits_.ttl_min = seconds(20);
  limits_.ttl_default = seconds(30);
  limits_.ttl_max = seconds(40);
  registrations_ = std::make_unique<Registrations>(limits_, SecretNo(1));
  for (const auto& [asked, given] :
       {std::pair(seconds(19), seconds(20)), std::pair(seconds(20), seconds(20)),
        std::pair(seconds(40), seconds(40)), std::pair(seconds(41), seconds(40))}) {
    ASSERT_EQ(Register(1, {"a"}, 1, asked), RendezvousStatus::kOk);
    EXPECT_EQ(ttl_, given);
  }
  ASSERT_EQ(Register(1, {"a"}, 1, std::nullopt), RendezvousStatus::kOk);
  EXPECT_EQ(ttl_, seconds(30));
}

TEST_F(RegistrationsTest, TakesAnUnknownPeerOnlyWithATimeNearOurs) {
  const auto sent = sent_;
  sent_ = sent - hours(2) / std::chrono::milliseconds(1);
  EXPECT_EQ(Register(1, {"a"}), RendezvousStatus::kNotAuthorized);
  sent_ = sent + hours(2) / std::chrono::milliseconds(1);
  EXPECT_EQ(Register(1, {"a"}), RendezvousStatus::kNotAuthorized);
  for (const auto off : {-std::chrono::minutes(10), std::chrono::minutes(10)}) {
    sent_ = sent + off / std::chrono::milliseconds(1);
    EXPECT_EQ(Register(off.count() > 0 ? 2 : 1, {"a"}), RendezvousStatus::kOk);
  }
}

TEST_F(RegistrationsTest, ExpiresManyWithoutLookingAtTheOthers) {
  std::vector<std::string> names;
  for (int n = 0; n < 5000; ++n) names.push_back("n" + std::to_string(n));
  ASSERT_EQ(Register(1, names, 1, seconds(10)), RendezvousStatus::kOk);
  ASSERT_EQ(Register(2, {"n0"}, 1, hours(72)), RendezvousStatus::kOk);
  now_ += seconds(10);
  int turns = 0;
  while (registrations_->size() > 1) {
    registrations_->OnDeadline(now_);
    ++turns;
    ASSERT_LT(turns, 10);
  }
  EXPECT_EQ(turns, 3);  // kDroppedAtOnce each
  EXPECT_THAT(Discover("n0"), testing::ElementsAre(2));
  now_ += hours(72);
  registrations_->OnDeadline(now_);
  EXPECT_EQ(registrations_->size(), 0U);
  EXPECT_EQ(registrations_->namespace_count(), 0U);
  Keep();
  EXPECT_EQ(disk_.size(), 1U);  // the next number
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
    if (!name.empty()) {
      EXPECT_EQ(StatusOf(name, ""), RendezvousStatus::kInvalidNamespace);
    }
  }
  EXPECT_EQ(Register(1, {}), RendezvousStatus::kInvalidNamespace);
  EXPECT_EQ(registrations_->size(), 0U);
  EXPECT_EQ(Register(1, {std::string(255, 'a')}), RendezvousStatus::kOk);
}

class SmallRegistrationsTest : public RegistrationsTest {
 protected:
  SmallRegistrationsTest()
      : RegistrationsTest({.peers_max = 3, .total_max = 6, .per_peer_max = 4, .discover_max = 2}) {}
};

TEST_F(SmallRegistrationsTest, HoldsItsLimitsAndTakesAllOrNothing) {
  EXPECT_EQ(Register(1, {"a", "b", "c", "d", "e"}), RendezvousStatus::kUnavailable);
  EXPECT_EQ(registrations_->size(), 0U);
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
  for (int step = 0; step < Rounds(2000); ++step) {
    const int peer = 1 + static_cast<int>(rng.Below(4));
    const std::vector<std::string> names{std::string(1, static_cast<char>('a' + rng.Below(4))),
                                         std::string(1, static_cast<char>('a' + rng.Below(4)))};
    switch (rng.Below(20)) {
      case 0:
        ASSERT_TRUE(Restart().ok());
        break;
      case 1:
      case 2:
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
      case 8:
        (void)Register(peer, names, 1 + rng.Below(2), seconds(static_cast<int>(rng.Below(20))));
        break;
      case 9:
      case 10:
      case 11:
        (void)Unregister(peer, names);
        break;
      default:
        now_ += seconds(static_cast<int>(rng.Below(5)));
        registrations_->OnDeadline(now_);
        EXPECT_GT(registrations_->NextDeadline(), now_);
        Keep();
    }
    registrations_->CheckInvariants();
  }
}

std::shared_ptr<const std::string> EnvelopeOf(int peer) {
  return std::make_shared<const std::string>(SignedBy(KeyNo(peer)).envelope());
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

TEST(RendezvousMessagesTest, WhatComesOverAConnectionOfItsOwnKeyNeedsNoSignatureBesides) {
  const auto request = SampleRequest(KeyNo(1));
  const auto foreign = EncodeRequest(RendezvousVerb::kRegister, request, KeyNo(9).id(), KeyNo(2));
  const auto decode = [&](const std::string& text, RendezvousVerb as, const PeerId& server,
                          const PeerId& shown) {
    return DecodeRequest(text, as, server, ReadAnew, shown).error.status;
  };
  const auto verb = RendezvousVerb::kRegister;
  EXPECT_EQ(decode(foreign, verb, KeyNo(9).id(), KeyNo(1).id()), RendezvousStatus::kOk);
  // Neither the key that signed the request, nor another, makes it the record's.
  EXPECT_EQ(decode(foreign, verb, KeyNo(9).id(), KeyNo(2).id()), RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(decode(foreign, verb, KeyNo(9).id(), KeyNo(3).id()), RendezvousStatus::kNotAuthorized);
  // All else that it says must still fit, and the record be signed.
  EXPECT_EQ(decode(foreign, RendezvousVerb::kUnregister, KeyNo(9).id(), KeyNo(1).id()),
            RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(decode(foreign, verb, KeyNo(8).id(), KeyNo(1).id()), RendezvousStatus::kNotAuthorized);
  auto forged = foreign;
  const auto at = forged.find("\"payload\":\"") + 20;
  forged[at] = forged[at] == 'A' ? 'B' : 'A';
  EXPECT_EQ(decode(forged, verb, KeyNo(9).id(), KeyNo(1).id()), RendezvousStatus::kInvalidRecord);
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
  for (int i = 0; i < Rounds(10'000); ++i) {
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
  answer.found = {{EnvelopeOf(1), seconds(10)}, {EnvelopeOf(2), seconds(20)}};
  answer.cookie = "99-2";
  const auto found = DecodeAnswer(EncodeDiscovered("room/open", answer));
  ASSERT_TRUE(found.ok()) << found.error().text;
  ASSERT_EQ(found->records.size(), 2U);
  EXPECT_EQ(found->records[1].id(), KeyNo(2).id());
  EXPECT_EQ(found->cookie, "99-2");
}

TEST(RendezvousMessagesTest, LeavesOutRecordsThatDoNotVerify) {
  Registrations::Answer answer;
  answer.found = {{EnvelopeOf(1), seconds(10)}, {EnvelopeOf(2), seconds(20)}};
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
  answer.found = {{EnvelopeOf(1), seconds(10)}};
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
