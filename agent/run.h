// `shoal run` and `shoal index`: from the configuration to a running daemon and back.
#pragma once

#include "agent/config.h"
#include "agent/verbs.h"

namespace shoal::agent {

// Runs until SIGTERM or SIGINT, then stops cleanly: pieces being served finish, at most 10 s.
Exit RunAgent(const Config& config);
Exit RunIndexServer(const Config& config);

}  // namespace shoal::agent
