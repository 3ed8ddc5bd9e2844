// Scenario: a world, what happens in it, and what must come of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/registry.h"
#include "tests/sim/world.h"

namespace shoal::sim {

// What the command line may change. 0 or unset: as the scenario has it.
struct Options {
  std::string scenario;
  std::uint32_t hosts = 0;
  std::uint64_t seed = 1;
  bool index = false;    // an index server
  double rate_mbit = 0;  // of every host
  double registry_mbit = 0;
  int size_mib = 0;  // of an image
  int layers = 0;
  int images = 0;
  int piece_kib = 0;
  int stall_ms = 0;  // fetch.stall
  double share = 0;  // of the hosts: that lie, crash, have a full disk; or of T0
  double loss = 0;   // of messages
  int queue_ms = 0;  // what waits before a full link

  double watch = 0;  // seconds between lines that say how it goes; changes the trace

  // The command line that runs the same thing again.
  [[nodiscard]] std::string Replay() const;
};

// What must come of it; checked from outside.
struct Expectation {
  std::optional<double> upstream_max;  // bytes from the upstream, in copies of all that was pulled
  std::uint64_t failed_min = 0;        // pulls that fail, each with a proper error
  std::uint64_t failed_max = 0;
  std::optional<double> waste_max;  // of bytes that were useful
};

struct Scenario {
  const char* name;
  const char* about;
  Options defaults;
  int test_size_mib;  // of an image, where it is run small
  std::function<Expectation(World&, const Options&)> set_up;
};

const std::vector<Scenario>& Scenarios();
const Scenario* FindScenario(const std::string& name);

struct Result {
  std::uint32_t hosts = 0;
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  std::uint64_t cut_short = 0;
  double t0 = 0;  // seconds
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  double slowest = 0;
  double upstream_blobs = 0;
  double wasted_part = 0;
  std::uint64_t spoiled = 0;  // pieces here for a while under a false chain
  std::uint64_t bans = 0;
  double messages_per_host = 0;
  std::uint64_t asked = 0;  // for pieces, at holders
  std::uint64_t busy = 0;
  std::uint64_t taken_back = 0;
  std::uint64_t maps = 0;        // asked
  std::uint64_t told = 0;        // answers about pieces that told of others
  std::uint32_t polls_peak = 0;  // questions for maps held at one host
  std::size_t upstream_peak = 0;
  double cpu = 0;
  double simulated = 0;
  std::uint64_t events = 0;
  std::uint64_t trace = 0;
  std::vector<std::string> failures;
};

// Runs it to its end. Options are completed with the scenario's own.
Result RunScenario(const Scenario& scenario, Options& options);
std::string ToTable(const Options& options, const Result& result);

}  // namespace shoal::sim
