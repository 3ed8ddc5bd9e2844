#include "agent/rooms.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "agent/held_names.h"
#include "index/keyfile/room_files.h"
#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/index/rooms.h"

namespace shoal::agent {
namespace {

using index::HostNo;
using index::RoomNo;
using index::TempDir;

index::RoomId IdOf(int room) { return index::RoomIdOf(RoomNo(room).public_key()); }

// One host's rooms, in a folder that outlives them.
class Host {
 public:
  explicit Host(int n, bool open = false) : n_(n), open_(open) {}

  void Join(int room) {
    index::JoinedRoom joined{index::FactsOf(RoomNo(room), "team-" + std::to_string(room)),
                             index::RoomMade(RoomNo(room), HostNo(n_))};
    ASSERT_TRUE(index::SaveRoom(dir_ / "rooms", joined).ok());
  }
  Status Open() {
    auto rooms = Rooms::Open(dir_ / "rooms", HostNo(n_), open_,
                             {[] { return index::TestWall(); },
                              [this](const PeerId& peer) { admitted_.push_back(peer); },
                              [this] { ++changes_; }, nullptr});
    if (!rooms) return rooms.error();
    rooms_ = std::move(*rooms);
    return Ok();
  }
  // What `this` shows to `other`, and what comes back.
  Status Meet(Host& other, int room) {
    const auto question = rooms_->Question(IdOf(room));
    if (!question) return Error{Code::kDenied, "not in it"};
    auto answer = other.rooms_->Answer(HostNo(n_), IdOf(room), *question);
    if (!answer) return answer.error();
    return rooms_->OnAnswer(HostNo(other.n_), IdOf(room), *answer);
  }
  Status Revoke(int room, int host) {
    return rooms_->Revoke(IdOf(room), index::SignRevocation(RoomNo(room), HostNo(host), 20));
  }
  [[nodiscard]] bool Has(int host) const {
    return rooms_->RoomsOf(HostNo(host)) != index::kNoRooms;
  }

