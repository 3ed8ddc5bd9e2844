// World: everything there is, and who acts on it.
//
// The parts each own one matter; the world owns the parts, carries messages, and hands every event
// to whom it concerns. Nothing here decides what shoal decides: that is done by the cores.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "tests/sim/blobs.h"
#include "tests/sim/checker.h"
#include "tests/sim/engine.h"
#include "tests/sim/host.h"
#include "tests/sim/message.h"
#include "tests/sim/network.h"

namespace shoal::sim {

class Catalog;
class Fetches;
class Givers;
class Pulls;
class Registry;
class Slots;
class Swarms;

struct Latencies {
  Duration rack = std::chrono::microseconds(60);  // one way
  Duration zone = std::chrono::microseconds(150);
  Duration far = std::chrono::microseconds(600);
  Duration jitter = std::chrono::microseconds(60);    // fixed for each pair: TCP keeps the order
  Duration handling = std::chrono::microseconds(80);  // of a message by whoever gets it
  Duration connect = std::chrono::microseconds(800);  // TLS arithmetic of a first contact
};

struct WorldLimits {
  Latencies latencies;
  double loss = 0;                                          // of messages
  Duration queue{0};                                        // of a full link
  Duration gone_after = std::chrono::seconds(3);            // until rosters miss a silent host
  Duration catalog_after = std::chrono::milliseconds(500);  // until catalogs list a holder
  std::uint32_t hosts_per_rack = 40;
  std::uint32_t racks_per_zone = 25;
};

class World {
 public:
  World(std::uint64_t seed, WorldLimits limits);
  ~World();

  // Building.
  HostId AddHost(double rate, const fetch::DownloadLimits& limits);
  // An index server, which everybody asks in place of arbiters. A host that pulls nothing.
  void AddIndexServer();
  [[nodiscard]] std::optional<HostId> index_server() const { return index_server_; }
  // Plans what the scenario does to the world.
  void At(Time when, std::function<void()> what);

  // Faults.
  void Crash(HostId host);  // the agent is killed; what it wrote lately may be lost
  void Restart(HostId host);
  void SetDark(HostId host, bool dark);
  void SetRate(HostId host, double rate);
  // Nothing gets from the first group's hosts to the second's. Hosts of no group reach all.
  void Split(const std::function<int(const Host&)>& group, bool one_way);
  void Heal();

  // Runs until every pull is over and nothing more is planned, or `until`.
  void Run(Time until);

  // Used by the parts.
  void Send(Message message);
  void Plan(Time at, EventKind kind, std::uint32_t a, std::uint32_t b = 0);
  [[nodiscard]] bool Reaches(HostId from, HostId to) const;
  // Bytes need both directions.
  [[nodiscard]] bool Connects(HostId a, HostId b) const { return Reaches(a, b) && Reaches(b, a); }
  [[nodiscard]] Duration Latency(HostId from, HostId to) const;
  // Neither the registry nor the index server.
  [[nodiscard]] bool IsAgent(HostId host) const;
  [[nodiscard]] HostId HostOf(const PeerId& peer) const;
  // How a blob is cut where a host begins with it.
  const Cut& CutAt(HostId host, BlobId blob);
  [[nodiscard]] Time now() const { return engine.now(); }
  // Seconds since the start, for reports.
  [[nodiscard]] double seconds() const;

  Engine engine;
  Network network;
  Blobs blobs;
  Checker checker;
  std::vector<Host> hosts;
  Pool<Message> messages;
  std::unique_ptr<Registry> registry;  // none: nobody can ask the upstream
  std::unique_ptr<Catalog> catalog;
  std::unique_ptr<Fetches> fetches;
  std::unique_ptr<Givers> givers;
  std::unique_ptr<Swarms> swarms;
  std::unique_ptr<Slots> slots;  // none: the registry has no bound
  std::unique_ptr<Pulls> pulls;
  const WorldLimits limits;
  std::uint64_t message_count = 0;

  // One for each matter, so that a change in one place does not stir the others.
  Rng fetch_rng;
  Rng network_rng;
  Rng catalog_rng;
  Rng script_rng;

 private:
  void Dispatch(const Event& event);
  void Deliver(std::uint32_t slot);
  void Gone(HostId host);
  // After reachability changed: flows that cannot move stop, and the others go on.
  void Reblock();

  // Where a host stands.
  [[nodiscard]] std::uint32_t RackOf(HostId host) const { return host / limits.hosts_per_rack; }
  [[nodiscard]] std::uint32_t ZoneOf(HostId host) const {
    return RackOf(host) / limits.racks_per_zone;
  }

  std::vector<PeerId> ids_;  // of hosts: looked at for every message, where hosts are not
  std::unordered_map<std::uint64_t, Time> latest_;  // message of each pair, with queues
  int dark_ = 0;                                    // hosts that are
  std::vector<std::function<void()>> script_;
  std::size_t script_left_ = 0;
  std::vector<std::int8_t> groups_;  // by host; empty while nothing is cut
  bool one_way_ = false;
  std::optional<HostId> index_server_;
};

}  // namespace shoal::sim
