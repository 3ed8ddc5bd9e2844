#include "index/room_token.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "index/room_messages.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/rooms.h"

namespace shoal::index {
namespace {

RoomToken Any(int room = 1) {
  return RoomToken::ForAnyHost(FactsOf(RoomNo(room)), DelegationOf(RoomNo(room), TokenNo(1)),
                               TokenNo(1));
}

TEST(RoomTokenTest, IsOneLineThatReadsBack) {
  const auto line = Any().Line();
  EXPECT_EQ(line.find_first_of(" \n\t"), std::string::npos);
  const auto read = RoomToken::Parse(line);
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->facts().name, "team-a");
  EXPECT_EQ(read->facts().key, RoomNo(1).public_key());
  EXPECT_EQ(read->facts().places.rendezvous,
            std::vector<std::string>{"https://index.example:7383"});
  EXPECT_EQ(read->facts().places.fixed, (std::vector<Endpoint>{{"10.0.0.1", 7381}}));
  EXPECT_EQ(read->Line(), line);
}

TEST(RoomTokenTest, MakesAMembershipOfAnyHostWithoutAskingAnybody) {
  const auto token = *RoomToken::Parse(Any().Line());
  for (int host = 1; host <= 2; ++host) {
    const auto made = token.MembershipFor(HostNo(host), TestWall());
    ASSERT_TRUE(made.ok()) << made.error().text;
    const auto read = Membership::Parse(made->text(), RoomNo(1).public_key());
    ASSERT_TRUE(read.ok());
    EXPECT_TRUE(read->Holds(HostNo(host), TestWall()).ok());
    EXPECT_EQ(read->token(), TokenNo(1).id());
  }
}

TEST(RoomTokenTest, IsOfNoUseOutsideOfItsTime) {
  const auto token = *RoomToken::Parse(Any().Line());
  const Duration over = kDay + kClockSkew + Duration(1);
  EXPECT_EQ(token.MembershipFor(HostNo(1), TestWall() + over).error().code, Code::kDenied);
  EXPECT_EQ(token.MembershipFor(HostNo(1), TestWall() - kClockSkew - Duration(1)).error().code,
            Code::kDenied);
  EXPECT_TRUE(token.MembershipFor(HostNo(1), TestWall() + kDay + kClockSkew).ok());
}

TEST(RoomTokenTest, AGrantIsForOnePeer) {
  const auto line = RoomToken::ForPeer(FactsOf(RoomNo(1)), RoomMade(RoomNo(1), HostNo(1))).Line();
  const auto grant = RoomToken::Parse(line);
  ASSERT_TRUE(grant.ok()) << grant.error().text;
  EXPECT_EQ(grant->MembershipFor(HostNo(1), TestWall())->peer(), HostNo(1));
  EXPECT_EQ(grant->MembershipFor(HostNo(2), TestWall()).error().code, Code::kDenied);
  EXPECT_EQ(grant->Line(), line);
}

// A line with one member of its document changed.
std::string With(const std::string& member, Json value) {
  const auto line = Any().Line();
  const auto bytes = FromBase64Url(std::string_view(line).substr(kRoomTokenPrefix.size()));
  Json json = *ParseJson(AsText(*bytes), kRoomTokenBytesMax);
  json[member] = std::move(value);
  return std::string(kRoomTokenPrefix) + ToBase64Url(AsBytes(json.serialize()));
}

TEST(RoomTokenTest, PartsOfTwoRoomsDoNotMakeAToken) {
  EXPECT_EQ(
      RoomToken::Parse(With("delegation", Json::string(DelegationOf(RoomNo(2), TokenNo(1)).text())))
          .error()
          .code,
      Code::kDenied);
  EXPECT_EQ(RoomToken::Parse(With("key", Json::string(ToBase64Url(RoomNo(2).public_key().bytes))))
                .error()
                .code,
            Code::kDenied);
  EXPECT_EQ(
      RoomToken::Parse(With("secret", Json::string(ToBase64Url(TokenNo(2).seed())))).error().code,
      Code::kDenied);
  EXPECT_EQ(
      RoomToken::Parse(With("membership", Json::string(RoomMade(RoomNo(2), HostNo(1)).text())))
          .error()
          .code,
      Code::kDenied);
}

TEST(RoomTokenTest, NamesAndPlacesKeepTheirLimits) {
  EXPECT_FALSE(RoomToken::Parse(With("name", Json::string("open"))).ok());
  EXPECT_FALSE(RoomToken::Parse(With("name", Json::string("Team A"))).ok());
  EXPECT_FALSE(RoomToken::Parse(With("name", Json::string("../up"))).ok());
  EXPECT_FALSE(RoomToken::Parse(With("name", Json::string(".."))).ok());
  EXPECT_TRUE(RoomToken::Parse(With("name", Json::string("b"))).ok());
  auto servers = Json::array();
  servers[0] = Json::string("http://plain:7383");
  EXPECT_FALSE(RoomToken::Parse(With("rendezvous", servers)).ok());
  for (std::size_t i = 0; i <= kRoomPlacesMax; ++i) servers[i] = Json::string("https://a:1");
  EXPECT_FALSE(RoomToken::Parse(With("rendezvous", servers)).ok());
  auto fixed = Json::array();
  fixed[0] = Json::string("no port");
  EXPECT_FALSE(RoomToken::Parse(With("static", fixed)).ok());
  EXPECT_EQ(RoomToken::Parse(std::string(kRoomTokenBytesMax + 1, 'a')).error().code,
            Code::kExhausted);
  EXPECT_EQ(RoomToken::Parse("hello").error().code, Code::kInvalid);
}

TEST(RoomTokenTest, NoMutationMakesAMemberOfAnotherRoom) {
  Rng rng(1);
  const auto line = Any().Line();
  for (int i = 0; i < 300; ++i) {
    const auto read = RoomToken::Parse(Mutate(line, rng));
    if (!read) continue;
    EXPECT_EQ(read->facts().key, RoomNo(1).public_key());
  }
}

TEST(JoinedRoomTest, KeepsTheRoomAndTheMembershipAndNoSecret) {
  const auto token = Any();
  const JoinedRoom joined{token.facts(), *token.MembershipFor(HostNo(1), TestWall())};
  const auto text = EncodeJoinedRoom(joined);
  EXPECT_EQ(text.find(ToBase64Url(TokenNo(1).seed())), std::string::npos);
  const auto read = DecodeJoinedRoom(text);
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->facts.name, "team-a");
  EXPECT_EQ(read->membership.text(), joined.membership.text());
  EXPECT_EQ(DecodeJoinedRoom("{}").error().code, Code::kCorrupt);
  EXPECT_EQ(DecodeJoinedRoom(text.substr(0, text.size() / 2)).error().code, Code::kCorrupt);
}