  TempDir dir_;
  int n_;
  bool open_;
  std::unique_ptr<Rooms> rooms_;
  std::vector<PeerId> admitted_;
  int changes_ = 0;
};

class RoomsTest : public testing::Test {
 protected:
  void SetUp() override {
    for (Host* host : {&a_, &b_, &c_}) {
      host->Join(1);
      ASSERT_TRUE(host->Open().ok());
    }
  }
  Host a_{1}, b_{2}, c_{3};
  const Digest blob_ = *ParseDigest("sha256:" + std::string(64, '1'));
};

TEST_F(RoomsTest, OneMeetingLetsBothIn) {
  EXPECT_FALSE(a_.Has(2) || b_.Has(1));
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  EXPECT_TRUE(a_.Has(2) && b_.Has(1));
  EXPECT_EQ(a_.admitted_, std::vector{HostNo(2)});
  EXPECT_EQ(b_.admitted_, std::vector{HostNo(1)});
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  EXPECT_EQ(a_.admitted_.size(), 1U);
  EXPECT_TRUE(a_.rooms_->MayShare(HostNo(2), blob_));
  EXPECT_FALSE(a_.rooms_->MayShare(HostNo(3), blob_));
}

TEST_F(RoomsTest, WhoIsInAnotherRoomIsToldTheSameAsWhoIsInNone) {
  Host stranger(4);
  stranger.Join(2);
  ASSERT_TRUE(stranger.Open().ok());
  const auto question = *stranger.rooms_->Question(IdOf(2));
  const auto other = a_.rooms_->Answer(HostNo(4), IdOf(2), question);
  const auto ours = a_.rooms_->Answer(HostNo(4), IdOf(1), question);
  // A member's own words, by another.
  const auto stolen = a_.rooms_->Answer(HostNo(4), IdOf(1), *b_.rooms_->Question(IdOf(1)));
  for (const auto* answer : {&other, &ours, &stolen}) {
    EXPECT_EQ(answer->error().code, Code::kDenied);
    EXPECT_EQ(answer->error().text, other.error().text);
  }
  EXPECT_FALSE(a_.Has(4));
  EXPECT_TRUE(a_.admitted_.empty());
}

TEST_F(RoomsTest, RevocationsGoRoundByMeetings) {
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  ASSERT_TRUE(b_.Meet(c_, 1).ok());
  ASSERT_TRUE(a_.Revoke(1, 3).ok());
  EXPECT_TRUE(b_.Has(3));
  const auto before = b_.rooms_->revision();
  ASSERT_TRUE(a_.Meet(b_, 1).ok());  // pushed with the question
  EXPECT_FALSE(b_.Has(3));
  EXPECT_GT(b_.rooms_->revision(), before);
  EXPECT_EQ(b_.changes_, 1);
  Host d(4);
  d.Join(1);
  ASSERT_TRUE(d.Open().ok());
  ASSERT_TRUE(d.Meet(b_, 1).ok());  // pulled with the answer
  EXPECT_EQ(c_.Meet(d, 1).error().code, Code::kDenied);
  EXPECT_FALSE(d.Has(3));
}

TEST_F(RoomsTest, StrangersRevocationsAreNotListenedTo) {
  Host stranger(4);
  stranger.Join(2);
  ASSERT_TRUE(stranger.Open().ok());
  const std::string body =
      index::EncodeMeeting({index::RoomMade(RoomNo(2), HostNo(4)).text(),
                            "",
                            {index::SignRevocation(RoomNo(1), HostNo(2), 20)}});
  EXPECT_FALSE(a_.rooms_->Answer(HostNo(4), IdOf(1), body).ok());
  EXPECT_EQ(a_.rooms_->List().front().revocations, 0U);
}

TEST_F(RoomsTest, ARevocationOutlivesARestart) {
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  ASSERT_TRUE(a_.Revoke(1, 2).ok());
  EXPECT_FALSE(a_.Has(2));
  ASSERT_TRUE(a_.Open().ok());
  EXPECT_EQ(b_.Meet(a_, 1).error().code, Code::kDenied);
  EXPECT_FALSE(a_.Has(2));
}

TEST_F(RoomsTest, DamagedRevocationsAreNoRoom) {
  ASSERT_TRUE(a_.Revoke(1, 2).ok());
  std::ofstream(a_.dir_ / ("rooms/" + IdOf(1).Hex() + "/revocations"), std::ios::app) << "x\n";
  EXPECT_EQ(a_.Open().error().code, Code::kCorrupt);
}

TEST_F(RoomsTest, WhoLeftARoomSharesNothingUntilItJoinsAgain) {
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  ASSERT_TRUE(b_.Revoke(1, 3).ok());
  ASSERT_TRUE(index::RemoveRoom(b_.dir_ / "rooms", IdOf(1)).ok());
  EXPECT_EQ(index::RemoveRoom(b_.dir_ / "rooms", IdOf(1)).error().code, Code::kNotFound);
  ASSERT_TRUE(b_.rooms_->Reload().value());
  EXPECT_FALSE(b_.rooms_->Reload().value());
  EXPECT_FALSE(b_.rooms_->MayShare(HostNo(1), blob_));
  EXPECT_TRUE(b_.rooms_->List().empty());
  EXPECT_TRUE(b_.rooms_->RecordRooms().empty());
  EXPECT_EQ(b_.rooms_->SwarmRoom(blob_), "");
  EXPECT_EQ(a_.Meet(b_, 1).error().code, Code::kDenied);
  b_.Join(1);
  ASSERT_TRUE(b_.rooms_->Reload().value());
  EXPECT_FALSE(b_.Has(1));
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  EXPECT_TRUE(b_.rooms_->MayShare(HostNo(1), blob_));
  EXPECT_EQ(c_.Meet(b_, 1).error().code, Code::kDenied);  // as before
}

TEST_F(RoomsTest, AHostInTwoRoomsSharesNothingWithEither) {
  a_.Join(2);
  EXPECT_TRUE(*a_.rooms_->Reload());
  EXPECT_FALSE(*a_.rooms_->Reload());
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  EXPECT_TRUE(a_.Has(2));
  EXPECT_FALSE(a_.rooms_->MayShare(HostNo(2), blob_));
  EXPECT_FALSE(a_.rooms_->MaySeeAll(HostNo(2)));
  EXPECT_EQ(a_.rooms_->SwarmRoom(blob_), "");
  Host both(5, true);
  both.Join(1);
  ASSERT_TRUE(both.Open().ok());
  EXPECT_FALSE(both.rooms_->MayShare(HostNo(9), blob_));
}

TEST_F(RoomsTest, ASwarmIsOneRooms) {
  const std::string room = IdOf(1).Hex();
  EXPECT_EQ(a_.rooms_->SwarmRoom(blob_), room);
  const auto name = a_.rooms_->SwarmDigest(room, blob_);
  ASSERT_TRUE(name.ok());
  EXPECT_EQ(*name, index::BlindDigest(RoomNo(1).public_key(), blob_));
  EXPECT_FALSE(a_.rooms_->SwarmDigest("open", blob_).ok());
  EXPECT_FALSE(a_.rooms_->SwarmDigest(IdOf(2).Hex(), blob_).ok());
  EXPECT_FALSE(a_.rooms_->SwarmDigest("", blob_).ok());
  EXPECT_FALSE(a_.rooms_->IsInRoom(HostNo(2), room));
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  EXPECT_TRUE(a_.rooms_->IsInRoom(HostNo(2), room));
  EXPECT_FALSE(a_.rooms_->IsInRoom(HostNo(2), "open"));
}

TEST(OpenRoomTest, HasEverybodyAndNamesBlobsAsTheyAre) {
  Host host(1, true);
  ASSERT_TRUE(host.Open().ok());
  const Digest blob = *ParseDigest("sha256:" + std::string(64, '1'));
  EXPECT_TRUE(host.rooms_->MayShare(HostNo(9), blob));
  EXPECT_EQ(host.rooms_->SwarmRoom(blob), "open");
  EXPECT_EQ(*host.rooms_->SwarmDigest("open", blob), blob);
  EXPECT_EQ(host.rooms_->RecordRooms(), std::vector<std::string>{"open"});
  EXPECT_EQ(host.rooms_->Names(host.rooms_->Ours()), std::vector<std::string>{"open"});
}

TEST_F(RoomsTest, WhatIsHeldIsFoundByTheNameThatTheRoomGivesIt) {
  index::Inventory inventory(7);
  HeldNames held(inventory, *a_.rooms_);
  const index::Key key = index::BlobKey(*a_.rooms_->SwarmDigest(IdOf(1).Hex(), blob_));
  ASSERT_TRUE(a_.Meet(b_, 1).ok());
  EXPECT_FALSE(held.Holds(HostNo(2), key));
  inventory.SetBlob({blob_, Bytes(5), false});
  EXPECT_TRUE(held.Holds(HostNo(2), key));
  EXPECT_FALSE(held.Holds(HostNo(3), key));                    // who was not met
  EXPECT_FALSE(held.Holds(HostNo(2), index::BlobKey(blob_)));  // of the open room
  EXPECT_FALSE(held.Holds(HostNo(2), "blob/nonsense"));
  EXPECT_FALSE(held.Holds(HostNo(2), "room/open"));
  inventory.Restart(8);
  EXPECT_TRUE(held.Holds(HostNo(2), key));
  inventory.RemoveBlob(blob_);
  EXPECT_FALSE(held.Holds(HostNo(2), key));
}

TEST_F(RoomsTest, WhoMayWriteIsSaidByTheMembershipBesideTheMessage) {
  Host one(1);
  one.Join(1);
  ASSERT_TRUE(one.Open());
  const std::string room = IdOf(1).Hex();
  const auto own = one.rooms_->OwnMembership(room);
  ASSERT_TRUE(own);
  EXPECT_TRUE(one.rooms_->MayWrite(room, HostNo(1), *own));
  // One that was never met.
  const auto theirs = index::RoomMade(RoomNo(1), HostNo(2)).text();
  EXPECT_TRUE(one.rooms_->MayWrite(room, HostNo(2), theirs));
  EXPECT_EQ(one.rooms_->MayWrite(room, HostNo(3), theirs).error().code, Code::kDenied);
  EXPECT_EQ(one.rooms_->MayWrite(room, HostNo(2), "").error().code, Code::kCorrupt);
  const auto foreign = index::RoomMade(RoomNo(2), HostNo(2)).text();
  EXPECT_EQ(one.rooms_->MayWrite(room, HostNo(2), foreign).error().code, Code::kCorrupt);
  ASSERT_TRUE(one.Revoke(1, 2));
  EXPECT_EQ(one.rooms_->MayWrite(room, HostNo(2), theirs).error().code, Code::kDenied);
  // Rooms that we are not in.
  EXPECT_FALSE(one.rooms_->MayWrite("open", HostNo(2), ""));
  EXPECT_FALSE(one.rooms_->OwnMembership("open"));
  EXPECT_FALSE(one.rooms_->MayWrite(IdOf(2).Hex(), HostNo(2), foreign));
}

}  // namespace
}  // namespace shoal::agent
