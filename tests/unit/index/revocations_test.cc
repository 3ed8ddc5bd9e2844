#include "index/revocations.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "index/envelope.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/rooms.h"

namespace shoal::index {
namespace {

Revocations OfRoom(int n) { return Revocations(RoomNo(n).public_key()); }

TEST(RevocationsTest, APeerIsTakenOutWhateverMadeItAMember) {
  auto revocations = OfRoom(1);
  const auto by_room = RoomMade(RoomNo(1), HostNo(1), 10);
  const auto by_token = TokenMade(RoomNo(1), TokenNo(1), HostNo(1), 10);
  EXPECT_FALSE(revocations.Covers(by_room));
  ASSERT_TRUE(*revocations.Add(SignRevocation(RoomNo(1), HostNo(1), 20)));
  EXPECT_TRUE(revocations.Covers(by_room));
  EXPECT_TRUE(revocations.Covers(by_token));
  EXPECT_FALSE(revocations.Covers(RoomMade(RoomNo(1), HostNo(2), 10)));
  EXPECT_EQ(revocations.Ids(), std::vector{HostNo(1)});
}

TEST(RevocationsTest, ATokenIsTakenBackWithAllThatItMade) {
  auto revocations = OfRoom(1);
  ASSERT_TRUE(*revocations.Add(SignRevocation(RoomNo(1), TokenNo(1).id(), 20)));
  EXPECT_TRUE(revocations.Covers(TokenMade(RoomNo(1), TokenNo(1), HostNo(1), 10)));
  EXPECT_TRUE(revocations.Covers(TokenMade(RoomNo(1), TokenNo(1), HostNo(2), 10)));
  EXPECT_FALSE(revocations.Covers(TokenMade(RoomNo(1), TokenNo(2), HostNo(1), 10)));
  EXPECT_FALSE(revocations.Covers(RoomMade(RoomNo(1), HostNo(1), 10)));
}

TEST(RevocationsTest, TheRoomCanLetAHostBackInLater) {
  auto revocations = OfRoom(1);
  ASSERT_TRUE(*revocations.Add(SignRevocation(RoomNo(1), HostNo(1), 20)));
  EXPECT_TRUE(revocations.Covers(RoomMade(RoomNo(1), HostNo(1), 20)));
  EXPECT_FALSE(revocations.Covers(RoomMade(RoomNo(1), HostNo(1), 21)));
  EXPECT_FALSE(revocations.Covers(TokenMade(RoomNo(1), TokenNo(1), HostNo(1), 21)));
}

TEST(RevocationsTest, AReplayedOlderOneUndoesNothing) {
  auto revocations = OfRoom(1);
  const auto older = SignRevocation(RoomNo(1), HostNo(1), 20);
  const auto newer = SignRevocation(RoomNo(1), HostNo(1), 30);
  ASSERT_TRUE(*revocations.Add(older));
  ASSERT_TRUE(*revocations.Add(newer));
  const auto hash = revocations.hash();
  EXPECT_FALSE(*revocations.Add(older));
  EXPECT_FALSE(*revocations.Add(newer));
  EXPECT_TRUE(revocations.Covers(RoomMade(RoomNo(1), HostNo(1), 30)));
  EXPECT_EQ(revocations.hash(), hash);
  EXPECT_EQ(revocations.size(), 1U);
}

TEST(RevocationsTest, AnyOrderEndsTheSame) {
  std::vector<std::string> texts;
  for (int host = 1; host <= 4; ++host) {
    for (const std::uint64_t sequence : {20U, 30U}) {
      texts.push_back(SignRevocation(RoomNo(1), HostNo(host), sequence));
    }
  }
  auto first = OfRoom(1);
  for (const auto& text : texts) ASSERT_TRUE(first.Add(text).ok());
  Rng rng(3);
  for (int i = 0; i < 20; ++i) {
    std::shuffle(texts.begin(), texts.end(), rng);
    auto other = OfRoom(1);
    for (const auto& text : texts) ASSERT_TRUE(other.Add(text).ok());
    EXPECT_EQ(other.hash(), first.hash());
    EXPECT_EQ(other.Texts(), first.Texts());
  }
}

TEST(RevocationsTest, OnlyTheRoomsOwnKeyCounts) {
  auto revocations = OfRoom(1);
  EXPECT_EQ(revocations.Add(SignRevocation(RoomNo(2), HostNo(1), 20)).error().code, Code::kDenied);
  EXPECT_EQ(revocations.Add(SignRevocation(TokenNo(1), HostNo(1), 20)).error().code, Code::kDenied);
  // By this room's key, of another room.
  const std::string payload = R"({"version":1,"room":")" + RoomIdOf(RoomNo(2).public_key()).Hex() +
                              R"(","revoked":")" + HostNo(1).Hex() + R"(","sequence":20})";
  const std::string foreign =
      R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","signature":")" +
      ToBase64Url(SignIn("shoal-revocation-v1\n", payload, RoomNo(1))) + R"("})";
  EXPECT_EQ(revocations.Add(foreign).error().code, Code::kDenied);
  EXPECT_EQ(revocations.size(), 0U);
}

TEST(RevocationsTest, TheNewestComeFirst) {
  auto revocations = OfRoom(1);
  std::vector<std::string> texts;
  for (int host = 1; host <= 5; ++host) {
    texts.push_back(SignRevocation(RoomNo(1), HostNo(host), 20));
    ASSERT_TRUE(*revocations.Add(texts.back()));
  }
  EXPECT_EQ(revocations.Newest(2), (std::vector{texts[4], texts[3]}));
  EXPECT_EQ(revocations.Newest(9).size(), 5U);
}

TEST(RevocationsTest, NoMutationTakesAnybodyElseOut) {
  Rng rng(1);
  const auto text = SignRevocation(RoomNo(1), HostNo(1), 20);
  for (int i = 0; i < 1000; ++i) {
    auto revocations = OfRoom(1);
    if (!revocations.Add(Mutate(text, rng)).ok()) {
      EXPECT_EQ(revocations.size(), 0U);
      continue;
    }
    EXPECT_EQ(revocations.Ids(), std::vector{HostNo(1)});
  }
  auto revocations = OfRoom(1);
  EXPECT_EQ(revocations.Add(std::string(kRevocationBytesMax + 1, ' ')).error().code,
            Code::kExhausted);
  EXPECT_FALSE(revocations.Add("[]").ok());
}

}  // namespace
}  // namespace shoal::index
