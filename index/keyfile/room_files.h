// The rooms that a host has joined, on disk: rooms/<id>/room and rooms/<id>/revocations.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "index/revocations.h"
#include "index/room_token.h"

namespace shoal::index {

// All that were joined; none when `dir` is not there. Errors: kCorrupt, kDenied, naming the file.
Result<std::vector<JoinedRoom>> LoadRooms(const std::string& dir);
// In place of an earlier membership of the same room. On disk when it returns.
Status SaveRoom(const std::string& dir, const JoinedRoom& room);
// What was revoked in it stays. Gone from the disk when it returns. Errors: kNotFound.
Status RemoveRoom(const std::string& dir, const RoomId& room);

// One text each. Errors: kCorrupt, kDenied: without it hosts that were taken out would come back,
// so nobody should go on.
Result<std::vector<std::string>> LoadRevocations(const std::string& dir, const RoomId& room);
Status SaveRevocations(const std::string& dir, const RoomId& room,
                       const std::vector<std::string>& texts);

}  // namespace shoal::index
