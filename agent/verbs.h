// The verbs that ask the running agent: status, peers, blobs, images, search, pulls, who-has, pull.
#pragma once

#include <functional>
#include <string>

#include "agent/admin_client.h"

namespace shoal::agent {

// What a verb came to; docs/OPERATING.md, "Exit codes".
enum class Exit { kDone = 0, kFailed = 1, kUsage = 2, kNoAgent = 3 };

// Prints the error's one sentence to stderr and says how to exit.
Exit Fail(const Error& error);

// Each prints to stdout: a table, or the agent's JSON.
Exit ShowStatus(const AdminClient& agent, bool json);
Exit ShowPeers(const AdminClient& agent, bool json);
Exit ShowBlobs(const AdminClient& agent, const std::string& digest, bool json);
Exit ShowImages(const AdminClient& agent, bool json);
Exit ShowPulls(const AdminClient& agent, bool json);
// what: an image name or a digest. resolve: ask the peer index too.
Exit WhoHas(const AdminClient& agent, const std::string& what, bool resolve, bool json);
// limit: at most so many, 1 to 1000. after: the cursor of the page before, or "".
// get: of an agent, or of an index server.
Exit Search(const std::function<Result<Json>(const std::string& path)>& get,
            const std::string& words, int limit, const std::string& after, bool json);
// Waits until the image is here; bars on a terminal, lines elsewhere.
Exit Pull(const AdminClient& agent, const std::string& image, bool json);

}  // namespace shoal::agent
