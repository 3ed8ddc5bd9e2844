// `shoal preheat` and `shoal room log`.
#pragma once

#include <string>

#include "agent/admin_client.h"
#include "agent/verbs.h"

namespace shoal::agent {

struct PreheatOptions {
  std::string image;
  std::string room;  // "": the only one
  std::string expires = "24h";
  bool withdraw = false;
  bool json = false;
};

// Waits until no host is waited for any more; a bar on a terminal, lines elsewhere. Ctrl-C ends the
// waiting, not the preheat.
Exit Preheat(const AdminClient& agent, const PreheatOptions& options);
Exit ShowRoomLog(const AdminClient& agent, const std::string& room, bool json);

}  // namespace shoal::agent
