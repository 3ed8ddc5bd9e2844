// RendezvousService: an index server behind its HTTP server: what is asked comes in, what is
// answered goes out. docs/PROTOCOL.md, "Index server (rendezvous)".
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "index/registrations.h"
#include "index/swarm_desk.h"

namespace shoal::index {

// Rules
// - Signatures are verified on the thread that brings the request; all else is decided on one
//   thread of the service's own, which owns the cores and waits for nothing.
// - REGISTER and UNREGISTER are answered when they are on disk. DISCOVER answers from memory.
// - A DISCOVER that finds nothing new waits as long as it wishes, at most kDiscoverWaitMsMax. News
//   is told kNewsPause after it came, so that many newcomers cost one answer; the pause grows by
//   kPausePerWaiter, so that a large room costs a bounded part of a core.
class RendezvousService {
 public:
  static constexpr Duration kNewsPause = std::chrono::milliseconds(10);
  static constexpr Duration kPausePerWaiter = std::chrono::microseconds(100);
  // More are answered at once.
  static constexpr std::size_t kWaitersMax = 40'000;

  struct Options {
    std::string dir;  // of the database
    RegistrationLimits limits;
    SwarmDeskLimits swarms;
    Bytes map_max{std::int64_t{16} << 30};
  };
  struct Call {
    std::string method;
    std::string target;
    std::string body;
  };
  struct Reply {
    int status = 200;
    std::string json;
  };
  using Respond = std::function<void(Reply)>;
  struct Counts {
    std::size_t peers = 0;
    std::size_t registrations = 0;
    std::size_t namespaces = 0;
    std::size_t waiters = 0;
    std::size_t swarms = 0;
  };

  // Ready to serve when it returns: all that was kept is in memory.
  // Errors: those of RegistrationStore and of its rows.
  static Result<std::unique_ptr<RendezvousService>> Start(Options options, const PeerId& id);
  // Keeps what was taken; what waits is answered as it is.
  ~RendezvousService();

  // Any thread. Answers once, on any thread; after the service's end with E_UNAVAILABLE.
  void Handle(Call call, Respond respond);

  // Not on one of its threads.
  [[nodiscard]] Counts counts() const;

 private:
  class Impl;
  explicit RendezvousService(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // owners: we, and requests under way
};

}  // namespace shoal::index
