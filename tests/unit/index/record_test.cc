#include "index/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "index/envelope.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/records.h"

namespace shoal::index {
namespace {

using testing::HasSubstr;

// An envelope over any payload at all, rightly signed.
std::string EnvelopeOf(const std::string& payload, const SigningKey& key) {
  return R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","key":")" +
         ToBase64Url(key.public_key().bytes) + R"(","signature":")" +
         ToBase64Url(SignIn("shoal-record-v1\n", payload, key)) + R"("})";
}

Code CodeOf(const std::string& payload) {
  const auto parsed = SignedRecord::Parse(EnvelopeOf(payload, KeyNo(1)));
  return parsed ? Code::kCancelled : parsed.error().code;
}

constexpr auto kRecordAccepted = Code::kCancelled;

TEST(SigningKeyTest, MatchesTheVectorOfRfc8032) {
  const auto bytes = FromHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  KeySeed seed{};
  std::copy(bytes->begin(), bytes->end(), seed.begin());
  const auto key = SigningKey::FromSeed(seed);
  EXPECT_EQ(ToHex(key.public_key().bytes),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_EQ(
      ToHex(key.Sign({})),
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e397"
      "01cf9b46bd25bf5f0595bbe24655141438e7a100b");
  EXPECT_TRUE(Verify(key.public_key(), {}, key.Sign({})));
  EXPECT_EQ(key.id(), PeerIdOf(key.public_key()));
}

TEST(SigningKeyTest, RefusesAnotherMessageKeyOrSignature) {
  const auto key = KeyNo(1);
  const auto signature = key.Sign(AsBytes("yes"));
  EXPECT_TRUE(Verify(key.public_key(), AsBytes("yes"), signature));
  EXPECT_FALSE(Verify(key.public_key(), AsBytes("no"), signature));
  EXPECT_FALSE(Verify(KeyNo(2).public_key(), AsBytes("yes"), signature));
  auto other = signature;
  other[63] ^= std::byte{1};
  EXPECT_FALSE(Verify(key.public_key(), AsBytes("yes"), other));
  EXPECT_FALSE(Verify(PublicKey{}, AsBytes("yes"), signature));
}

TEST(EndpointTest, ReadsAndWritesTheSameForm) {
  for (const char* text : {"10.0.0.1:7381", "[fd00::1]:7381", "host.example:1", "a:65535",
                           "[::]:7381", "[::ffff:10.0.0.1]:80", "my_host-1:80"}) {
    const auto endpoint = ParseEndpoint(text);
    ASSERT_TRUE(endpoint.ok()) << text;
    EXPECT_EQ(ToString(*endpoint), text);
  }
}

TEST(EndpointTest, RefusesWhatIsNone) {
  // A relay stands in a record's relays, and nowhere else.
  EXPECT_FALSE(ParseEndpoint(KeyNo(1).id().Hex() + "@10.0.0.1:7381").ok());
  for (const char* text : {"",
                           ":",
                           "host",
                           "host:",
                           ":80",
                           "host:0",
                           "host:65536",
                           "host:080",
                           "host:80x",
                           "host:-1",
                           "[fd00::1]",
                           "[fd00::1:80",
                           "fd00::1:80",
                           "[host]:80",
                           "a b:80",
                           "-a:80",
                           "a/b:80",
                           "[]:80",
                           "host:99999999999999999999",
                           "[fe80::1%eth0]:80"}) {
    EXPECT_FALSE(ParseEndpoint(text).ok()) << text;
  }
  EXPECT_FALSE(ParseEndpoint(std::string(254, 'a') + ":80").ok());
}

TEST(RecordTest, SurvivesTheEnvelope) {
  const auto key = KeyNo(1);
  auto record = RecordOf(key, 1'790'000'000'000'001);
  record.name = R"(quotes " and \ slashes)";
  record.expires = FromUnixMs(1'790'000'300'000) + Duration(700);
  const auto made = SignedRecord::Sign(record, key);
  const auto parsed = SignedRecord::Parse(made.envelope());
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  EXPECT_EQ(parsed->id(), key.id());
  EXPECT_EQ(parsed->record().name, record.name);
  EXPECT_EQ(parsed->record().endpoints, record.endpoints);
  EXPECT_EQ(parsed->record().rooms, record.rooms);
  EXPECT_EQ(parsed->record().sequence, record.sequence);
  EXPECT_EQ(parsed->record().expires, FromUnixMs(1'790'000'300'000));
  EXPECT_EQ(made.record().expires, parsed->record().expires);
  EXPECT_EQ(parsed->envelope(), made.envelope());
}

TEST(RecordTest, NamesRelaysAndWhereTheyAre) {
  const auto key = KeyNo(1);
  auto record = RecordOf(key, 1);
  const std::string bare = SignedRecord::Sign(record, key).envelope();
  for (int i = 2; i < 6; ++i) {
    record.relays.push_back({i % 2 == 0 ? "10.0.0.2" : "fd00::2", 7381, KeyNo(i).id()});
  }
  ASSERT_TRUE(Valid(record).ok());
  const auto parsed = SignedRecord::Parse(SignedRecord::Sign(record, key).envelope());
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  EXPECT_EQ(parsed->record().relays, record.relays);
  EXPECT_EQ(ToString(record.relays[0]), KeyNo(2).id().Hex() + "@10.0.0.2:7381");
  EXPECT_EQ(ToString(record.relays[1]), KeyNo(3).id().Hex() + "@[fd00::2]:7381");
  record.relays.push_back({"10.0.0.3", 7381, KeyNo(6).id()});
  EXPECT_FALSE(Valid(record).ok()) << "five";
  record.relays = {record.relays[0], record.relays[0]};
  EXPECT_FALSE(Valid(record).ok()) << "one twice";
  record.relays = {{"10.0.0.3", 7381}};
  EXPECT_FALSE(Valid(record).ok()) << "which relay?";
  record.relays.clear();
  EXPECT_EQ(SignedRecord::Sign(record, key).envelope(), bare) << "none leaves no trace";
}

TEST(RecordTest, IsTheSameEnvelopeHoweverItWasWritten) {
  const auto made = SignedBy(KeyNo(1));
  auto spaced = made.envelope();
  spaced.insert(1, "\n \"extra\" : [1, 2] , ");
  const auto parsed = SignedRecord::Parse(spaced);
  ASSERT_TRUE(parsed.ok()) << parsed.error().text;
  EXPECT_EQ(parsed->envelope(), made.envelope());
}

TEST(RecordTest, RefusesAForgery) {
  const auto key = KeyNo(1);
  const auto made = SignedBy(key);
  auto envelope = made.envelope();
  const auto mine = ToBase64Url(key.public_key().bytes);
  envelope.replace(envelope.find(mine), mine.size(), ToBase64Url(KeyNo(2).public_key().bytes));
  const auto parsed = SignedRecord::Parse(envelope);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code, Code::kDenied);
}

