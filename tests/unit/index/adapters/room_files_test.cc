#include "index/keyfile/room_files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "index/keyfile/keyfile.h"
#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/index/rooms.h"

namespace shoal::index {
namespace {

JoinedRoom JoinedOf(int room, std::uint64_t sequence = 10) {
  return {FactsOf(RoomNo(room)), RoomMade(RoomNo(room), HostNo(1), sequence)};
}
RoomId IdOf(int room) { return RoomIdOf(RoomNo(room).public_key()); }

TEST(RoomFilesTest, KeepTheRoomsThatWereJoined) {
  const TempDir dir;
  EXPECT_TRUE(LoadRooms(dir / "rooms")->empty());
  ASSERT_TRUE(SaveRoom(dir / "rooms", JoinedOf(1)).ok());
  ASSERT_TRUE(SaveRoom(dir / "rooms", JoinedOf(2)).ok());
  ASSERT_TRUE(SaveRoom(dir / "rooms", JoinedOf(2, 11)).ok());
  const auto rooms = LoadRooms(dir / "rooms");
  ASSERT_TRUE(rooms.ok()) << rooms.error().text;
  ASSERT_EQ(rooms->size(), 2U);
  EXPECT_LT((*rooms)[0].membership.room(), (*rooms)[1].membership.room());
  for (const auto& room : *rooms) {
    EXPECT_EQ(room.membership.sequence(), room.membership.room() == IdOf(2) ? 11U : 10U);
  }
}

TEST(RoomFilesTest, ADamagedOrMisplacedRoomIsAnError) {
  const TempDir dir;
  ASSERT_TRUE(SaveRoom(dir / "rooms", JoinedOf(1)).ok());
  const std::string here = dir / ("rooms/" + IdOf(1).Hex());
  std::filesystem::rename(here, dir / ("rooms/" + IdOf(2).Hex()));
  EXPECT_EQ(LoadRooms(dir / "rooms").error().code, Code::kCorrupt);
  std::filesystem::rename(dir / ("rooms/" + IdOf(2).Hex()), here);
  EXPECT_TRUE(LoadRooms(dir / "rooms").ok());
  std::ofstream(here + "/room") << "{}";
  EXPECT_EQ(LoadRooms(dir / "rooms").error().code, Code::kCorrupt);
}

TEST(RoomFilesTest, KeepRevocations) {
  const TempDir dir;
  EXPECT_TRUE(LoadRevocations(dir / "rooms", IdOf(1))->empty());
  const std::vector texts{SignRevocation(RoomNo(1), HostNo(1), 20),
                          SignRevocation(RoomNo(1), HostNo(2), 21)};
  ASSERT_TRUE(SaveRevocations(dir / "rooms", IdOf(1), texts).ok());
  EXPECT_EQ(*LoadRevocations(dir / "rooms", IdOf(1)), texts);
  struct stat info {};
  ASSERT_EQ(stat((dir / ("rooms/" + IdOf(1).Hex() + "/revocations")).c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  // Without a room beside them they are no room.
  EXPECT_TRUE(LoadRooms(dir / "rooms")->empty());
}

TEST(RoomKeyFileTest, IsMadeOnceAndNeverOverwritten) {
  const TempDir dir;
  EXPECT_EQ(LoadRoomKey(dir / "key").error().code, Code::kNotFound);
  const auto made = MakeRoomKey(dir / "key");
  ASSERT_TRUE(made.ok()) << made.error().text;
  EXPECT_EQ(MakeRoomKey(dir / "key").error().code, Code::kDenied);
  EXPECT_EQ(LoadRoomKey(dir / "key")->public_key(), made->public_key());
  std::filesystem::permissions(dir / "key", std::filesystem::perms::group_read,
                               std::filesystem::perm_options::add);
  EXPECT_EQ(LoadRoomKey(dir / "key").error().code, Code::kDenied);
  EXPECT_NE(MakeLooseKey()->public_key(), MakeLooseKey()->public_key());
}

}  // namespace
}  // namespace shoal::index
