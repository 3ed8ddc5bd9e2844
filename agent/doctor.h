// `shoal doctor`: looks at this host, and says what to do.
#pragma once

#include "agent/config.h"
#include "agent/hosts.h"
#include "agent/verbs.h"

namespace shoal::agent {

// Prints a table of findings, or with `json` a list of {check, state, text}. state: "ok"; "note",
// which may be meant so; "bad".
//
// Returns  kDone when nothing is bad, kNoAgent when no agent answers, else kFailed.
Exit Doctor(const Config& config, const AdminClient& agent, const HostsOptions& hosts, bool json);

}  // namespace shoal::agent
