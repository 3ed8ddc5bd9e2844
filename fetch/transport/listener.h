// Listening sockets, and the sentences for when there is none.
#pragma once

#include <string>

#include "base/result.h"
#include "index/record.h"

namespace shoal::fetch {

struct Listener {
  int fd = -1;               // non-blocking
  index::Endpoint endpoint;  // with the port that was taken
};

// Binds and listens. "::" takes IPv4 too.
//
// name    "mirror": for the text, whose hint is the key `<name>.listen`.
// Errors  kInvalid for what is no address of this host, kExhausted when the port is taken, kDenied
//         when it needs privileges.
Result<Listener> Listen(const index::Endpoint& at, const std::string& name);

struct Accepted {
  int fd = -1;  // non-blocking, with TCP_NODELAY; -1 when nobody waits
  std::string remote;
  bool out_of_descriptors = false;
};
Accepted AcceptOne(int listener);

}  // namespace shoal::fetch
