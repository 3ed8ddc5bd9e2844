// Slots: connections to a registry that has a bound, as agent/slot_keeper.h shares them out among
// a host's fetches and asks the arbiters for them (docs/SWARM.md, "A bound on connections to one
// registry").
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "registry-proxy/slot_share.h"
#include "tests/sim/fetches.h"
#include "tests/sim/message.h"
#include "tests/sim/world.h"

namespace shoal::sim {

class Slots {
 public:
  // most: connections of all hosts together.
  Slots(World& world, int most) : world_(world), most_(most) {}

  // A fetch asks the registry: the message leaves when there is a connection for it.
  void OnAsk(Message ask);
  // The request is over, or taken back; of others nothing is done.
  void OnEnd(HostId host, FetchRef fetch, fetch::RequestId request);
  // Not sent yet.
  [[nodiscard]] bool Waits(HostId host, FetchRef fetch, fetch::RequestId request) const;
  // What the arbiters said; nullopt when none did.
  void OnAnswer(HostId host, std::uint32_t life, std::optional<int> granted);
  void OnDue(HostId host);
  // What it had is closed, and forgotten.
  void Crash(HostId host);

  // The name under which arbiters know the registry.
  [[nodiscard]] static Digest Key();

 private:
  using Share = proxy::SlotShare;
  struct Call {
    FetchRef fetch;
    fetch::RequestId request = 0;
    std::optional<Message> ask;  // until it is sent
  };
  struct Keeper {
    explicit Keeper(Rng rng) : share(rng) {}
    Share share;
    std::map<Share::CallId, Call> calls;
    Time due = kNever;
    std::uint32_t life = 0;
  };

  Keeper& KeeperOf(HostId host);
  [[nodiscard]] static std::map<Share::CallId, Call>::iterator Find(Keeper& keeper, FetchRef fetch,
                                                                    fetch::RequestId request);
  void Carry(HostId host, Share::Out out);
  void Schedule(HostId host);

  World& world_;
  const int most_;
  std::map<HostId, std::unique_ptr<Keeper>> keepers_;
  Share::CallId next_call_ = 1;
  std::uint32_t lives_ = 0;
};

}  // namespace shoal::sim
