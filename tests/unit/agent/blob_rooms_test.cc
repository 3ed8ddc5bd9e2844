#include "agent/blob_rooms.h"
#include "tests/unit/numbered.h"

#include <gtest/gtest.h>

#include <map>

namespace shoal::agent {
namespace {

using News = BlobRooms::News;

constexpr index::RoomMask kA = 2;
constexpr index::RoomMask kB = 4;

class BlobRoomsTest : public testing::Test {
 protected:
  std::map<std::string, index::RoomMask> bits_{{"a", kA}, {"b", kB}};
  BlobRooms rooms_{{{{"reg.test/a/*", "reg.test/base"}, "a"},
                    {{"reg.test/b/*", "reg.test/base"}, "b"},
                    {{"reg.test/late/*"}, "late"}},
                   [this](const std::string& name) {
                     const auto it = bits_.find(name);
                     return it == bits_.end() ? index::kNoRooms : it->second;
                   }};
};

TEST_F(BlobRoomsTest, ABlobIsOfTheRoomsOfItsRepositories) {
  EXPECT_TRUE(rooms_.has_rules());
  EXPECT_EQ(rooms_.OfBlob(DigestAll('1')), index::kNoRooms);
  EXPECT_EQ(rooms_.Note(DigestAll('1'), "reg.test/a/app"), News::kSeen);
  EXPECT_EQ(rooms_.OfBlob(DigestAll('1')), kA);
  EXPECT_EQ(rooms_.Note(DigestAll('1'), "reg.test/a/app"), News::kNone);
  EXPECT_EQ(rooms_.Note(DigestAll('1'), "reg.test/a/other"), News::kKnown);
  EXPECT_EQ(rooms_.Note(DigestAll('1'), "reg.test/b/app"), News::kSeen);
  EXPECT_EQ(rooms_.OfBlob(DigestAll('1')), kA | kB);
  EXPECT_EQ(rooms_.Note(DigestAll('2'), "reg.test/base"), News::kSeen);
  EXPECT_EQ(rooms_.OfBlob(DigestAll('2')), kA | kB);
}

TEST_F(BlobRoomsTest, WhatNoRuleNamesIsInNoRoom) {
  EXPECT_EQ(rooms_.Note(DigestAll('1'), "reg.test/c/app"), News::kKnown);
  EXPECT_EQ(rooms_.OfBlob(DigestAll('1')), index::kNoRooms);
  EXPECT_EQ(rooms_.OfRepository("other.test/a/app"), index::kNoRooms);
  EXPECT_EQ(rooms_.OfRepository("reg.test/a/app"), kA);
}

TEST_F(BlobRoomsTest, ARoomThatIsJoinedLaterSeesWhatIsIts) {
  EXPECT_EQ(rooms_.Note(DigestAll('1'), "reg.test/late/app"), News::kKnown);
  bits_["late"] = 8;
  EXPECT_EQ(rooms_.OfBlob(DigestAll('1')), index::kNoRooms);
  rooms_.OnRoomsChanged();
  EXPECT_EQ(rooms_.OfBlob(DigestAll('1')), 8U);
}

TEST_F(BlobRoomsTest, RemembersABoundedNumberOfRepositories) {
  for (std::size_t i = 0; i <= kRepositoriesOfBlobMax; ++i) {
    rooms_.Note(DigestAll('1'), "reg.test/c/" + std::to_string(i));
  }
  EXPECT_EQ(rooms_.Note(DigestAll('1'), "reg.test/a/app"), News::kNone);
  EXPECT_EQ(rooms_.OfBlob(DigestAll('1')), index::kNoRooms);
}

TEST(RepositoryOfTest, LeavesTagsAndDigestsOut) {
  EXPECT_EQ(RepositoryOf("reg.test:5000/a/app:v1"), "reg.test:5000/a/app");
  EXPECT_EQ(RepositoryOf("reg.test:5000/a/app"), "reg.test:5000/a/app");
  EXPECT_EQ(RepositoryOf("reg.test/app:v1@sha256:00"), "reg.test/app");
  EXPECT_EQ(RepositoryOf("reg.test/app@sha256:00"), "reg.test/app");
  EXPECT_EQ(RepositoryOf(""), "");
}

}  // namespace
}  // namespace shoal::agent
