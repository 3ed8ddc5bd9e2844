#include "index/membership.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "index/envelope.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/rooms.h"

namespace shoal::index {
namespace {

constexpr std::string_view kMembershipContext = "shoal-membership-v1\n";
constexpr Duration kMinute = std::chrono::minutes(1);

Code CodeOf(const Result<Membership>& result) {
  return result ? Code::kCancelled : result.error().code;
}
constexpr auto kAccepted = Code::kCancelled;

// What a membership's payload says, for forging others.
std::string PayloadOf(const SigningKey& room, const PeerId& peer, WallTime from, WallTime until) {
  return R"({"version":1,"room":")" + RoomIdOf(room.public_key()).Hex() +
         R"(","sequence":10,"from":)" + std::to_string(ToUnixMs(from)) + R"(,"until":)" +
         std::to_string(ToUnixMs(until)) + R"(,"peer":")" + peer.Hex() + R"("})";
}

std::string Signed(const std::string& payload, const SigningKey& signer,
                   const std::string& delegation = "") {
  return R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","signature":")" +
         ToBase64Url(SignIn(kMembershipContext, payload, signer)) + '"' +
         (delegation.empty() ? "" : R"(,"delegation":)" + delegation) + "}";
}

TEST(RoomKeyTest, TheIdIsTheHashOfTheKeyAndReadsBack) {
  const auto id = RoomIdOf(RoomNo(1).public_key());
  EXPECT_EQ(id.Hex(), RoomNo(1).id().Hex());
  EXPECT_EQ(*ParseRoomId(id.Hex()), id);
  EXPECT_TRUE(IsRoomName(id.Hex()));
  EXPECT_FALSE(ParseRoomId("open").ok());
  EXPECT_FALSE(ParseRoomId(id.Hex().substr(1)).ok());
}

TEST(RoomKeyTest, ABlobLooksDifferentInEachRoom) {
  const Digest blob = *ParseDigest("sha256:" + std::string(64, '1'));
  const Digest other = *ParseDigest("sha256:" + std::string(64, '2'));
  const auto one = BlindDigest(RoomNo(1).public_key(), blob);
  EXPECT_NE(one, blob);
  EXPECT_NE(one, BlindDigest(RoomNo(2).public_key(), blob));
  EXPECT_NE(one, BlindDigest(RoomNo(1).public_key(), other));
  EXPECT_EQ(one, BlindDigest(RoomNo(1).public_key(), blob));
}

TEST(MembershipTest, ReadsBackWhatTheRoomMade) {
  const auto made = RoomMade(RoomNo(1), HostNo(1));
  const auto read = Membership::Parse(made.text(), RoomNo(1).public_key());
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->peer(), HostNo(1));
  EXPECT_EQ(read->room(), RoomIdOf(RoomNo(1).public_key()));
  EXPECT_EQ(read->sequence(), 10U);
  EXPECT_EQ(read->from(), TestWall());
  EXPECT_EQ(read->until(), TestWall() + kDay);
  EXPECT_FALSE(read->token());
  EXPECT_EQ(read->text(), made.text());
}

TEST(MembershipTest, ReadsBackWhatATokenMade) {
  const auto made = TokenMade(RoomNo(1), TokenNo(1), HostNo(1), 12);
  const auto read = Membership::Parse(made.text(), RoomNo(1).public_key());
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->peer(), HostNo(1));
  EXPECT_EQ(read->sequence(), 12U);
  EXPECT_EQ(read->token(), TokenNo(1).id());
  EXPECT_EQ(read->text(), made.text());
  EXPECT_LE(made.text().size(), kMembershipBytesMax);
}

TEST(MembershipTest, TheKeyOfTheRoomIsNotInIt) {
  const auto key = ToBase64Url(RoomNo(1).public_key().bytes);
  const auto by_room = RoomMade(RoomNo(1), HostNo(1)).text();
  const auto by_token = TokenMade(RoomNo(1), TokenNo(1), HostNo(1)).text();
  for (const auto& text : {by_room, by_token}) {
    EXPECT_EQ(text.find(key), std::string::npos);
    const auto json = ParseJson(text, kMembershipBytesMax);
    EXPECT_EQ(GetBase64(*json, "payload", 512)->find(key), std::string::npos);
  }
}

TEST(MembershipTest, AnotherRoomIsRefused) {
  for (const auto& made :
       {RoomMade(RoomNo(1), HostNo(1)), TokenMade(RoomNo(1), TokenNo(1), HostNo(1))}) {
    EXPECT_EQ(CodeOf(Membership::Parse(made.text(), RoomNo(2).public_key())), Code::kDenied);
  }
  // Rightly signed by this room, but it speaks of another one.
  const auto payload = PayloadOf(RoomNo(2), HostNo(1), TestWall(), TestWall() + kDay);
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, RoomNo(1)), RoomNo(1).public_key())),
            Code::kDenied);
}

TEST(MembershipTest, ForgeriesAreRefused) {
  const auto payload = PayloadOf(RoomNo(1), HostNo(1), TestWall(), TestWall() + kDay);
  const auto room = RoomNo(1).public_key();
  const auto delegation = DelegationOf(RoomNo(1), TokenNo(1)).text();
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, RoomNo(1)), room)), kAccepted);
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, TokenNo(1), delegation), room)), kAccepted);
  // By the host itself, by another room, by a token without its delegation.
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, KeyNo(1)), room)), Code::kDenied);
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, RoomNo(2)), room)), Code::kDenied);
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, TokenNo(1)), room)), Code::kDenied);
  // A delegation borrowed from a token whose key one has not.
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, KeyNo(1), delegation), room)), Code::kDenied);
  // The room's own signature does not make up for a delegation that is another's.
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(payload, RoomNo(1), delegation), room)), Code::kDenied);
}

