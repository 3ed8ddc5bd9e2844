// RendezvousServer: `shoal index`. HTTP/1.1 and JSON over TLS 1.3, by cpprestsdk.
#pragma once

#include <memory>

#include "base/executor.h"
#include "index/registrations.h"
#include "index/signing_key.h"
#include "index/swarm_desk.h"

namespace shoal::index {

class RendezvousServer {
 public:
  struct Options {
    Endpoint listen{"0.0.0.0", 7383};
    RegistrationLimits limits;
    SwarmDeskLimits swarms;
  };

  // Listens when it returns. Signatures are verified on cpprestsdk's threads, all else is decided
  // on `loop`, which outlives the server.
  // Errors: kRetryLater when the port is taken, kDenied.
  static Result<std::unique_ptr<RendezvousServer>> Start(Options options, const SigningKey& key,
                                                         Executor& loop);
  // On the loop thread. Stops listening; what is under way is answered 503.
  ~RendezvousServer();

  // On the loop thread.
  [[nodiscard]] std::size_t registration_count() const;
  [[nodiscard]] std::size_t peer_count() const;

 private:
  class Impl;
  explicit RendezvousServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::index
