// RegistrySlots: how many connections each peer may have to a registry whose connections are
// bounded. Part of an arbiter's memory, beside SwarmTable. docs/SWARM.md, "A bound on connections
// to one registry".
//
// Rules
// - The bound is the smallest that the present members of a registry ask with.
// - A peer is a member until kSlotLease after its last asking. Of what it says it holds and what
//   was granted to it, whichever is more counts as used.
// - Shares are max-min fair. The line, by which slots that are not enough are given: those that
//   have had some for less than kSlotTurn; those that have none, who waited longest first; the
//   others, who had theirs for the shortest time first.
// - A slot that is free is kept for whoever in the line before lacks some of his share.
// - A share that sinks is told at once; its slots are free when the peer says that it holds less.
// - A table that is full takes nobody new: what it knows is in use.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "base/digest.h"
#include "base/time.h"

namespace shoal::index {

inline constexpr Duration kSlotLease = std::chrono::seconds(3);
// Long enough to read some small blobs, or much of a large one, before others come.
inline constexpr Duration kSlotTurn = std::chrono::seconds(2);
inline constexpr int kSlotsOfOne = 128;  // that one peer may want or hold
inline constexpr int kSlotsMax = 1000;   // of a registry

struct SlotAsk {
  int want = 0;  // connections that the peer could use
  int held = 0;  // that it has, or may open
  int most = 1;  // the bound it is configured with
  bool operator==(const SlotAsk&) const = default;
};

class RegistrySlots {
 public:
  struct Limits {
    std::size_t registries_max = 256;
    std::size_t members_max = 256;  // of a registry; a member costs about 100 bytes
  };

  explicit RegistrySlots(Limits limits) : limits_(limits) {}

  // Returns  how many connections the peer may have now; nullopt when the table is full.
  std::optional<int> OnAsk(Time now, const Digest& registry, const PeerId& peer,
                           const SlotAsk& ask);

  [[nodiscard]] std::size_t registry_count() const { return registries_.size(); }
  // That count as used; 0 for a registry that nobody asked for.
  [[nodiscard]] int UsedOf(const Digest& registry) const;
  void CheckInvariants() const;

 private:
  struct Member {
    int want = 0;
    int held = 0;
    int most = 1;
    int granted = 0;
    Time until{};              // it is a member
    Time since{};              // it has had some; or has had none, and waits
    std::uint64_t number = 0;  // of its joining: who came first, of those that came at once
    int share = 0;             // what it is due
    [[nodiscard]] int Used() const { return granted > held ? granted : held; }
  };
  struct Registry {
    std::unordered_map<PeerId, Member> members;
  };

  void DropExpired(Time now);
  // Returns what is free for `asker` beyond what is kept for those before it; less than 0 when more
  // is used than there is.
  static int Share(Time now, Registry& registry, const Member& asker);

  Limits limits_;
  std::uint64_t next_number_ = 1;
  std::unordered_map<Digest, Registry> registries_;
};

}  // namespace shoal::index
