// SlotKeeper: between the calls that read blobs from registries with a bound, SlotShare, which
// decides how many connections each may have, and the arbiters, who grant them. On the loop.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/executor.h"
#include "index/swarm_table.h"
#include "registry-proxy/slot_share.h"

namespace shoal::agent {

// The digest under which a registry's slots are asked for. docs/PROTOCOL.md, "Connections to a
// registry".
Digest RegistryKey(const std::string& registry);

class SlotKeeper : public std::enable_shared_from_this<SlotKeeper> {
 public:
  using CallId = proxy::SlotShare::CallId;
  using Use = proxy::SlotShare::Use;
  struct Ports {
    Loop& loop;
    PeerId self;
    std::function<int(const std::string& registry)> bound;
    // As RangedUpstream has them.
    std::function<std::optional<Use>(CallId)> use_of;
    std::function<std::optional<Use>(CallId, int connections)> set_share;
    // Arbiters::Ask: `done` is called once, with nothing when nobody answers.
    std::function<void(const index::SwarmAsk&,
                       std::function<void(std::optional<index::SwarmAnswer>)> done)>
        ask;
  };

  SlotKeeper(Ports ports, Rng rng) : ports_(std::move(ports)), share_(rng) {}

  // A call has begun, or what it has or wants is another.
  void OnUse(CallId call, const std::string& registry);
  // Nothing is asked or told any more.
  void Stop() { stopped_ = true; }

  [[nodiscard]] int HeldOf(const std::string& registry) const { return share_.HeldOf(registry); }

 private:
  void Tell(CallId call, const std::optional<Use>& use, proxy::SlotShare::Out& out);
  void Carry(proxy::SlotShare::Out out);
  void Ask(const proxy::SlotShare::Ask& ask);
  void Schedule();

  Ports ports_;
  proxy::SlotShare share_;
  std::map<CallId, std::string> calls_;  // that share_ knows
  Time scheduled_ = kNever;
  bool stopped_ = false;
};

}  // namespace shoal::agent
