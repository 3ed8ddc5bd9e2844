// Rooms: index::Members behind a lock, and the files it lives in. Whoever shows something to a
// peer, or asks a peer something, asks here first. Any thread.
//
// Which blobs a room sees: those of the repositories that the configuration gives it (BlobRooms).
// Where it gives none to any, all that this host holds is that of its only room; a host in several
// rooms then shares nothing.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/blob_rooms.h"
#include "base/executor.h"
#include "index/members.h"
#include "index/room_messages.h"

namespace shoal::agent {

class Rooms {
 public:
  struct Ports {
    std::function<WallTime()> wall;
    // A peer is in a room with us that was in none. Any thread.
    std::function<void(const PeerId&)> on_admitted;
    // Who is in a room with us, or which rooms are ours, may be less than before, or more
    // revocations are known. Any thread.
    std::function<void()> on_changed;
    Executor* disk = nullptr;             // where what was learnt is written
    std::vector<ShareEntry> shares = {};  // which repositories are whose
  };

  // dir  `rooms` of the data folder. Errors: those of the files: without its revocations a room
  //      must not be used.
  static Result<std::unique_ptr<Rooms>> Open(const std::string& dir, const PeerId& self, bool open,
                                             Ports ports);

  // Reads again what was joined or left since. Returns whether there is anything new.
  Result<bool> Reload();

  // --- the gate ---
  [[nodiscard]] index::RoomMask RoomsOf(const PeerId& peer) const;
  [[nodiscard]] index::RoomMask Ours() const;
  // The rooms that may see this blob, or know that we want it.
  [[nodiscard]] index::RoomMask RoomsOfBlob(const Digest& digest) const {
    return blobs_.has_rules() ? blobs_.OfBlob(digest) & Ours() : RoomsOfAll();
  }
  // Those that may see an image of this name.
  [[nodiscard]] index::RoomMask RoomsOfImage(const std::string& name) const {
    return blobs_.has_rules() ? blobs_.OfRepository(RepositoryOf(name)) & Ours() : RoomsOfAll();
  }
  // This host has asked for the blob under this repository, or got it so.
  BlobRooms::News Note(const Digest& digest, const std::string& repository) {
    return blobs_.Note(digest, repository);
  }
  [[nodiscard]] bool MayShare(const PeerId& peer, const Digest& digest) const {
    return (RoomsOf(peer) & RoomsOfBlob(digest)) != index::kNoRooms;
  }
  // Whether nothing that we hold is to be kept from the peer.
  [[nodiscard]] bool MaySeeAll(const PeerId& peer) const {
    return !blobs_.has_rules() && (RoomsOf(peer) & RoomsOfAll()) != index::kNoRooms;
  }
  [[nodiscard]] bool InOneRoom(const PeerId& one, const PeerId& other) const {
    return (RoomsOf(one) & RoomsOf(other)) != index::kNoRooms;
  }
  // As our record names them.
  [[nodiscard]] std::vector<std::string> RecordRooms() const;
  // The rooms' names for people.
  [[nodiscard]] std::vector<std::string> Names(index::RoomMask mask) const;

  // --- swarms ---
  // A blob's swarm is one room's: the first that may see it. As the record names it ("open" or an
  // id); "" when no room may.
  [[nodiscard]] std::string SwarmRoom(const Digest& digest) const;
  // The same as a bit.
  [[nodiscard]] index::RoomMask SwarmBit(const Digest& digest) const {
    const index::RoomMask mask = RoomsOfBlob(digest);
    return mask & ~(mask - 1);
  }
  // What stands for the blob in that room's swarms and at index servers. Errors: kDenied when we
  // are in no such room, or `peer` is not.
  [[nodiscard]] Result<Digest> SwarmDigest(const std::string& room, const Digest& digest) const;
  [[nodiscard]] bool IsInRoom(const PeerId& peer, const std::string& room) const;

  // --- the feed ---
  // The room of one bit as records name it; "" when we have joined none such.
  [[nodiscard]] std::string RecordName(index::RoomMask bit) const;
  // The bit of a room by its name, its id's hex, or "open".
  [[nodiscard]] index::RoomMask BitOf(const std::string& name) const;
  // Until when `writer`, who may be one that we have never met, or we, may write in `room` by this
  // membership. Errors: kDenied; kCorrupt for what is not the room key's word at all.
  [[nodiscard]] Result<WallTime> MayWrite(const std::string& room, const PeerId& writer,
                                          std::string_view membership) const;
  // Our membership as it stands beside our messages, "" for the open room; nullopt when we are not
  // in the room now.
  [[nodiscard]] std::optional<std::string> OwnMembership(const std::string& room) const;

  // --- meetings ---
  // What to show a member of `room`; nullopt when we are not in it.
  [[nodiscard]] std::optional<std::string> Question(const index::RoomId& room) const;
  // `peer` showed this; the answer to it. Errors: kDenied to whoever is no member, whatever the
  // reason; the text is the same for all of them.
  Result<std::string> Answer(const PeerId& peer, const index::RoomId& room, std::string_view body);
  // `peer` answered our question so. Errors: kDenied when it is no member, kInvalid.
  Status OnAnswer(const PeerId& peer, const index::RoomId& room, std::string_view body);
  // Counts up with each revocation that was news.
  [[nodiscard]] std::uint64_t revision() const { return revision_; }

  // --- people ---
  // By the room's key, from a verb. On disk when it returns.
  Status Revoke(const index::RoomId& room, std::string_view text);
  struct View {
    std::string name;
    index::RoomId id;
    bool in_force = false;
    WallTime until;
    std::size_t members = 0;  // that have proved it to us
    std::size_t revocations = 0;
  };
  [[nodiscard]] std::vector<View> List() const;
  [[nodiscard]] index::RoomPlaces Places() const;  // of all rooms

 private:
  // Where no rule says whose what is.
  [[nodiscard]] index::RoomMask RoomsOfAll() const;
  Rooms(std::string dir, const PeerId& self, bool open, Ports ports);
  // Under the lock. Returns whether any was news.
  bool TakeRevocations(const index::RoomId& room, const std::vector<std::string>& texts);
  Status Shown(std::unique_lock<std::mutex>& lock, const PeerId& peer, const index::RoomId& room,
               const index::Meeting& meeting);
  Status Welcome(std::unique_lock<std::mutex>& lock, WallTime now, const PeerId& peer,
                 const index::RoomId& room, const index::Meeting& meeting, bool was_out);
  Result<bool> JoinThoseOnDisk();
  Status Save(const index::RoomId& room);

  const std::string dir_;
  const bool open_;
  Ports ports_;
  std::atomic<std::uint64_t> revision_{0};
  std::mutex save_mutex_;
  mutable std::mutex mutex_;
  index::Members members_;
  BlobRooms blobs_;  // has a lock of its own, and takes ours while it does not hold that
};

}  // namespace shoal::agent
