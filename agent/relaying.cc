#include "agent/relaying.h"

#include <spdlog/spdlog.h>

#include <utility>

namespace shoal::agent {
namespace {

// How often it is looked whom we reach: appearing is told, the way to a peer may change after it.
constexpr Duration kLookEvery = std::chrono::seconds(2);

}  // namespace

Relaying::Relaying(Options options, const fetch::TlsIdentity& identity, Ports ports, Rng rng)
    : options_(options),
      ports_(std::move(ports)),
      rate_(options_.rate == Bytes(0) ? nullptr
                                      : std::make_unique<fetch::RateLimiter>(options_.rate)),
      reachability_(index::ReachabilityLimits{}, rng),
      taker_(std::make_unique<fetch::CallTaker>(identity, ports_.serve)) {
  if (!options_.serve) return;
  service_ = std::make_shared<fetch::RelayService>(
      fetch::RelayService::Ports{
          ports_.loop, ports_.in_one_room,
          [this] { return reachability_.reach() != index::Reach::kUndialable; }},
      identity.id(), options_.limits, fetch::Splicer::Options{.rate = rate_.get()});
}

Relaying::~Relaying() = default;

void Relaying::Start() {
  if (started_) return;
  started_ = true;
  Look();
}

void Relaying::Look() {
  if (stopped_) return;
  OnPeersChanged();
  ports_.loop.After(kLookEvery, [this] { Look(); });
}

void Relaying::Stop() {
  stopped_ = true;
  for (const auto& [peer, place] : places_) {
    ports_.client.Release(peer, {place.host, place.port});
  }
  places_.clear();
  if (service_) service_->Stop();
}

void Relaying::OnPeersChanged() {
  if (!started_ || stopped_) return;
  index::ReachActions actions;
  reachability_.OnPeers(ports_.loop.Now(), ports_.reached(), actions);
  Perform(actions);
}

void Relaying::Perform(const index::ReachActions& actions) {
  for (const auto& action : actions) {
    if (const auto* ask = std::get_if<index::AskDialBack>(&action)) {
      AskDialBack(ask->peer);
    } else if (const auto* place = std::get_if<index::AskForPlace>(&action)) {
      AskForPlace(place->peer);
    } else if (const auto* go = std::get_if<index::LetGo>(&action)) {
      LetGo(go->peer);
    }
  }
  if (reachability_.reach() != told_) {
    told_ = reachability_.reach();
    spdlog::info(told_ == index::Reach::kUndialable
                     ? "other peers cannot dial this host; it is reached through relays"
                     : "other peers can dial this host");
  }
  Schedule();
}

void Relaying::AskDialBack(const PeerId& peer) {
  const auto answer = [this, peer](std::optional<bool> dialled) {
    ports_.loop.Post([this, peer, dialled] {
      if (stopped_) return;
      index::ReachActions actions;
      reachability_.OnAnswer(ports_.loop.Now(), peer, dialled, actions);
      Perform(actions);
    });
  };
  const auto endpoint = ports_.dial(peer);
  if (!endpoint) return answer(std::nullopt);
  ports_.client.AskDialBack(
      peer, *endpoint, ports_.own_record(), [peer, answer](const Result<bool>& dialled) {
        if (!dialled) {
          spdlog::debug("dial back by {}: {}", peer.Short(), dialled.error().text);
          return answer(std::nullopt);
        }
        answer(*dialled);
      });
}

void Relaying::AskForPlace(const PeerId& peer) {
  const auto endpoint = options_.use ? ports_.dial(peer) : std::nullopt;
  if (!endpoint || endpoint->relay) {
    ports_.loop.Post([this, peer] {
      OnPlace(peer, {}, Error{Code::kNotFound, "it is not to be asked for a place"});
    });
    return;
  }
  ports_.client.Reserve(
      peer, *endpoint, ports_.own_record(), Duration(0),
      [this, peer, endpoint = *endpoint](const auto& calls) {
        ports_.loop.Post([this, peer, endpoint, calls] { OnPlace(peer, endpoint, calls); });
      });
}

void Relaying::OnPlace(const PeerId& peer, const index::Endpoint& endpoint,
                       const Result<std::vector<std::uint64_t>>& calls) {
  if (stopped_) return;
  index::ReachActions actions;
  const Time now = ports_.loop.Now();
  if (!calls) {
    spdlog::debug("no place at {}: {}", peer.Short(), calls.error().text);
    if (calls.error().code == Code::kRetryLater) {
      reachability_.OnLost(now, peer, actions);
    } else {
      reachability_.OnRefused(now, peer, actions);
    }
    return Perform(actions);
  }
  places_[peer] = endpoint;
  places_[peer].relay = peer;
  reachability_.OnPlace(now, peer, actions);
  Perform(actions);
  if (!places_.contains(peer)) return;  // let go of again
  spdlog::info("this host is reached through peer {} at {}", peer.Short(), ToString(endpoint));
  ShowRelays();
  Wait(peer);
}

void Relaying::Wait(const PeerId& peer) {
  const auto it = places_.find(peer);
  if (it == places_.end() || stopped_) return;
  const index::Endpoint place = it->second;
  ports_.client.Reserve(
      peer, {place.host, place.port}, ports_.own_record(), fetch::kReserveWaitMax,
      [this, peer, place](const Result<std::vector<std::uint64_t>>& calls) {
        // The circuit is opened from here at once, the loop may be busy.
        for (const auto call : calls ? *calls : std::vector<std::uint64_t>()) {
          taker_->Take(place, call);
        }
        ports_.loop.Post([this, peer, ok = calls.ok(), why = calls ? "" : calls.error().text] {
          if (ok) return Wait(peer);
          Lose(peer, why);
        });
      });
}

void Relaying::Lose(const PeerId& peer, const std::string& why) {
  if (stopped_ || places_.erase(peer) == 0) return;
  spdlog::info("this host is no longer reached through peer {}: {}", peer.Short(), why);
  index::ReachActions actions;
  reachability_.OnLost(ports_.loop.Now(), peer, actions);
  ShowRelays();
  Perform(actions);
}

void Relaying::LetGo(const PeerId& peer) {
  const auto it = places_.find(peer);
  if (it == places_.end()) return;
  ports_.client.Release(peer, {it->second.host, it->second.port});
  places_.erase(it);
  ShowRelays();
}

void Relaying::ShowRelays() { ports_.set_relays(Through()); }

std::vector<index::Endpoint> Relaying::Through() const {
  std::vector<index::Endpoint> relays;
  for (const auto& [peer, endpoint] : places_) relays.push_back(endpoint);
  return relays;
}

void Relaying::Schedule() {
  const Time next = reachability_.NextDeadline();
  if (next == kNever || next >= scheduled_) return;
  scheduled_ = next;
  ports_.loop.After(std::max(next - ports_.loop.Now(), Duration(1000)), [this, next] {
    if (scheduled_ != next || stopped_) return;
    scheduled_ = kNever;
    index::ReachActions actions;
    reachability_.OnDeadline(ports_.loop.Now(), actions);
    Perform(actions);
  });
}

}  // namespace shoal::agent
