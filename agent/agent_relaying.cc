// The wiring of relaying.
#include <utility>

#include "agent/agent.h"

namespace shoal::agent {

fetch::PeerRelaying Agent::MakeRelaying(const fetch::TlsIdentity& identity, Rng& rng) {
  Relaying::Options options;
  options.use = config_.relay.use;
  options.serve = config_.relay.serve;
  options.limits.slots = config_.relay.slots;
  options.limits.life = config_.relay.time;
  options.rate = config_.relay.rate;
  relaying_ = std::make_unique<Relaying>(
      options, identity,
      Relaying::Ports{
          loop_, *peer_client_, [this] { return discovery_->Reached(); },
          [this](const PeerId& peer) { return discovery_->Dial(peer); },
          [this] { return discovery_->self().envelope(); },
          [this](std::vector<index::Endpoint> relays) { discovery_->SetRelays(std::move(relays)); },
          [this](const PeerId& one, const PeerId& other) { return rooms_->InOneRoom(one, other); },
          [this](std::unique_ptr<fetch::RawConnection> connection, std::string remote) {
            const std::lock_guard lock(peer_server_mutex_);
            if (peer_server_ && !stopping_) {
              peer_server_->Adopt(std::move(connection), std::move(remote));
            }
          }},
      Rng(rng.Next()));
  return {std::make_shared<fetch::DialBack>(loop_, *peer_client_), relaying_->service()};
}

}  // namespace shoal::agent