TEST(RecordTest, RefusesASignatureMadeForSomethingElse) {
  const auto key = KeyNo(1);
  const std::string payload =
      R"({"version":1,"name":"","endpoints":[],"rooms":[],"sequence":1,"expires":1})";
  const std::string envelope = R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","key":")" +
                               ToBase64Url(key.public_key().bytes) + R"(","signature":")" +
                               ToBase64Url(SignIn("shoal-beacon-v1\n", payload, key)) + R"("})";
  const auto parsed = SignedRecord::Parse(envelope);
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code, Code::kDenied);
}

TEST(RecordTest, RefusesAnOversizedEnvelopeBeforeParsingIt) {
  const auto parsed = SignedRecord::Parse(std::string(kRecordBytesMax + 1, '{'));
  ASSERT_FALSE(parsed.ok());
  EXPECT_EQ(parsed.error().code, Code::kExhausted);
}

TEST(RecordTest, HoldsEveryMemberToItsLimit) {
  const auto payload = [](const std::string& member, const std::string& value) {
    std::string out;
    for (const auto& [name, usual] :
         std::vector<std::pair<std::string, std::string>>{{"version", "1"},
                                                          {"name", "\"a\""},
                                                          {"endpoints", "[]"},
                                                          {"relays", "[]"},
                                                          {"rooms", "[]"},
                                                          {"sequence", "1"},
                                                          {"expires", "1790000300000"}}) {
      if (name == member && value.empty()) continue;
      out += (out.empty() ? "{\"" : ",\"") + name + "\":" + (name == member ? value : usual);
    }
    return out + "}";
  };
  EXPECT_EQ(CodeOf(payload("", "")), kRecordAccepted);
  EXPECT_EQ(CodeOf(payload("name", "\"" + std::string(64, 'n') + "\"")), kRecordAccepted);
  EXPECT_EQ(CodeOf(payload("sequence", "9007199254740992")), kRecordAccepted);
  EXPECT_EQ(CodeOf(payload("rooms", "[\"a-z.0_9\"]")), kRecordAccepted);

  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"relays", "7"},
      {"relays", "[\"10.0.0.1:7381\"]"},
      {"relays", "[\"ab@10.0.0.1:7381\"]"},
      {"relays", "[\"" + std::string(64, 'a') + "@10.0.0.1\"]"},
      {"version", "2"},
      {"version", "\"1\""},
      {"version", "1.5"},
      {"version", ""},
      {"name", "\"" + std::string(65, 'n') + "\""},
      {"name", "\"\\u0007\""},
      {"name", "\"\xc3\xa9\""},
      {"name", "7"},
      {"name", ""},
      {"endpoints", "{}"},
      {"endpoints", "[1]"},
      {"endpoints", "[\"nowhere\"]"},
      {"endpoints", "[\"a:1\",\"a:1\"]"},
      {"endpoints", "[null]"},
      {"endpoints", ""},
      {"endpoints",
       R"(["a:1","a:2","a:3","a:4","a:5","a:6","a:7","a:8","a:9","a:10","a:11","a:12","a:13","a:14","a:15","a:16","a:17"])"},
      {"rooms", "[\"\"]"},
      {"rooms", "[\"Open\"]"},
      {"rooms", "[\"a/b\"]"},
      {"rooms", "\"open\""},
      {"rooms", "[\"" + std::string(65, 'r') + "\"]"},
      {"rooms", ""},
      {"sequence", "0"},
      {"sequence", "-1"},
      {"sequence", "9007199254740993"},
      {"sequence", "1e3"},
      {"sequence", "99999999999999999999"},
      {"sequence", ""},
      {"expires", "-1"},
      {"expires", "9007199254740992"},
      {"expires", "true"},
      {"expires", ""}};
  for (const auto& [member, value] : wrong) {
    EXPECT_EQ(CodeOf(payload(member, value)), Code::kInvalid) << member << " " << value;
  }
  for (const char* text : {"", "[]", "1", "null", "{", "\"\""}) {
    EXPECT_EQ(CodeOf(text), Code::kInvalid) << text;
  }
}