TEST(MeetingTest, ReadsBackAndKeepsItsLimits) {
  const Meeting meeting{RoomMade(RoomNo(1), HostNo(1)).text(),
                        std::string(64, 'a'),
                        {SignRevocation(RoomNo(1), HostNo(2), 20)}};
  const auto text = EncodeMeeting(meeting);
  const auto read = DecodeMeeting(text, kMeetingAnswerBytesMax);
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->membership, meeting.membership);
  EXPECT_EQ(read->hash, meeting.hash);
  EXPECT_EQ(read->revocations, meeting.revocations);
  EXPECT_EQ(DecodeMeeting(text, text.size() - 1).error().code, Code::kExhausted);
  for (const std::string wrong : {"", "[]", "{}", R"({"membership":1,"hash":"","revocations":[]})",
                                  R"({"membership":"","hash":"","revocations":[1]})"}) {
    EXPECT_FALSE(DecodeMeeting(wrong, kMeetingAnswerBytesMax).ok()) << wrong;
  }
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    const auto mutated = DecodeMeeting(Mutate(text, rng), kMeetingAnswerBytesMax);
    if (!mutated) continue;
    EXPECT_LE(mutated->membership.size(), kMembershipBytesMax);
  }
}

TEST(MeetingTest, TheLongestQuestionAndAnswerFit) {
  const Meeting longest{TokenMade(RoomNo(1), TokenNo(1), HostNo(1)).text(), std::string(64, 'a'),
                        std::vector(kRevocationsPushed,
                                    SignRevocation(RoomNo(1), HostNo(2), std::uint64_t{1} << 53))};
  EXPECT_LE(EncodeMeeting(longest).size(), kMeetingQuestionBytesMax);
  const Meeting all{longest.membership, longest.hash,
                    std::vector(kRevocationsMax, longest.revocations.front())};
  EXPECT_LE(EncodeMeeting(all).size(), kMeetingAnswerBytesMax);
}

}  // namespace
}  // namespace shoal::index
