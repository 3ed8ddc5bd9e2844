// CallTaker: takes the calls that a relay tells us of: dials the relay for each, and gives our end
// of the circuit to the peer server as if somebody had dialled it.
//
// Limits: kTakenMax at once; further calls are left to end by themselves.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "fetch/transport/splicer.h"
#include "fetch/transport/tls.h"

namespace shoal::fetch {

// As many as a relay puts through to one peer, of two relays.
inline constexpr int kTakenMax = 64;

class CallTaker {
 public:
  // Serves a connection; `remote` is for logs. Any thread.
  using Serve = std::function<void(std::unique_ptr<RawConnection>, std::string remote)>;

  CallTaker(TlsIdentity identity, Serve serve)
      : identity_(std::move(identity)), serve_(std::move(serve)), splicer_(Splicer::Options{}) {}

  // relay  with its id, as records name it. Any thread.
  void Take(const index::Endpoint& relay, std::uint64_t call);
  // Calls that we answer through relays now.
  [[nodiscard]] int taken() const { return taken_.load(std::memory_order_relaxed); }

 private:
  void Serving(const index::Endpoint& relay, std::unique_ptr<RawConnection> circuit);

  TlsIdentity identity_;
  Serve serve_;
  std::atomic<int> taken_ = 0;
  std::atomic<std::uint64_t> next_ = 1;
  Splicer splicer_;  // the last: its callbacks use what stands above
};

}  // namespace shoal::fetch
