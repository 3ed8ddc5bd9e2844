// Registry: the upstream, and what may go wrong with it.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/world.h"

namespace shoal::sim {

struct RegistryLimits {
  double rate = 125e6;                                  // bytes a second, to all together
  double connection_rate = kUncapped;                   // to one
  Duration first_byte = std::chrono::milliseconds(30);  // token, redirect, lookup
  std::size_t connections_max = 1'000'000;              // more are answered 429
  Duration retry_after = std::chrono::seconds(1);
  std::size_t bound = 1'000'000;  // more break a bound that all hosts have
  double fails = 0;               // probability that an answer is 500
  double truncates = 0;           // that an answer ends early
};

class Registry {
 public:
  enum class Outage { kNone, kRefuses, kHangs };

  Registry(World& world, RegistryLimits limits);

  [[nodiscard]] HostId host() const { return host_; }
  void OnAsk(const Message& ask);
  // Connections under way break, and new ones meet the outage.
  void SetOutage(Outage outage);

  // For checkers and the report.
  [[nodiscard]] Bytes given() const { return world_.hosts[host_].given; }
  [[nodiscard]] std::uint64_t asked() const { return asked_; }
  [[nodiscard]] std::size_t connections_peak() const { return connections_peak_; }

 private:
  World& world_;
  const RegistryLimits limits_;
  HostId host_;
  Outage outage_ = Outage::kNone;
  Rng rng_;
  std::uint64_t asked_ = 0;
  std::size_t connections_peak_ = 0;
};

}  // namespace shoal::sim
