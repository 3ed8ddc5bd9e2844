// ServerChoice: which of several index servers an agent uses for which key, and when it asks one
// that was away whether it is back.
//
// Rules
// - Each key has its own order of the servers, by highest random weight of (key, server): so all
//   agents that use the same servers agree, keys are spread evenly, and when a server goes only its
//   own keys move. Source: Thaler and Ravishankar, "A name-based mapping scheme for rendezvous",
//   1996. A key's server is the first in its order that is in use.
// - A server is in use from the beginning, and until a request to it fails.
// - One that failed is asked again after retry_min, then after twice as long each time, up to
//   retry_max; each wait is between a half and the whole of that, so that agents part.
// - When it answers it is in use again after a wait of up to return_spread, so that not all agents
//   come back in the same moment; at once when no other is in use.
// - A server that fails again within `steady` of its return goes on with the longer waits: it
//   answers when asked, and then does not do its work.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/time.h"

namespace shoal::index {

class ServerChoice {
 public:
  struct Limits {
    Duration retry_min = std::chrono::seconds(1);
    Duration retry_max = std::chrono::seconds(15);
    Duration return_spread = std::chrono::seconds(3);
    Duration steady = std::chrono::seconds(30);
  };
  // servers  their URLs without fragments, as all agents write them; at least one.
  ServerChoice(const std::vector<std::string>& servers, Limits limits, Rng rng);

  // The key's server; nullopt when none is in use.
  [[nodiscard]] std::optional<std::size_t> Of(std::string_view key) const;
  // All servers in the key's order.
  [[nodiscard]] std::vector<std::size_t> OrderOf(std::string_view key) const;
  [[nodiscard]] bool InUse(std::size_t server) const { return servers_[server].in_use; }

  // What came of a request to it. Both return whether the keys' servers have changed.
  bool OnAnswered(Time now, std::size_t server);
  bool OnFailed(Time now, std::size_t server);

  struct Due {
    std::vector<std::size_t> to_ask;  // each is then told by OnAnswered or OnFailed
    bool changed = false;             // the keys' servers have
  };
  Due OnDeadline(Time now);
  [[nodiscard]] Time NextDeadline() const;
  void CheckInvariants() const;

 private:
  struct Server {
    std::uint64_t hash = 0;
    bool in_use = true;
    int failures = 0;         // in a row
    Time since{};             // in use again since; Time{}: from the beginning
    Time ask_at = kNever;     // not in use: when to ask it; kNever while it is asked
    Time return_at = kNever;  // not in use, but answers: when it is in use again
  };

  [[nodiscard]] bool AnyInUse() const;
  Time AskAt(Time now, int failures);
  void Use(Time now, Server& server);

  const Limits limits_;
  Rng rng_;
  std::vector<Server> servers_;
};

}  // namespace shoal::index
