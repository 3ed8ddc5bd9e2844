#include "index/members.h"

#include <gtest/gtest.h>

#include "tests/unit/index/rooms.h"

namespace shoal::index {
namespace {

constexpr int kSelf = 1;

JoinedRoom JoinedOf(int room, const std::string& name = "team-a", int host = kSelf) {
  return {FactsOf(RoomNo(room), name), TokenMade(RoomNo(room), TokenNo(room), HostNo(host))};
}
RoomId IdOf(int room) { return RoomIdOf(RoomNo(room).public_key()); }

class MembersTest : public testing::Test {
 protected:
  ~MembersTest() override { members_.CheckInvariants(); }

  Status Show(int room, int host, const Membership& membership) {
    return members_.OnShown(now_, IdOf(room), HostNo(host), membership.text());
  }
  Status Show(int room, int host) {
    return Show(room, host, TokenMade(RoomNo(room), TokenNo(room), HostNo(host)));
  }
  RoomMask RoomsOf(int host) const { return members_.RoomsOf(now_, HostNo(host)); }

  WallTime now_ = TestWall();
  Members members_{{}, HostNo(kSelf), false};
};

TEST_F(MembersTest, WithoutARoomNobodyIsInOne) {
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  EXPECT_EQ(members_.Ours(now_), kNoRooms);
  EXPECT_TRUE(members_.RecordRooms(now_).empty());
  EXPECT_EQ(Show(1, 2).error().code, Code::kDenied);
}

TEST_F(MembersTest, TheOpenRoomHasEverybody) {
  const Members open({}, HostNo(kSelf), true);
  EXPECT_EQ(open.RoomsOf(now_, HostNo(2)), kOpenRoomBit);
  EXPECT_EQ(open.RecordRooms(now_), std::vector<std::string>{"open"});
}

TEST_F(MembersTest, WhoShowsAMembershipIsIn) {
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  ASSERT_TRUE(Show(1, 2).ok());
  EXPECT_EQ(RoomsOf(2), members_.BitOf("team-a"));
  EXPECT_EQ(RoomsOf(3), kNoRooms);
  EXPECT_EQ(members_.RecordRooms(now_), std::vector<std::string>{IdOf(1).Hex()});
  EXPECT_EQ(members_.MemberCount(now_, IdOf(1)), 1U);
}

TEST_F(MembersTest, SomebodyElsesMembershipLetsNobodyIn) {
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  EXPECT_EQ(Show(1, 3, TokenMade(RoomNo(1), TokenNo(1), HostNo(2))).error().code, Code::kDenied);
  EXPECT_EQ(Show(1, 2, TokenMade(RoomNo(2), TokenNo(2), HostNo(2))).error().code, Code::kDenied);
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  EXPECT_EQ(RoomsOf(3), kNoRooms);
}

TEST_F(MembersTest, TwoRoomsAreTwoBits) {
  ASSERT_TRUE(members_.Join(JoinedOf(1, "team-a")).ok());
  ASSERT_TRUE(members_.Join(JoinedOf(2, "team-b")).ok());
  ASSERT_TRUE(Show(1, 2).ok());
  ASSERT_TRUE(Show(2, 3).ok());
  EXPECT_EQ(RoomsOf(2), members_.BitOf("team-a"));
  EXPECT_EQ(RoomsOf(3), members_.BitOf(IdOf(2).Hex()));
  EXPECT_EQ(RoomsOf(2) & RoomsOf(3), kNoRooms);
  ASSERT_TRUE(Show(2, 2).ok());
  EXPECT_EQ(RoomsOf(2), members_.Ours(now_));
  EXPECT_EQ(members_.NameOf(RoomsOf(3)), "team-b");
  EXPECT_EQ(members_.BitOf("team-c"), kNoRooms);
}

TEST_F(MembersTest, ANameThatTwoRoomsHaveNamesNone) {
  ASSERT_TRUE(members_.Join(JoinedOf(1, "team")).ok());
  ASSERT_TRUE(members_.Join(JoinedOf(2, "team")).ok());
  EXPECT_EQ(members_.BitOf("team"), kNoRooms);
  EXPECT_NE(members_.BitOf(IdOf(1).Hex()), kNoRooms);
}

TEST_F(MembersTest, APeersTimeEnds) {
  ASSERT_TRUE(
      members_.Join({FactsOf(RoomNo(1)), RoomMade(RoomNo(1), HostNo(kSelf), 10, 9 * kDay)}).ok());
  ASSERT_TRUE(Show(1, 2).ok());
  now_ += kDay + kClockSkew;
  EXPECT_NE(RoomsOf(2), kNoRooms);
  now_ += Duration(1);
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  EXPECT_EQ(members_.MemberCount(now_, IdOf(1)), 0U);
  // A longer one takes its place.
  ASSERT_TRUE(Show(1, 2, RoomMade(RoomNo(1), HostNo(2), 10, 5 * kDay)).ok());
  EXPECT_NE(RoomsOf(2), kNoRooms);
}

TEST_F(MembersTest, WhenOurOwnTimeEndsNobodyIsIn) {
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  ASSERT_TRUE(Show(1, 2, RoomMade(RoomNo(1), HostNo(2), 10, 9 * kDay)).ok());
  now_ += kDay + kClockSkew + Duration(1);
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  EXPECT_EQ(members_.Ours(now_), kNoRooms);
  EXPECT_EQ(members_.OursIn(now_, IdOf(1)), nullptr);
  EXPECT_TRUE(members_.RecordRooms(now_).empty());
  EXPECT_EQ(Show(1, 3).error().code, Code::kDenied);
  // Joined anew, all is as before.
  ASSERT_TRUE(
      members_.Join({FactsOf(RoomNo(1)), RoomMade(RoomNo(1), HostNo(kSelf), 11, 9 * kDay)}).ok());
  EXPECT_NE(RoomsOf(2), kNoRooms);
  EXPECT_EQ(members_.rooms().size(), 1U);
}

TEST_F(MembersTest, ARevocationCutsAtOnceAndHolds) {
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  ASSERT_TRUE(Show(1, 2).ok());
  ASSERT_TRUE(Show(1, 3).ok());
  ASSERT_TRUE(*members_.OnRevocation(IdOf(1), SignRevocation(RoomNo(1), HostNo(2), 20)));
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  EXPECT_NE(RoomsOf(3), kNoRooms);
  EXPECT_EQ(Show(1, 2).error().code, Code::kDenied);
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  ASSERT_TRUE(Show(1, 2, RoomMade(RoomNo(1), HostNo(2), 21)).ok());
  EXPECT_NE(RoomsOf(2), kNoRooms);
}

TEST_F(MembersTest, ARevokedTokenCutsAllThatCameByIt) {
  ASSERT_TRUE(members_.Join({FactsOf(RoomNo(1)), RoomMade(RoomNo(1), HostNo(kSelf))}).ok());
  ASSERT_TRUE(Show(1, 2).ok());
  ASSERT_TRUE(Show(1, 3).ok());
  ASSERT_TRUE(*members_.OnRevocation(IdOf(1), SignRevocation(RoomNo(1), TokenNo(1).id(), 20)));
  EXPECT_EQ(RoomsOf(2) | RoomsOf(3), kNoRooms);
}

TEST_F(MembersTest, WhoIsRevokedItselfSharesNothing) {
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  ASSERT_TRUE(Show(1, 2).ok());
  ASSERT_TRUE(*members_.OnRevocation(IdOf(1), SignRevocation(RoomNo(1), HostNo(kSelf), 20)));
  EXPECT_EQ(RoomsOf(2), kNoRooms);
  EXPECT_EQ(members_.Ours(now_), kNoRooms);
}

TEST_F(MembersTest, ARoomThatIsNotOursTakesNoRevocations) {
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  EXPECT_EQ(members_.OnRevocation(IdOf(2), SignRevocation(RoomNo(2), HostNo(2), 20)).error().code,
            Code::kNotFound);
  EXPECT_EQ(members_.OnRevocation(IdOf(1), SignRevocation(RoomNo(2), HostNo(2), 20)).error().code,
            Code::kDenied);
}

TEST_F(MembersTest, ARoomThatWasLeftIsAsOneThatWasNeverJoined) {
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  ASSERT_TRUE(members_.Join(JoinedOf(2, "team-b")).ok());
  ASSERT_TRUE(Show(1, 2).ok());
  ASSERT_TRUE(Show(2, 2).ok());
  const RoomMask before = RoomsOf(2);
  ASSERT_TRUE(members_.OnRevocation(IdOf(1), SignRevocation(RoomNo(1), HostNo(3), 20)).value());
  EXPECT_TRUE(members_.Leave(IdOf(1)));
  EXPECT_FALSE(members_.Leave(IdOf(1)));
  members_.CheckInvariants();
  const RoomMask bit = members_.BitOf("team-b");
  EXPECT_EQ(RoomsOf(2), bit);
  EXPECT_EQ(members_.Ours(now_), bit);
  EXPECT_EQ(members_.RecordRooms(now_), std::vector{IdOf(2).Hex()});
  EXPECT_EQ(members_.BitOf("team-a"), kNoRooms);
  EXPECT_EQ(members_.BitOf(IdOf(1).Hex()), kNoRooms);
  EXPECT_EQ(members_.OursIn(now_, IdOf(1)), nullptr);
  EXPECT_EQ(Show(1, 4).error().code, Code::kDenied);
  EXPECT_EQ(members_.OnRevocation(IdOf(1), SignRevocation(RoomNo(1), HostNo(5), 20)).error().code,
            Code::kNotFound);
  // Joined again it has its bit, nobody in it, and whoever was taken out stays out.
  ASSERT_TRUE(members_.Join(JoinedOf(1)).ok());
  EXPECT_EQ(RoomsOf(2), bit);
  ASSERT_TRUE(Show(1, 2).ok());
  EXPECT_EQ(RoomsOf(2), before);
  EXPECT_EQ(Show(1, 3, RoomMade(RoomNo(1), HostNo(3))).error().code, Code::kDenied);
}

TEST_F(MembersTest, RoomsThatWereLeftMakePlaceForOthers) {
  for (int room = 1; room <= static_cast<int>(kRoomsOfALifeMax); ++room) {
    ASSERT_TRUE(members_.Join(JoinedOf(room)).ok()) << room;
    ASSERT_TRUE(members_.Leave(IdOf(room)));
  }
  members_.CheckInvariants();
  EXPECT_EQ(members_.Join(JoinedOf(99)).error().code, Code::kExhausted);
  EXPECT_TRUE(members_.Join(JoinedOf(1)).ok());
}

TEST_F(MembersTest, LimitsHold) {
  EXPECT_EQ(members_.Join(JoinedOf(1, "team-a", 2)).error().code, Code::kDenied);
  for (int room = 1; room <= static_cast<int>(kJoinedRoomsMax); ++room) {
    ASSERT_TRUE(members_.Join(JoinedOf(room)).ok());
  }
  EXPECT_EQ(members_.Join(JoinedOf(9)).error().code, Code::kExhausted);
  Members small({.peers_max = 2}, HostNo(kSelf), false);
  ASSERT_TRUE(
      small.Join({FactsOf(RoomNo(1)), RoomMade(RoomNo(1), HostNo(kSelf), 10, 9 * kDay)}).ok());
  const auto show = [&](int host) {
    return small.OnShown(now_, IdOf(1), HostNo(host), RoomMade(RoomNo(1), HostNo(host)).text());
  };
  ASSERT_TRUE(show(2).ok());
  ASSERT_TRUE(show(3).ok());
  EXPECT_EQ(show(4).error().code, Code::kExhausted);
  // Those whose time is over make room.
  now_ += 2 * kDay;
  ASSERT_TRUE(
      small.OnShown(now_, IdOf(1), HostNo(4), RoomMade(RoomNo(1), HostNo(4), 10, 5 * kDay).text())
          .ok());
  small.CheckInvariants();
}

}  // namespace
}  // namespace shoal::index
