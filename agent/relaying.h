// Relaying: finds out whether others can dial us, holds places at relays while they cannot, and is
// a relay for others (docs/RELAY.md). Carries out what index/reachability.h decides. On the loop
// unless said.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/executor.h"
#include "fetch/transport/call_taker.h"
#include "fetch/transport/peer_client.h"
#include "fetch/transport/relay_service.h"
#include "index/reachability.h"

namespace shoal::agent {

class Relaying {
 public:
  struct Options {
    bool use = true;
    bool serve = true;
    fetch::RelayLimits limits;
    Bytes rate;  // a second; 0: none
  };
  struct Ports {
    Loop& loop;
    fetch::PeerClient& client;
    // Living peers that we reach without a relay, and where.
    std::function<std::vector<PeerId>()> reached;
    std::function<std::optional<index::Endpoint>(const PeerId&)> dial;
    std::function<std::string()> own_record;  // its envelope
    // Our record names these relays from now on.
    std::function<void(std::vector<index::Endpoint>)> set_relays;
    // Whether two peers share one of our rooms. Any thread.
    std::function<bool(const PeerId&, const PeerId&)> in_one_room;
    fetch::CallTaker::Serve serve;
  };

  Relaying(Options options, const fetch::TlsIdentity& identity, Ports ports, Rng rng);
  ~Relaying();
  Relaying(const Relaying&) = delete;
  Relaying& operator=(const Relaying&) = delete;

  void Start();
  // Lets go of our places; circuits end.
  void Stop();
  // No more calls are taken. After the client has stopped; not on the loop.
  void StopTaking() { taker_.reset(); }
  // Peers appeared or went.
  void OnPeersChanged();

  // nullptr: we are none. Any thread.
  [[nodiscard]] const std::shared_ptr<fetch::RelayService>& service() const { return service_; }
  [[nodiscard]] index::Reach reach() const { return reachability_.reach(); }
  // Where we hold a place.
  [[nodiscard]] std::vector<index::Endpoint> Through() const;
  [[nodiscard]] int taken() const { return taker_ ? taker_->taken() : 0; }

 private:
  void Perform(const index::ReachActions& actions);
  void AskDialBack(const PeerId& peer);
  void AskForPlace(const PeerId& peer);
  void OnPlace(const PeerId& peer, const index::Endpoint& endpoint,
               const Result<std::vector<std::uint64_t>>& calls);
  // Waits at a relay for calls, again and again.
  void Wait(const PeerId& peer);
  void LetGo(const PeerId& peer);
  void Lose(const PeerId& peer, const std::string& why);
  void ShowRelays();
  void Look();
  void Schedule();

  Options options_;
  Ports ports_;
  std::unique_ptr<fetch::RateLimiter> rate_;  // null: none. Before what uses it
  index::Reachability reachability_;
  std::map<PeerId, index::Endpoint> places_;  // that we hold, by relay
  std::shared_ptr<fetch::RelayService> service_;
  std::unique_ptr<fetch::CallTaker> taker_;
  bool started_ = false;
  bool stopped_ = false;
  index::Reach told_ = index::Reach::kUnknown;
  Time scheduled_ = kNever;
};

}  // namespace shoal::agent
