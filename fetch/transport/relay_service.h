// RelayService: the relay's side of docs/RELAY.md. Decides by a RelayDesk on the loop, and carries
// circuits with a Splicer of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "fetch/relay_desk.h"
#include "fetch/transport/http_server.h"
#include "fetch/transport/splicer.h"

namespace shoal::fetch {

class RelayService : public std::enable_shared_from_this<RelayService> {
 public:
  struct Ports {
    Loop& loop;
    // Whether two peers share one of our rooms. Any thread.
    std::function<bool(const PeerId&, const PeerId&)> in_one_room;
    // Whether we are of use as a relay now. On the loop.
    std::function<bool()> can_serve;
  };
  struct View {
    std::vector<PeerId> peers;  // that hold a place
    int slots = 0;
    int circuits = 0;
    std::int64_t bytes = 0;  // carried
    std::int64_t calls = 0;  // that were taken
    std::int64_t refused = 0;
  };

  RelayService(Ports ports, PeerId self, RelayLimits limits, Splicer::Options splicer)
      : ports_(std::move(ports)),
        self_(self),
        desk_(limits),
        splicer_(std::make_unique<Splicer>(splicer)) {}

  // Takes, renews or gives back a place for whoever asks, and tells it of calls. Any thread.
  void Reserve(const PeerId& peer, Duration wait, HttpServer::Responder respond);
  void Release(const PeerId& peer, HttpServer::Responder respond);
  // What a CONNECT asks for: "<id>.peer.shoal:443", or "<number>.call.shoal:443". Any thread.
  void Connect(const PeerId& peer, const std::string& target, HttpServer::Responder respond);

  // On the loop.
  [[nodiscard]] View view() const;
  // Circuits end; nothing is taken any more. On the loop.
  void Stop();

 private:
  using CircuitId = RelayDesk::CircuitId;

  void Call(const PeerId& caller, const PeerId& callee, HttpServer::Responder respond);
  void Take(const PeerId& callee, CircuitId id, const HttpServer::Responder& respond);
  void Tell(const PeerId& callee);
  // What a side of the circuit becomes when its answer is out.
  void OnSide(CircuitId id, std::unique_ptr<RawConnection> connection);
  void EndAll(const std::vector<CircuitId>& ended);
  void Schedule();

  struct Poll {
    std::uint64_t number = 0;
    HttpServer::Responder respond;
  };
  struct Circuit {
    HttpServer::Responder caller;         // until the call is taken
    std::unique_ptr<RawConnection> side;  // the first that is ready
    bool runs = false;
  };

  Ports ports_;
  const PeerId self_;
  // On the loop.
  RelayDesk desk_;
  std::unique_ptr<Splicer> splicer_;
  std::map<PeerId, Poll> polls_;  // requests that wait for calls
  std::map<CircuitId, Circuit> circuits_;
  std::uint64_t polls_made_ = 0;
  std::int64_t calls_ = 0;
  std::int64_t refused_ = 0;
  Time scheduled_ = kNever;
};

}  // namespace shoal::fetch
