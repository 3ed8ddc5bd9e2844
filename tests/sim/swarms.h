// Swarms: how members ask the arbiters of a blob, as agent/arbiters.h does it; and the arbiters.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "tests/sim/fetches.h"
#include "tests/sim/world.h"

namespace shoal::sim {

class Swarms {
 public:
  explicit Swarms(World& world) : world_(world) {}

  // A fetch tells its arbiters; Fetches hears of the answer, unless the ask is its last.
  void Ask(FetchId id, const fetch::AskSwarm& action);
  // A host asks for connections to the registry; Slots hears of the answer.
  void AskForSlots(HostId host, std::uint32_t life, const index::SlotAsk& slots);
  // At an arbiter; and back at the asker.
  void OnAsk(const Message& ask);
  void OnAnswer(const Message& answer);
  // An asking took long: the best answer so far counts.
  void OnLate(std::uint32_t round, std::uint32_t generation);
  // All rosters miss the peer, or have it again.
  void OnPeerGone(HostId gone);
  void OnRosterChange() { ranks_.clear(); }

 private:
  // Arbiters by rank, an index server before all.
  static constexpr std::size_t kArbitersMax = 4;
  struct Round {
    FetchRef fetch;
    std::optional<HostId> slots_of;  // in place of a fetch
    std::uint32_t life = 0;
    std::size_t count = 0;
    std::array<HostId, kArbitersMax> arbiters{};
    std::array<bool, kArbitersMax> over{};
    std::array<std::unique_ptr<index::SwarmAnswer>, kArbitersMax> answers{};
  };

  const std::vector<HostId>& ArbitersOf(const Digest& digest);
  void Send(HostId from, BlobId blob, const index::SwarmAsk& ask, Round round, Duration patience);
  void Decide(std::uint32_t round, bool is_late);

  World& world_;
  Pool<Round> rounds_;
  std::unordered_map<Digest, std::vector<HostId>> ranks_;
};

}  // namespace shoal::sim
