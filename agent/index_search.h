// Asks an index server for people on a host of which it need know nothing.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace shoal::agent {

// GET of `path` at "https://host:7383#PEERID"; without #PEERID whoever answers there is believed.
// A key made for this question is shown, since the server asks for one.
//
// Errors  kInvalid for another URL; kRetryLater when it does not answer; else the server's own.
Result<Json> AskIndexServer(const std::string& url, const std::string& path);

}  // namespace shoal::agent
