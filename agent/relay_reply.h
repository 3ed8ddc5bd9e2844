// What GET /v1/status and GET /metrics say about relaying.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/metrics.h"
#include "agent/relaying.h"
#include "base/json.h"

namespace shoal::agent {

// On the loop. name_of: of a peer, for people.
Json RelayReply(const Relaying& relaying, const std::function<std::string(const PeerId&)>& name_of);
// They are read on the loop, and hold a reference.
std::vector<Metric> RelayMetrics(const Relaying& relaying);

}  // namespace shoal::agent
