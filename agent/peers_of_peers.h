// PeersOfPeers: carries out what Gossip decides, and tells what we know to those who ask. On the
// loop.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/rooms.h"
#include "base/executor.h"
#include "base/rng.h"
#include "fetch/transport/peer_client.h"
#include "index/gossip.h"
#include "index/roster.h"

namespace shoal::agent {

class PeersOfPeers {
 public:
  struct Ports {
    Loop& loop;
    fetch::PeerClient& client;
    const index::Roster& roster;
    Rooms& rooms;
    std::function<std::optional<index::Endpoint>(const PeerId&)> dial;
    std::function<void(const index::SignedRecord&)> on_record;
  };

  PeersOfPeers(Ports ports, PeerId self, Rng rng);

  // It was heard from and is in a room with us; and that it is gone.
  void OnMember(const PeerId& peer);
  void OnMemberGone(const PeerId& peer);

  // What a member may hear of from us: those that we have heard from ourselves, in a room with it.
  [[nodiscard]] std::vector<index::PeerName> NamesFor(const PeerId& asker, bool whole) const;
  // The same as envelopes, of these; of some when none are named. At most kRecordsAskedMax.
  [[nodiscard]] std::vector<std::string> RecordsFor(
      const PeerId& asker, const std::vector<index::PeerName>& names) const;

  // With us; at least those that live. Its error is 0 as long as there is nothing to reckon by.
  [[nodiscard]] index::NetworkSize Size() const;

 private:
  [[nodiscard]] index::Gossip::View ViewFor(const PeerId& peer) const;
  template <class F>
  void ForEachHeard(index::RoomMask rooms, Duration fresh, F&& f) const;
  void Perform(const index::GossipActions& actions);
  void Ask(const index::AskNames& ask);
  void Ask(const index::AskRecords& ask);
  void Schedule();

  Ports ports_;
  PeerId self_;
  index::Gossip gossip_;
  Time scheduled_ = kNever;
};

}  // namespace shoal::agent