TEST(MembershipTest, AChainOfTwoDelegationsIsRefused) {
  const auto room = RoomNo(1).public_key();
  // Token 1 delegates to token 2, as if it were the room.
  const auto payload = R"({"version":1,"room":")" + RoomIdOf(room).Hex() +
                       R"(","sequence":10,"from":)" + std::to_string(ToUnixMs(TestWall())) +
                       R"(,"until":)" + std::to_string(ToUnixMs(TestWall() + kDay)) +
                       R"(,"key":")" + ToBase64Url(TokenNo(2).public_key().bytes) + R"("})";
  const auto second = R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","signature":")" +
                      ToBase64Url(SignIn("shoal-delegation-v1\n", payload, TokenNo(1))) +
                      R"(","delegation":)" + DelegationOf(RoomNo(1), TokenNo(1)).text() + "}";
  const auto inner = PayloadOf(RoomNo(1), HostNo(1), TestWall(), TestWall() + kDay);
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(inner, TokenNo(2), second), room)), Code::kDenied);
}

TEST(MembershipTest, ADelegationIsNoMembershipAndTheOtherWayRound) {
  const auto room = RoomNo(1).public_key();
  EXPECT_FALSE(Membership::Parse(DelegationOf(RoomNo(1), TokenNo(1)).text(), room).ok());
  EXPECT_FALSE(SignedDelegation::Parse(RoomMade(RoomNo(1), HostNo(1)).text(), room).ok());
}

TEST(MembershipTest, ATokenCannotMakeOneThatOutlivesIt) {
  const auto room = RoomNo(1).public_key();
  const auto delegation = DelegationOf(RoomNo(1), TokenNo(1)).text();
  const auto at = [&](WallTime from, WallTime until) {
    return CodeOf(Membership::Parse(
        Signed(PayloadOf(RoomNo(1), HostNo(1), from, until), TokenNo(1), delegation), room));
  };
  EXPECT_EQ(at(TestWall() + kMinute, TestWall() + kDay - kMinute), kAccepted);
  EXPECT_EQ(at(TestWall(), TestWall() + kDay + std::chrono::milliseconds(1)), Code::kDenied);
  EXPECT_EQ(at(TestWall() - std::chrono::milliseconds(1), TestWall() + kDay), Code::kDenied);
  EXPECT_EQ(at(TestWall() + kDay, TestWall()), Code::kInvalid);
}

TEST(MembershipTest, HoldsForItsPeerAloneAndItsTimeGiveOrTakeTenMinutes) {
  for (const auto& made :
       {RoomMade(RoomNo(1), HostNo(1)), TokenMade(RoomNo(1), TokenNo(1), HostNo(1))}) {
    EXPECT_TRUE(made.Holds(HostNo(1), TestWall()).ok());
    EXPECT_EQ(made.Holds(HostNo(2), TestWall()).error().code, Code::kDenied);
    EXPECT_TRUE(made.Holds(HostNo(1), TestWall() - 10 * kMinute).ok());
    EXPECT_FALSE(made.Holds(HostNo(1), TestWall() - 10 * kMinute - Duration(1)).ok());
    EXPECT_TRUE(made.Holds(HostNo(1), TestWall() + kDay + 10 * kMinute).ok());
    EXPECT_FALSE(made.Holds(HostNo(1), TestWall() + kDay + 10 * kMinute + Duration(1)).ok());
  }
}

TEST(MembershipTest, WrongFormsAreRefused) {
  const auto room = RoomNo(1).public_key();
  for (const std::string text : {"", "{}", "[]", "1", "null", R"({"payload":""})",
                                 R"({"payload":"","signature":"","delegation":1})"}) {
    EXPECT_FALSE(Membership::Parse(text, room).ok()) << text;
    EXPECT_FALSE(SignedDelegation::Parse(text, room).ok()) << text;
  }
  EXPECT_EQ(CodeOf(Membership::Parse(std::string(kMembershipBytesMax + 1, ' '), room)),
            Code::kExhausted);
  for (const std::string payload :
       {"{}", "[]", R"({"version":2})",
        R"({"version":1,"room":"open","sequence":1,"from":0,"until":0,"peer":""})"}) {
    EXPECT_FALSE(Membership::Parse(Signed(payload, RoomNo(1)), room).ok()) << payload;
  }
  auto zero = PayloadOf(RoomNo(1), HostNo(1), TestWall(), TestWall());
  zero.replace(zero.find("\"sequence\":10"), 13, "\"sequence\":0");
  EXPECT_EQ(CodeOf(Membership::Parse(Signed(zero, RoomNo(1)), room)), Code::kInvalid);
}

TEST(MembershipTest, NoMutationSaysAnythingElse) {
  Rng rng(1);
  const auto room = RoomNo(1).public_key();
  for (const auto& made :
       {RoomMade(RoomNo(1), HostNo(1)), TokenMade(RoomNo(1), TokenNo(1), HostNo(1))}) {
    for (int i = 0; i < 1000; ++i) {
      const auto read = Membership::Parse(Mutate(made.text(), rng), room);
      // Damage outside of what is signed changes nothing of what it says.
      if (!read) continue;
      EXPECT_EQ(read->peer(), made.peer());
      EXPECT_EQ(read->until(), made.until());
      EXPECT_EQ(read->sequence(), made.sequence());
      EXPECT_EQ(read->token(), made.token());
    }
  }
}

}  // namespace
}  // namespace shoal::index
