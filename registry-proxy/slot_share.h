// SlotShare: which of this host's calls may have how many connections to a registry whose
// connections are bounded for all hosts together, and what to ask of the arbiters for them. Owns no
// connection. docs/SWARM.md, "A bound on connections to one registry".
//
// Rules
// - A call is begun with no share, wishes one connection at first, and opens no more than its
//   share. What it has open and what it may open both count as held, whichever is more.
// - One connection for each call that waits, the oldest first; then a second for whoever wishes
//   one, and so on.
// - What was granted counts for kSlotLease. Before any arbiter has answered, once all were silent
//   for that long, and when calls have had nothing for kSlotPatience, there is one in all.
// - Where less was granted than is held, shares beyond the first sink. The first is never taken
//   from a call that has begun to read: it is given back when it ends.
// - Arbiters are asked when a wish rises or what is held is another, again at kSlotPaceWaiting
//   while less was granted than is wished, else at kSlotPace; one asking of a registry at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "fetch/upstream_port.h"
#include "index/registry_slots.h"

namespace shoal::proxy {

inline constexpr Duration kSlotPace = std::chrono::seconds(1);  // a third of the lease
inline constexpr Duration kSlotPaceWaiting = std::chrono::milliseconds(250);
inline constexpr Duration kSlotPatience = std::chrono::minutes(2);

class SlotShare {
 public:
  using CallId = fetch::UpstreamPort::CallId;  // later calls have higher ones

  // What a call has and wants.
  struct Use {
    int open = 0;        // connections
    int wish = 1;        // connections it would use; at least 1
    bool begun = false;  // it has had one
    bool over = false;   // it opens no more
  };
  // Ask the arbiters; answer with OnAnswer.
  struct Ask {
    std::string registry;
    index::SlotAsk slots;
  };
  // Tell the call how many it may have, and me what it then has (OnUse).
  struct Share {
    CallId call = 0;
    int connections = 0;
  };
  struct Out {
    std::vector<Ask> asks;
    std::vector<Share> shares;
  };

  explicit SlotShare(Rng rng) : rng_(rng) {}

  // A call to a registry that may have `most` connections of all hosts.
  void OnCall(Time now, CallId call, const std::string& registry, int most, Out& out);
  // Of calls that are over and have nothing open nothing more is said.
  void OnUse(Time now, CallId call, const Use& use, Out& out);
  // granted  nullopt when no arbiter answered.
  void OnAnswer(Time now, const std::string& registry, std::optional<int> granted, Out& out);
  void OnDeadline(Time now, Out& out);
  [[nodiscard]] Time NextDeadline() const;

  // Connections that are open or may be opened now.
  [[nodiscard]] int HeldOf(const std::string& registry) const;
  void CheckInvariants() const;

 private:
  struct Call {
    Use use;
    int share = 0;
    [[nodiscard]] int Held() const { return share > use.open ? share : use.open; }
  };
  struct Registry {
    std::map<CallId, Call> calls;  // the oldest first
    int most = 1;
    int granted = 0;
    std::optional<Time> heard_at;       // of an arbiter
    std::optional<Time> starved_since;  // calls wait, and none has anything
    bool silent = false;                // nobody answered the last asking
    bool asking = false;
    index::SlotAsk told;
    Time ask_at{};  // not asked again before, but for news
  };

  void Settle(Time now, const std::string& name, Registry& registry, Out& out);
  [[nodiscard]] static int Allowed(Time now, const Registry& registry);
  static void Divide(int allowed, Registry& registry, Out& out);
  void MaybeAsk(Time now, const std::string& name, Registry& registry, Out& out);

  Rng rng_;
  std::map<std::string, Registry> registries_;  // with calls, or with something told; a handful
  std::map<CallId, std::string> registry_of_;
};

}  // namespace shoal::proxy
