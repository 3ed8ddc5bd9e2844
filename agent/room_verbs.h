// The verbs of rooms: `shoal room create, token, grant, revoke, leave, list` and `shoal join`.
// Those that need a room's key read it from a file; none of them needs a server.
#pragma once

#include <string>
#include <vector>

#include "agent/admin_client.h"
#include "agent/config.h"
#include "agent/verbs.h"

namespace shoal::agent {

struct RoomOptions {
  std::string name;
  std::string key;                   // file of the room's key; "" = by its name in agent.data_dir
  std::string expires = "720h";      // of a token or a grant
  std::vector<std::string> servers;  // where the room is found; none: as this host's configuration
  std::vector<std::string> peers;
  std::string id;     // of a peer or token
  std::string token;  // "-": a line of standard input
};

// Makes a room's key, and never over another.
Exit CreateRoom(const Config& config, const RoomOptions& options);
// Prints the line with which any host joins.
Exit PrintRoomToken(const Config& config, const RoomOptions& options);
// Prints the line with which one host, by its peer id, joins.
Exit GrantMembership(const Config& config, const RoomOptions& options);
// Takes a peer or a token out, and tells the agent of this host, which tells the others.
Exit RevokeMembership(const Config& config, const AdminClient& agent, const RoomOptions& options);
// Makes this host a member; an agent that runs takes part at once.
Exit JoinRoom(const Config& config, const AdminClient& agent, const RoomOptions& options);
// Takes this host out of a room, by its name or id; an agent that runs is out at once.
Exit LeaveRoom(const Config& config, const AdminClient& agent, const RoomOptions& options);
Exit ListRooms(const AdminClient& agent, bool json);
// The day on which this host's membership ends, of an entry of /v1/rooms: "2026-12-24", UTC.
std::string LastDayIn(const Json& room);

}  // namespace shoal::agent
