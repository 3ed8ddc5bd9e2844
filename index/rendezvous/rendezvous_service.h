// RendezvousService: an index server behind its HTTP server: what is asked comes in, what is
// answered goes out. docs/PROTOCOL.md, "Index server (rendezvous)".
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "index/federation.h"
#include "index/registrations.h"
#include "index/signing_key.h"
#include "index/swarm_desk.h"

namespace shoal::index {

// Rules
// - Signatures are verified on the thread that brings the request; all else is decided on one
//   thread of the service's own, which owns the cores and waits for nothing.
// - REGISTER and UNREGISTER are answered when they are on disk. DISCOVER answers from memory.
// - Other servers that federate are followed, and may read our log: docs/FEDERATION.md.
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
    std::vector<std::string> federate;  // "https://host:7383#PEERID"; may name ourselves
    std::string pin_file;               // of those without #PEERID; with `federate` only
    FederationLimits federation;
  };
  struct Call {
    std::string method;
    std::string target;
    std::string body;
    std::optional<PeerId> peer;  // who asks, as TLS knows
    bool takes_zstd = false;
  };
  struct Reply {
    int status = 200;
    std::string json;
    bool is_packed = false;  // by zstd
  };
  using Respond = std::function<void(Reply)>;
  struct Counts {
    std::size_t peers = 0;
    std::size_t registrations = 0;
    std::size_t namespaces = 0;
    std::size_t waiters = 0;
    std::size_t swarms = 0;
    std::size_t copied = 0;    // registrations that another server told
    std::size_t left_out = 0;  // likewise, for which there was no room
  };

  // A server as people want to see it; the first is this one.
  struct Server {
    ServerLine line;
    std::string trouble;
  };
  struct Peer {
    Registrations::Shown shown;
    std::optional<PeerId> server;  // where it registered last
  };

  // Ready to serve when it returns: all that was kept is in memory.
  // Errors: those of RegistrationStore and of its rows.
  static Result<std::unique_ptr<RendezvousService>> Start(Options options, const SigningKey& key);
  // Keeps what was taken; what waits is answered as it is.
  ~RendezvousService();

  // Any thread. Answers once, on any thread; after the service's end with E_UNAVAILABLE.
  void Handle(Call call, Respond respond);

  // Not on one of its threads.
  [[nodiscard]] Counts counts() const;
  [[nodiscard]] std::vector<Server> servers() const;
  // after  the number of the last one of an earlier answer.
  [[nodiscard]] std::vector<Peer> peers(std::uint64_t after, std::size_t limit) const;

 private:
  class Impl;
  explicit RendezvousService(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // owners: we, and requests under way
};

}  // namespace shoal::index
