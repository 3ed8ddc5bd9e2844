// Arbiters: asks those that know who fetches a blob and who leads it, and is one itself.
// docs/SWARM.md, "Meeting". On the loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "index/swarm_table.h"

namespace shoal::agent {

// So many members of the room are asked: one that died or does not know us is made up for.
inline constexpr std::size_t kArbiters = 3;
// The best ranked arbiter may take so long; then the best that has answered counts.
inline constexpr Duration kArbiterPatience = std::chrono::milliseconds(100);
// So long while nobody has answered: on a busy host all may be late, and whoever goes by none reads
// the upstream, as the others may do.
inline constexpr Duration kSilencePatience = std::chrono::milliseconds(250);
// For slots of a registry: another's word instead may let more connections be open than may be, and
// whoever waits for a slot has time.
inline constexpr Duration kSlotArbiterPatience = std::chrono::seconds(1);

// A lead, or who wishes it, says so again after this though it has had no answer: a lease is short.
inline constexpr Duration kRenewAgain = index::kLeadLease / 2;

class Arbiters {
 public:
  using Met = std::function<void(std::vector<PeerId>)>;
  using Done = std::function<void(std::optional<index::SwarmAnswer>)>;

  struct Ports {
    Loop& loop;
    PeerId self;
    // Living members of the blob's room that may be asked now.
    std::function<std::vector<PeerId>(const Digest&)> living;
    // `done` is called once on the loop; with nothing when the peer did not answer.
    std::function<void(const PeerId&, const index::SwarmAsk&, Done done)> ask_peer;
    // The same of an index server; null where there is none.
    std::function<void(const index::SwarmAsk&, Done done)> ask_server;
    // Whether there is one now; null: when ask_server is there.
    std::function<bool()> has_server;
    // By what the blob's swarm goes in our own table; null: by its digest.
    std::function<Digest(const Digest&)> table_key;
  };

  explicit Arbiters(Ports ports);

  // Tells the arbiters of the ask's digest. met: members, as they are named.
  // An index server that answers decides; else the best ranked peer of those that answered within
  // kArbiterPatience (kSlotArbiterPatience), or the first to do so within kSilencePatience. done:
  // once, and but for slots again for each answer that comes later from a better one: two hosts
  // that both lead, because the best arbiter was slow, should not do so until they ask again.
  // An arbiter that has not answered yet is not told the same once more: its answer is the newer
  // asking's. Where all are slow, more askings would only make them slower. Who wishes or keeps the
  // lead does tell it again, after kRenewAgain.
  void Ask(const index::SwarmAsk& ask, Met met, Done done);
  [[nodiscard]] bool any(const Digest& digest) const {
    return has_server() || !ports_.living(digest).empty();
  }

  // A member asks us; the digest is that of our table.
  index::SwarmAnswer OnAsk(const index::SwarmAsk& ask);
  void OnPeerGone(const PeerId& peer) { table_.OnPeerGone(ports_.loop.Now(), peer); }

 private:
  struct Round;
  struct UnderWay;
  // By who is asked (nullopt: the index server) and the digest.
  using UnderWays = std::map<std::pair<std::optional<PeerId>, Digest>, std::shared_ptr<UnderWay>>;
  [[nodiscard]] bool has_server() const {
    return ports_.ask_server && (!ports_.has_server || ports_.has_server());
  }
  void Send(const std::optional<PeerId>& to, const index::SwarmAsk& ask,
            std::shared_ptr<Round> round, std::size_t rank);
  static void Take(const std::shared_ptr<Round>& round, std::size_t rank,
                   std::optional<index::SwarmAnswer> answer);
  static void Decide(Round& round);

  Ports ports_;
  index::SwarmTable table_;
  std::shared_ptr<UnderWays> under_way_;  // shared with those askings
};

}  // namespace shoal::agent
