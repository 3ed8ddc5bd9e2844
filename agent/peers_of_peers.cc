#include "agent/peers_of_peers.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace shoal::agent {

PeersOfPeers::PeersOfPeers(Ports ports, PeerId self, Rng rng)
    : ports_(std::move(ports)), self_(self), gossip_({}, self, rng) {}

void PeersOfPeers::OnMember(const PeerId& peer) {
  index::GossipActions actions;
  gossip_.OnMember(ports_.loop.Now(), peer, actions);
  Perform(actions);
}

void PeersOfPeers::OnMemberGone(const PeerId& peer) { gossip_.OnMemberGone(peer); }

template <class F>
void PeersOfPeers::ForEachHeard(index::RoomMask rooms, Duration fresh, F&& f) const {
  ports_.roster.ForEachHeard(ports_.loop.Now(), fresh, [&](const index::PeerView& view) {
    if ((ports_.rooms.RoomsOf(view.record.id()) & rooms) != index::kNoRooms) f(view);
  });
}

std::vector<index::PeerName> PeersOfPeers::NamesFor(const PeerId& asker, bool whole) const {
  std::vector<index::PeerName> names;
  ForEachHeard(ports_.rooms.RoomsOf(asker), whole ? Duration::max() : index::kFresh,
               [&](const index::PeerView& view) {
                 if (names.size() < index::kPeerNamesMax) {
                   names.push_back(index::PeerNameOf(view.record.id()));
                 }
               });
  return names;
}

std::vector<std::string> PeersOfPeers::RecordsFor(const PeerId& asker,
                                                  const std::vector<index::PeerName>& names) const {
  std::vector<std::string> envelopes;
  ForEachHeard(ports_.rooms.RoomsOf(asker), Duration::max(), [&](const index::PeerView& view) {
    if (envelopes.size() == index::kRecordsAskedMax) return;
    if (!names.empty() && !std::ranges::binary_search(names, index::PeerNameOf(view.record.id()))) {
      return;
    }
    envelopes.push_back(view.record.envelope());
  });
  return envelopes;
}

index::NetworkSize PeersOfPeers::Size() const {
  const double least = static_cast<double>(ports_.roster.alive_count()) + 1;
  index::NetworkSize size = gossip_.Size().value_or(index::NetworkSize{least, 0});
  size.peers = std::max(size.peers, least);
  return size;
}

index::Gossip::View PeersOfPeers::ViewFor(const PeerId& peer) const {
  const index::RoomMask rooms = ports_.rooms.RoomsOf(peer);
  return {rooms,
          [this, rooms] {
            std::vector<index::PeerName> own{index::PeerNameOf(self_)};
            ForEachHeard(rooms, Duration::max(), [&](const index::PeerView& view) {
              own.push_back(index::PeerNameOf(view.record.id()));
            });
            std::ranges::sort(own);
            return own;
          },
          [this](index::PeerName name, bool whole) {
            if (name == index::PeerNameOf(self_)) return true;
            const auto* view = ports_.roster.FindByName(name);
            // Somebody has just met one that is gone for us: it may be back with another record.
            return view != nullptr && (whole || view->state != index::PeerState::kGone);
          }};
}

void PeersOfPeers::Perform(const index::GossipActions& actions) {
  for (const auto& action : actions) {
    std::visit([this](const auto& ask) { Ask(ask); }, action);
  }
  Schedule();
}

void PeersOfPeers::Ask(const index::AskNames& ask) {
  const auto endpoint = ports_.dial(ask.peer);
  if (!endpoint) return gossip_.OnFailed(ports_.loop.Now(), ask.peer);
  ports_.client.FetchNames(ask.peer, *endpoint, ask.whole,
                           [this, peer = ask.peer](Result<std::vector<index::PeerName>> names) {
                             ports_.loop.Post([this, peer, names = std::move(names)]() mutable {
                               index::GossipActions actions;
                               if (names) {
                                 gossip_.OnNames(peer, *std::move(names), ViewFor(peer), actions);
                               } else {
                                 spdlog::debug("peers of {}: {}", peer.Short(), names.error().text);
                                 gossip_.OnFailed(ports_.loop.Now(), peer);
                               }
                               Perform(actions);
                             });
                           });
}

void PeersOfPeers::Ask(const index::AskRecords& ask) {
  const auto endpoint = ports_.dial(ask.peer);
  if (!endpoint) return gossip_.OnFailed(ports_.loop.Now(), ask.peer);
  ports_.client.FetchPeers(
      ask.peer, *endpoint, ask.names,
      [this, peer = ask.peer](Result<std::vector<index::SignedRecord>> records) {
        ports_.loop.Post([this, peer, records = std::move(records)] {
          index::GossipActions actions;
          if (records) {
            for (const auto& record : *records) ports_.on_record(record);
            gossip_.OnRecords(peer, ViewFor(peer), actions);
          } else {
            spdlog::debug("records of peers of {}: {}", peer.Short(), records.error().text);
            gossip_.OnFailed(ports_.loop.Now(), peer);
          }
          Perform(actions);
        });
      });
}

void PeersOfPeers::Schedule() {
  const Time next = gossip_.NextDeadline();
  if (next == kNever || next >= scheduled_) return;
  scheduled_ = next;
  ports_.loop.After(std::max(next - ports_.loop.Now(), Duration(1000)), [this, next] {
    if (scheduled_ != next) return;
    scheduled_ = kNever;
    index::GossipActions actions;
    gossip_.OnDeadline(ports_.loop.Now(), actions);
    Perform(actions);
  });
}

}  // namespace shoal::agent
