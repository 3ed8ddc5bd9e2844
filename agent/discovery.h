// Discovery: keeps the roster and the catalog true: advertises us, takes records, syncs with
// peers, and answers who holds what and where to dial. On the loop unless said.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/dial_choice.h"
#include "agent/peers_of_peers.h"
#include "agent/rooms.h"
#include "base/executor.h"
#include "fetch/transport/peer_client.h"
#include "index/catalog.h"
#include "index/inventory.h"
#include "index/peer_index.h"
#include "index/roster.h"
#include "index/static/static_index.h"

namespace shoal::agent {

// What a peer index said to one question.
struct IndexAnswer {
  std::string kind;  // of PeerIndexStatus
  std::size_t found = 0;
  Duration took{};  // from the question to its answer, on the loop
};

class Discovery {
 public:
  struct Options {
    std::string name;
    std::vector<index::Endpoint> endpoints;
    std::vector<index::Endpoint> relays = {};
    index::RosterLimits roster;
    Duration resolve_timeout = std::chrono::milliseconds(50);
  };
  struct Ports {
    Loop& loop;
    Executor& database;  // where catalog writes may block; one thread
    index::Catalog& catalog;
    fetch::PeerClient& client;
    const index::Inventory& inventory;
    Rooms& rooms;  // in none: we share nothing and look for nobody
    std::function<void(const PeerId&)> on_peer_appeared;
    std::function<void(const PeerId&)> on_peer_gone;
    std::function<void()> on_catalog_changed;
  };

  Discovery(Options options, index::SigningKey key, Ports ports, Rng rng);

  // Before Start, or on the loop.
  void Add(std::unique_ptr<index::PeerIndex> peer_index);
  void AddStatic(std::unique_ptr<index::StaticIndex> fixed);
  void Start();
  // No callback of an index comes after this.
  void StopIndexes() {
    statics_.clear();
    indexes_.clear();
  }

  // What Rooms tells: the peer has shown to be in a room with us.
  void OnAdmitted(const PeerId& peer);
  void OnRoomsChanged();

  // What the peer indexes call.
  void OnRecord(const index::SignedRecord& record);
  // peer  who should be there, if that is known.
  void OnEndpoint(const index::Endpoint& endpoint, std::optional<PeerId> peer = std::nullopt);
  void OnHead(const PeerId& peer, std::uint64_t epoch, std::uint64_t head);

  // Our inventory has news: tells the indexes, at most every kNewsSpacing.
  void OnInventoryChanged();

  // What fetch/ asks.
  [[nodiscard]] std::vector<PeerId> HoldersOf(const Digest& digest) const;
  void Resolve(const Digest& digest, std::function<void(std::vector<PeerId>)> some,
               std::function<void()> done);
  // The same by the peer indexes alone, without asking peers; each tells how it went.
  void ResolveInIndexes(const Digest& digest, std::function<void(std::vector<PeerId>)> some,
                        std::function<void(std::vector<IndexAnswer>)> done);
  [[nodiscard]] std::optional<index::Endpoint> Dial(const PeerId& peer) const;
  // The same for a peer that may know that we want this blob.
  [[nodiscard]] std::optional<index::Endpoint> DialFor(const PeerId& peer,
                                                       const Digest& digest) const;
  void OnUnreachable(const PeerId& peer);
  // Living peers that we reach without a relay.
  [[nodiscard]] std::vector<PeerId> Reached() const;
  // Through these others reach us as well.
  void SetRelays(std::vector<index::Endpoint> relays);
  void Ban(const PeerId& peer, Duration duration, const std::string& reason);
  void OnTransfer(const Digest& digest, bool begins);
  // Members of the blob's rooms that live and are not banned.
  [[nodiscard]] std::vector<PeerId> Living(const Digest& digest) const;
  // The same of the one room that the blob's swarm is in.
  [[nodiscard]] std::vector<PeerId> LivingInSwarm(const Digest& digest) const;
  // Of any of these rooms.
  [[nodiscard]] std::vector<PeerId> LivingIn(index::RoomMask rooms) const;
  // `done` is called once, on the loop; with nothing when no index server answered.
  void AskServers(const index::SwarmAsk& ask,
                  std::function<void(std::optional<index::SwarmAnswer>)> done);
  // `done` is called once, on the loop; with nothing when the peer did not answer.
  void AskSwarm(const PeerId& peer, const index::SwarmAsk& ask,
                std::function<void(std::optional<index::SwarmAnswer>)> done);

  // What peers and people ask.
  [[nodiscard]] const index::SignedRecord& self() const { return *self_; }
  [[nodiscard]] const PeersOfPeers& passing() const { return passing_; }
  [[nodiscard]] const index::Roster& roster() const { return roster_; }
  [[nodiscard]] std::vector<index::PeerIndexStatus> IndexStatus() const;
  [[nodiscard]] std::optional<WallTime> BannedUntil(const PeerId& peer) const;
  [[nodiscard]] const Options& options() const { return options_; }

 private:
  struct Banned {
    Time until;
    WallTime wall;
    std::string reason;
  };

  // When we last showed a peer that we are in its rooms.
  struct Met {
    Time at{};
    std::uint64_t revision = 0;  // of the revocations that it was shown
    bool refused = false;        // since then it has let us in no more
    bool under_way = false;
  };

  void Renew();
  void Resign();
  void Admit(const PeerId& peer);
  void Advertise();
  // The rooms in which a meeting with the peer is due.
  [[nodiscard]] std::vector<index::RoomId> MeetingsDue(const PeerId& peer) const;
  // Meets it in all of them; `done` is called once, on the loop.
  void Meet(const PeerId& peer, std::vector<index::RoomId> rooms, std::function<void()> done);
  void FetchKeys(const PeerId& peer);
  // Those of `peers` that may be asked for the blob now. The others are met, and come later.
  std::vector<PeerId> Askable(std::vector<PeerId> peers, const Digest& digest);
  [[nodiscard]] std::optional<index::Key> KeyOf(const Digest& digest) const;
  void Watch();
  void TellOfRevocations();
  void Perform(const index::RosterActions& actions);
  void Sync(const PeerId& peer);
  void OnKeys(const PeerId& peer, Result<index::KeysPage> page);
  void IntroduceTo(const PeerId& peer, const index::Endpoint& endpoint);
  void Schedule();
  [[nodiscard]] bool IsBanned(const PeerId& peer) const;

  Options options_;
  index::SigningKey key_;
  Ports ports_;
  index::Roster roster_;
  PeersOfPeers passing_;
  Rng rng_;
  std::vector<std::unique_ptr<index::PeerIndex>> indexes_;
  std::vector<index::StaticIndex*> statics_;  // of indexes_
  std::optional<index::SignedRecord> self_;
  std::uint64_t sequence_ = 0;
  std::unordered_map<PeerId, Banned> banned_;
  std::unordered_map<PeerId, DialChoice> dial_choices_;
  std::unordered_set<std::string> endpoints_asked_;
  std::unordered_map<PeerId, Met> met_;                        // those of the roster
  std::unordered_map<PeerId, index::SignedRecord> strangers_;  // that share no room with us
  std::unordered_set<PeerId> admitted_;          // those of them that were in a room with us
  std::unordered_map<Digest, index::Key> keys_;  // what is advertised of transfers
  std::uint64_t told_revision_ = 0;
  bool started_ = false;
  bool news_pending_ = false;
  Time last_news_{};
  Time scheduled_ = kNever;
};

}  // namespace shoal::agent
