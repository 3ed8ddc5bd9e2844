// Runs a scenario, checks what came of it, and says so.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>

#include "tests/sim/fetches.h"
#include "tests/sim/givers.h"
#include "tests/sim/pulls.h"
#include "tests/sim/scenario_list.h"
#include "tests/sim/scenario_parts.h"

namespace shoal::sim {
namespace {

// Every pull ends by then: the longest give-up, several times over.
constexpr double kEndSeconds = 600;

double CpuSeconds() {
  timespec spent{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

void Complete(Options& options, const Options& own) {
  const auto fill = [](auto& mine, const auto& theirs) {
    if (mine == std::decay_t<decltype(mine)>{}) mine = theirs;
  };
  fill(options.hosts, own.hosts);
  fill(options.rate_mbit, own.rate_mbit);
  fill(options.registry_mbit, own.registry_mbit);
  fill(options.size_mib, own.size_mib);
  fill(options.layers, own.layers);
  fill(options.images, own.images);
  fill(options.piece_kib, own.piece_kib);
  fill(options.share, own.share);
}

// How full the links of those that pull are, and how far they have come.
void Watch(World& world, double every, Bytes before) {
  Bytes given;
  std::size_t answers = 0;
  std::size_t pieces = 0;
  std::size_t here = 0;
  std::map<BlobId, fetch::PieceMap> together;  // what somebody has who has not all
  std::map<BlobId, fetch::PieceMap> twice;     // and what two have
  std::int32_t least = fetch::kPiecesMax;
  std::int32_t most = 0;
  for (const Host& host : world.hosts) {
    given += host.given;
    answers += host.giving.size();
    for (const auto& [blob, id] : host.fetching) {
      const fetch::PieceMap& have = (*world.fetches)[id].download->have();
      pieces += static_cast<std::size_t>(have.size());
      here += static_cast<std::size_t>(have.count());
      auto& all = together.try_emplace(blob, have.size()).first->second;
      auto& more = twice.try_emplace(blob, have.size()).first->second;
      for (fetch::PieceIndex i{0}; all.size() == have.size() && i.value < have.size(); ++i) {
        if (!have.Has(i)) continue;
        if (all.Has(i)) more.Set(i);
        all.Set(i);
      }
      least = std::min(least, have.count());
      most = std::max(most, have.count());
    }
  }
  std::int32_t distinct = 0;
  for (const auto& [blob, all] : together) distinct += all.count();
  std::int32_t safe = 0;
  for (const auto& [blob, all] : twice) safe += all.count();
  const double rate = static_cast<double>((given - before).count()) / every;
  fmt::print(
      "{:8.2f} s: {} pulls, {} answers under way, {:.1f} MB/s, here {:.1f} %, {} to {} pieces, {} "
      "together, {} of them with one alone\n",
      world.seconds(), world.pulls->running(), answers, rate / 1e6,
      100.0 * static_cast<double>(here) / static_cast<double>(std::max<std::size_t>(1, pieces)),
      least, most, distinct, distinct - safe);
  const Time next = world.now() + Duration(static_cast<std::int64_t>(every * 1e6));
  if (world.pulls->running() == 0 && world.seconds() > 1) return;
  world.At(next, [&world, every, given] { Watch(world, every, given); });
}

double Part(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<std::size_t>(std::ceil(part * static_cast<double>(sorted.size())));
  return sorted[std::clamp<std::size_t>(at, 1, sorted.size()) - 1];
}

void Measure(World& world, Result& result) {
  std::vector<double> times;
  Bytes useful;
  for (const Pull& pull : world.pulls->all()) {
    if (pull.cut_short) {
      ++result.cut_short;
    } else if (pull.ended == kNever) {
      const Host& host = world.hosts[pull.host];
      if (host.dark) continue;  // nobody can tell it anything
      world.checker.Fail(world.now(),
                         "the pull of host " + std::to_string(pull.host) + " never ended");
    } else if (pull.error) {
      ++result.failed;
    } else {
      ++result.done;
      useful += world.blobs.image(pull.image).size;
      times.push_back(static_cast<double>((pull.ended - pull.started).count()) / 1e6);
    }
  }
  std::ranges::sort(times);
  result.p50 = Part(times, 0.5);
  result.p99 = Part(times, 0.99);
  result.p999 = Part(times, 0.999);
  result.slowest = Part(times, 1);
  result.wasted_part = static_cast<double>(world.fetches->wasted().count()) /
                       static_cast<double>(std::max<std::int64_t>(1, useful.count()));
  if (world.registry) {
    result.upstream_blobs = static_cast<double>(world.registry->given().count()) /
                            static_cast<double>(world.blobs.bytes().count());
    result.upstream_peak = world.registry->connections_peak();
  }
}

void Check(World& world, const Expectation& expected, Result& result) {
  Checker& checker = world.checker;
  if (expected.upstream_max && result.upstream_blobs > *expected.upstream_max) {
    checker.Fail(world.now(),
                 fmt::format("{:.2f} copies came from the upstream, at most {:.2f} may",
                             result.upstream_blobs, *expected.upstream_max));
  }
  if (result.failed < expected.failed_min || result.failed > expected.failed_max) {
    checker.Fail(world.now(), fmt::format("{} pulls failed, {} to {} should", result.failed,
                                          expected.failed_min, expected.failed_max));
    for (const Pull& pull : world.pulls->all()) {
      if (pull.cut_short || !pull.error) continue;
      checker.Fail(pull.ended, fmt::format("host {}: {}", pull.host, pull.error->ToString()));
    }
  }
  if (expected.waste_max && result.wasted_part > *expected.waste_max) {
    checker.Fail(world.now(), fmt::format("{:.1f} % of the bytes were wasted, at most {:.1f} % may",
                                          100 * result.wasted_part, 100 * *expected.waste_max));
  }
  for (const Pull& pull : world.pulls->all()) {
    if (pull.error && pull.error->text.empty()) checker.Fail(pull.ended, "an error without a word");
  }
  world.network.CheckInvariants();
}

}  // namespace

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> all = [] {
    std::vector<Scenario> scenarios;
    AddCalmScenarios(scenarios);
    AddFaultScenarios(scenarios);
    return scenarios;
  }();
  return all;
}

const Scenario* FindScenario(const std::string& name) {
  const auto found = std::ranges::find(Scenarios(), name, &Scenario::name);
  return found == Scenarios().end() ? nullptr : &*found;
}

std::string Options::Replay() const {
  std::string line = fmt::format("./dev sim {} --hosts {} --seed {}", scenario, hosts, seed);
  if (index) line += " --index";
  line += fmt::format(" --rate-mbit {} --registry-mbit {} --size-mib {} --layers {} --images {}",
                      rate_mbit, registry_mbit, size_mib, layers, images);
  if (piece_kib > 0) line += fmt::format(" --piece-kib {}", piece_kib);
  if (stall_ms > 0) line += fmt::format(" --stall-ms {}", stall_ms);
  if (share > 0) line += fmt::format(" --share {}", share);
  if (loss > 0) line += fmt::format(" --loss {}", loss);
  if (queue_ms > 0) line += fmt::format(" --queue-ms {}", queue_ms);
  return line;
}

Result RunScenario(const Scenario& scenario, Options& options) {
  const double started = CpuSeconds();
  options.scenario = scenario.name;
  Complete(options, scenario.defaults);
  WorldLimits limits;
  limits.loss = options.loss;
  limits.queue = std::chrono::milliseconds(options.queue_ms);
  World world(options.seed, limits);
  const Expectation expected = scenario.set_up(world, options);
  if (options.watch > 0) world.At(Time{}, [&] { Watch(world, options.watch, Bytes(0)); });
  world.Run(AtSeconds(kEndSeconds));
  Result result;
  result.hosts = options.hosts;
  result.t0 = T0(options);
  Measure(world, result);
  Check(world, expected, result);
  result.spoiled = world.fetches->spoiled();
  result.bans = world.fetches->bans();
  result.messages_per_host = static_cast<double>(world.message_count) / options.hosts;
  result.asked = world.givers->asked();
  result.busy = world.givers->busy();
  result.taken_back = world.givers->taken_back();
  result.maps = world.givers->maps();
  result.told = world.givers->told();
  result.polls_peak = world.givers->polls_peak();
  result.simulated = world.seconds();
  result.events = world.engine.events();
  result.trace = world.engine.trace();
  result.failures = world.checker.failures();
  if (world.checker.count() > result.failures.size()) {
    result.failures.push_back(
        fmt::format("and {} more", world.checker.count() - result.failures.size()));
  }
  result.cpu = CpuSeconds() - started;
  return result;
}

std::string ToTable(const Options& options, const Result& r) {
  std::string out;
  const auto line = [&](const char* what, const std::string& value) {
    out += fmt::format("{:<22} {}\n", what, value);
  };
  const auto time = [&](double seconds) {
    return fmt::format("{:8.3f} s  {:6.3f} T0", seconds, seconds / r.t0);
  };
  line("scenario", fmt::format("{}{}", options.scenario, options.index ? ", index server" : ""));
  line("hosts", fmt::format("{}", r.hosts));
  line("pulls",
       fmt::format("{} done, {} failed, {} cut short by a crash", r.done, r.failed, r.cut_short));
  line("p50", time(r.p50));
  line("p99", time(r.p99));
  line("p99.9", time(r.p999));
  line("slowest", time(r.slowest));
  line("upstream",
       fmt::format("{:.3f} copies, {} connections at once", r.upstream_blobs, r.upstream_peak));
  line("wasted", fmt::format("{:.2f} %", 100 * r.wasted_part));
  line("lies met",
       fmt::format("{} bans, {} pieces under a false chain for a while", r.bans, r.spoiled));
  line("messages", fmt::format("{:.0f} a host; {} questions for maps held at one",
                               r.messages_per_host, r.polls_peak));
  line("asked", fmt::format("{} times for a piece; {} told busy, {} answers taken back", r.asked,
                            r.busy, r.taken_back));
  line("maps", fmt::format("asked {} times; {} told beside a piece", r.maps, r.told));
  line("simulated", fmt::format("{:.3f} s in {} events", r.simulated, r.events));
  line("CPU", fmt::format("{:.2f} s", r.cpu));
  line("trace", fmt::format("{:016x}", r.trace));
  return out;
}

}  // namespace shoal::sim