TEST(RecordTest, RefusesMalformedEnvelopes) {
  const auto good = SignedBy(KeyNo(1)).envelope();
  const auto without = [&](const std::string& member) {
    auto text = good;
    text.replace(text.find(member), 1, "x");
    return text;
  };
  for (const auto& text :
       {std::string(), std::string("{}"), std::string("[]"), std::string("null"),
        good.substr(0, good.size() - 1), good + "x", without("payload"), without("key"),
        without("signature"), std::string(R"({"payload":"","key":"","signature":""})"),
        std::string(R"({"payload":1,"key":2,"signature":3})")}) {
    const auto parsed = SignedRecord::Parse(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(parsed.error().text, HasSubstr("record"));
  }
}

TEST(RecordTest, NestedJsonDoesNotExhaustTheStack) {
  EXPECT_FALSE(SignedRecord::Parse(std::string(kRecordBytesMax, '[')).ok());
  std::string deep;
  for (int i = 0; i < 600; ++i) deep += "{\"a\":";
  EXPECT_FALSE(SignedRecord::Parse(deep).ok());
}

TEST(RecordTest, NeverTakesAMutatedEnvelopeForSomethingElse) {
  const auto made = SignedBy(KeyNo(1));
  Rng rng(7);
  int taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    const auto parsed = SignedRecord::Parse(Mutate(made.envelope(), rng));
    if (!parsed) continue;
    ++taken;  // the damage hit nothing that counts
    ASSERT_EQ(parsed->envelope(), made.envelope());
  }
  EXPECT_LT(taken, 4000);
}

TEST(RecordTest, NeverCrashesOnAMutatedPayload) {
  const auto key = KeyNo(1);
  const std::string payload =
      R"({"version":1,"name":"host-a","endpoints":["10.0.0.1:7381",)"
      R"("[fd00::1]:7381"],"rooms":["open"],"sequence":17,"expires":1790000300000})";
  Rng rng(8);
  for (int i = 0; i < 2000; ++i) {
    const auto parsed = SignedRecord::Parse(EnvelopeOf(Mutate(payload, rng), key));
    if (parsed) {
      EXPECT_TRUE(Valid(parsed->record()).ok());
    }
  }
}

TEST(RecordTest, SaysWhatIsWrongWithAConfiguredRecord) {
  const auto key = KeyNo(1);
  EXPECT_TRUE(Valid(RecordOf(key)).ok());
  auto record = RecordOf(key);
  record.name = std::string(65, 'n');
  EXPECT_THAT(Valid(record).error().text, HasSubstr("name"));
  record = RecordOf(key);
  record.endpoints.push_back(record.endpoints[0]);
  EXPECT_THAT(Valid(record).error().text, HasSubstr("endpoint"));
  record = RecordOf(key);
  record.endpoints = {{"not a host", 80}};
  EXPECT_FALSE(Valid(record).ok());
  record = RecordOf(key);
  record.endpoints.clear();
  for (std::uint16_t i = 1; i <= kEndpointsMax; ++i) {
    record.endpoints.push_back({std::string(200, 'h'), i});
  }
  EXPECT_THAT(Valid(record).error().text, HasSubstr("fewer"));
  record = RecordOf(key);
  record.rooms = {"Open"};
  EXPECT_THAT(Valid(record).error().text, HasSubstr("room"));
}

TEST(RecordTest, TheLargestValidRecordFitsIntoAnEnvelope) {
  const auto key = KeyNo(1);
  auto record = RecordOf(key);
  record.name = std::string(64, '"');
  record.endpoints.clear();
  for (std::uint16_t i = 1; i <= kEndpointsMax; ++i) {
    record.endpoints.push_back({"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", i});
  }
  record.rooms.clear();
  while (Valid(record).ok() && record.rooms.size() < kRoomsMax) {
    record.rooms.push_back(std::string(60, 'r'));
  }
  if (!Valid(record).ok()) record.rooms.pop_back();
  const auto made = SignedRecord::Sign(record, key);
  EXPECT_LE(made.envelope().size(), kRecordBytesMax);
  EXPECT_TRUE(SignedRecord::Parse(made.envelope()).ok());
}

}  // namespace
}  // namespace shoal::index
