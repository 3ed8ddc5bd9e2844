// ./dev sim SCENARIO: one run of the simulator.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "tests/sim/federation.h"
#include "tests/sim/feed_room.h"
#include "tests/sim/index_room.h"
#include "tests/sim/scenario.h"

namespace shoal::sim {
namespace {

std::string Names() {
  std::string names = "Scenarios:\n";
  for (const Scenario& scenario : Scenarios()) {
    names += "  " + std::string(scenario.name);
    names.append(18 - std::min<std::size_t>(17, std::string(scenario.name).size()), ' ');
    names += std::string(scenario.about) + "\n";
  }
  names += "  feed              messages to all members of a room; takes --hosts, --seed, --loss\n";
  names +=
      "  index             agents that find each other, come and go; --hosts, --seed, --whole\n";
  names += "  federation        index servers, apart and together; --hosts: peers\n";
  return names;
}

int RunServers(const Options& options) {
  FederationOptions federation;
  if (options.hosts > 0) federation.peers = options.hosts;
  const FederationResult result = RunFederation(federation);
  std::fputs(ToTable(federation, result).c_str(), stdout);
  if (result.is_whole()) return 0;
  std::printf("FAILED not every server knew every peer\n");
  return 1;
}

int RunFeed(const Options& options) {
  FeedRoomOptions room;
  if (options.hosts > 0) room.hosts = options.hosts;
  room.seed = options.seed;
  room.loss = options.loss;
  const FeedRoomResult result = RunFeedRoom(room);
  std::fputs(ToTable(room, result).c_str(), stdout);
  if (result.all_given()) return 0;
  std::printf("FAILED not every member was given every message\n");
  return 1;
}

int RunRoom(const Options& options, std::uint32_t whole) {
  IndexRoomOptions room;
  if (options.hosts > 0) room.hosts = options.hosts;
  room.seed = options.seed;
  room.whole = whole;
  const IndexRoomResult result = RunIndexRoom(room);
  std::fputs(ToTable(room, result).c_str(), stdout);
  for (const std::string& failure : result.failures) std::printf("FAILED %s\n", failure.c_str());
  return result.failures.empty() ? 0 : 1;
}

int Main(int argc, char** argv) {
  Options options;
  std::uint32_t whole = 0;
  CLI::App app("Simulates a cluster of agents: the same cores, simulated links.", "./dev sim");
  app.add_option("scenario", options.scenario)->required();
  app.add_option("--hosts", options.hosts)->check(CLI::Range(2, 100'000));
  app.add_option("--seed", options.seed);
  app.add_flag("--index", options.index, "with an index server");
  app.add_option("--rate-mbit", options.rate_mbit, "of each host, both ways");
  app.add_option("--registry-mbit", options.registry_mbit);
  app.add_option("--size-mib", options.size_mib, "of an image");
  app.add_option("--layers", options.layers);
  app.add_option("--images", options.images);
  app.add_option("--piece-kib", options.piece_kib);
  app.add_option("--stall-ms", options.stall_ms, "fetch.stall");
  app.add_option("--share", options.share, "of the hosts that lie, crash, are full");
  app.add_option("--loss", options.loss, "part of the messages that are lost");
  app.add_option("--queue-ms", options.queue_ms, "what comes to a full link waits so long");
  app.add_option("--watch", options.watch, "say how it goes, every so many simulated seconds");
  app.add_option("--whole", whole, "of index: hosts with a roster of their own");
  app.footer(Names());
  CLI11_PARSE(app, argc, argv);
  if (options.scenario == "feed") return RunFeed(options);
  if (options.scenario == "index") return RunRoom(options, whole);
  if (options.scenario == "federation") return RunServers(options);
  if (options.hosts > 20'000) {
    std::fprintf(stderr, "--hosts: at most 20000, but for federation\n");
    return 2;
  }
  const Scenario* scenario = FindScenario(options.scenario);
  if (scenario == nullptr) {
    std::fprintf(stderr, "there is no scenario \"%s\"\n%s", options.scenario.c_str(),
                 Names().c_str());
    return 2;
  }
  const Result result = RunScenario(*scenario, options);
  std::fputs(ToTable(options, result).c_str(), stdout);
  if (result.failures.empty()) return 0;
  for (const std::string& failure : result.failures) std::printf("FAILED %s\n", failure.c_str());
  std::printf("again: %s\n", options.Replay().c_str());
  return 1;
}

}  // namespace
}  // namespace shoal::sim

int main(int argc, char** argv) { return shoal::sim::Main(argc, argv); }
