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

#include "base/executor.h"
#include "fetch/transport/peer_client.h"
#include "index/catalog.h"
#include "index/inventory.h"
#include "index/peer_index.h"
#include "index/roster.h"
#include "index/static/static_index.h"

namespace shoal::agent {

class Discovery {
 public:
  struct Options {
    std::string name;
    std::vector<index::Endpoint> endpoints;
    std::vector<std::string> rooms;  // empty: we share nothing and look for nobody
    index::RosterLimits roster;
    Duration resolve_timeout = std::chrono::milliseconds(50);
  };
  struct Ports {
    Loop& loop;
    Executor& database;  // where catalog writes may block; one thread
    index::Catalog& catalog;
    fetch::PeerClient& client;
    const index::Inventory& inventory;
    std::function<void(const PeerId&)> on_peer_appeared;
    std::function<void(const PeerId&)> on_peer_gone;
    std::function<void()> on_catalog_changed;
  };

  Discovery(Options options, index::SigningKey key, Ports ports, Rng rng);

  // Before Start.
  void Add(std::unique_ptr<index::PeerIndex> peer_index);
  void AddStatic(std::unique_ptr<index::StaticIndex> fixed);
  void Start();
  // No callback of an index comes after this.
  void StopIndexes() {
    static_ = nullptr;
    indexes_.clear();
  }

  // What the peer indexes call.
  void OnRecord(const index::SignedRecord& record);
  void OnEndpoint(const index::Endpoint& endpoint);
  void OnHead(const PeerId& peer, std::uint64_t epoch, std::uint64_t head);

  // Our inventory has news: tells the indexes, at most every kNewsSpacing.
  void OnInventoryChanged();

  // What fetch/ asks.
  [[nodiscard]] std::vector<PeerId> HoldersOf(const Digest& digest) const;
  void Resolve(const Digest& digest, std::function<void(std::vector<PeerId>)> some,
               std::function<void()> done);
  // The same by the peer indexes alone, without asking peers.
  void ResolveInIndexes(const Digest& digest, std::function<void(std::vector<PeerId>)> some,
                        std::function<void()> done);
  [[nodiscard]] std::optional<index::Endpoint> Dial(const PeerId& peer) const;
  void OnUnreachable(const PeerId& peer);
  void Ban(const PeerId& peer, Duration duration, const std::string& reason);
  void OnTransfer(const Digest& digest, bool begins);
  // Peers that live and are not banned.
  [[nodiscard]] std::vector<PeerId> Living() const;
  // `done` is called once, on the loop; with nothing when no index server answered.
  void AskServers(const index::SwarmAsk& ask,
                  std::function<void(std::optional<index::SwarmAnswer>)> done);
  // `done` is called once, on the loop; with nothing when the peer did not answer.
  void AskSwarm(const PeerId& peer, const index::SwarmAsk& ask,
                std::function<void(std::optional<index::SwarmAnswer>)> done);

  // What peers and people ask.
  [[nodiscard]] const index::SignedRecord& self() const { return *self_; }
  [[nodiscard]] std::vector<std::string> RecordsToPassOn() const;
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

  void Renew();
  void Advertise();
  void Perform(const index::RosterActions& actions);
  void Sync(const PeerId& peer);
  void OnKeys(const PeerId& peer, Result<index::KeysPage> page);
  void AskForPeers(const PeerId& peer);
  void Schedule();
  [[nodiscard]] bool IsBanned(const PeerId& peer) const;

  Options options_;
  index::SigningKey key_;
  Ports ports_;
  index::Roster roster_;
  Rng rng_;
  std::vector<std::unique_ptr<index::PeerIndex>> indexes_;
  index::StaticIndex* static_ = nullptr;  // one of indexes_
  std::optional<index::SignedRecord> self_;
  std::uint64_t sequence_ = 0;
  std::unordered_map<PeerId, Banned> banned_;
  std::unordered_map<PeerId, std::size_t> endpoint_choice_;
  std::unordered_set<std::string> endpoints_asked_;
  bool news_pending_ = false;
  Time last_news_{};
  Time scheduled_ = kNever;
};

}  // namespace shoal::agent
