#include "tests/sim/index_room.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "tests/sim/index_world.h"

namespace shoal::sim {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

Duration Median(std::vector<Duration> times) {
  if (times.empty()) return Duration(0);
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::ranges::nth_element(times, middle);
  return *middle;
}

// Looks from outside: what rosters and feeds should say by now.
void Check(const IndexRoomOptions& options, const IndexWorld& world, IndexRoomResult& result) {
  std::uint64_t unknown = 0;
  std::uint64_t ghosts = 0;
  std::uint64_t spread = 0;
  for (const auto& whole : world.wholes()) {
    std::vector<bool> seen(world.hosts().size());
    for (const auto& view : whole.roster->Peers()) {
      const std::uint32_t host = world.number(view.record.id());
      const bool alive = view.state == index::PeerState::kAlive;
      seen[host] = alive;
      if (alive && !world.is_alive(host)) ++ghosts;
      if (IndexWorld::is_invented(host) && !whole.liars_asked) ++spread;
    }
    for (std::uint32_t host = 0; host < seen.size(); ++host) {
      if (world.is_alive(host) && !seen[host] && host != whole.host) ++unknown;
    }
    result.known_max = std::max<std::uint64_t>(result.known_max, whole.known_max);
    const auto size = whole.gossip->Size();
    if (!size) {
      result.failures.emplace_back("a host has no estimate of the size");
      continue;
    }
    if (result.size_low == 0 || size->peers < result.size_low) result.size_low = size->peers;
    result.size_high = std::max(result.size_high, size->peers);
    result.size_error = std::max(result.size_error, size->error);
  }
  const auto fail = [&](std::uint64_t count, const char* what) {
    if (count > 0) result.failures.push_back(fmt::format("{} {}", count, what));
  };
  fail(unknown, "times a living host was not known to live");
  fail(ghosts, "times a dead host was taken for living");
  fail(spread, "times an invented host was known to one that had asked no liar");
  if (std::abs(result.size_low - options.hosts) > 0.2 * options.hosts ||
      std::abs(result.size_high - options.hosts) > 0.2 * options.hosts) {
    result.failures.push_back(
        fmt::format("the size was taken for {:.0f} to {:.0f}", result.size_low, result.size_high));
  }
}

void CheckFeeds(IndexWorld& world, IndexRoomResult& result) {
  std::uint64_t twice = 0;
  for (const auto& said : world.feeds().said()) {
    for (std::uint32_t host = 0; host < world.hosts().size(); ++host) {
      const std::uint8_t given = host < said.given.size() ? said.given[host] : 0;
      if (given > 1) ++twice;
      if (!world.is_alive(host)) continue;
      ++result.feed_wanted;
      if (given > 0) ++result.feed_given;
    }
    auto delays = said.delays;
    std::ranges::sort(delays);
    result.feed_half = std::max(result.feed_half, delays[delays.size() / 2]);
    result.feed_last = std::max(result.feed_last, delays.back());
  }
  if (twice > 0) {
    result.failures.push_back(fmt::format("{} times a message was given twice", twice));
  }
  if (result.feed_given != result.feed_wanted) {
    result.failures.push_back(
        fmt::format("{} times a message was not given", result.feed_wanted - result.feed_given));
  }
}

}  // namespace

IndexRoomResult RunIndexRoom(const IndexRoomOptions& options) {
  IndexRoomResult result;
  IndexWorld world(options);
  const auto now = [&] { return world.engine().now(); };
  const Duration meeting =
      Duration(seconds(1)) * options.hosts / index::RosterLimits{}.others_per_second;
  Time end = now() + (options.start > Duration(0) ? options.start : seconds(120) + meeting * 4 / 3);
  world.RunUntil(end);
  world.Say();  // makes the tree
  end += seconds(20);
  world.RunUntil(end);

  const auto counts = world.counts();
  const auto frames = world.feeds().frames();
  const auto bytes = world.feeds().bytes();
  const auto copies = world.feeds().copies();
  world.Churn(options.churning);
  end += options.churning;
  world.RunUntil(end);
  const double minutes = static_cast<double>(options.churning.count()) / 60e6;
  const double wholes = static_cast<double>(world.wholes().size()) * minutes;
  for (std::size_t kind = 0; kind < kSentKinds; ++kind) {
    result.costs.push_back(
        {std::string(ToString(static_cast<Sent>(kind))),
         static_cast<double>(world.counts().messages[kind] - counts.messages[kind]) / wholes,
         static_cast<double>(world.counts().bytes[kind] - counts.bytes[kind]) / wholes});
  }
  const double all = static_cast<double>(options.hosts) * minutes;
  result.costs.push_back({"feed", static_cast<double>(world.feeds().frames() - frames) / all,
                          static_cast<double>(world.feeds().bytes() - bytes) / all});
  result.feed_copies = static_cast<double>(world.feeds().copies() - copies) /
                       (static_cast<double>(options.hosts) * options.messages);

  end += world.NoticeBound() + meeting + seconds(60);
  world.RunUntil(end);
  world.CheckInvariants();
  Check(options, world, result);
  CheckFeeds(world, result);
  if (!world.newcomers_know().empty()) {
    result.newcomer_knows = *std::ranges::max_element(world.newcomers_know());
  }
  result.newcomer_known = Median(world.newcomers_known());
  result.dead_noticed = Median(world.deaths_noticed());
  result.deaths = world.deaths();
  result.trace = world.engine().trace();
  result.events = world.engine().events();
  return result;
}

std::string ToTable(const IndexRoomOptions& options, const IndexRoomResult& result) {
  const auto s = [](Duration time) {
    return static_cast<double>(duration_cast<milliseconds>(time).count()) / 1000;
  };
  std::string text =
      fmt::format("index: {} hosts, seed {}, {:.0f} % an hour come and go ({} did)\n",
                  options.hosts, options.seed, options.churn * 100, result.deaths);
  text += fmt::format("{:<15} {:>10} {:>12}   an agent sends in a minute; bytes with answers\n", "",
                      "messages", "bytes");
  IndexCost sum{"all", 0, 0};
  for (const auto& cost : result.costs) {
    text += fmt::format("{:<15} {:>10.2f} {:>12.0f}\n", cost.kind, cost.messages, cost.bytes);
    sum.messages += cost.messages;
    sum.bytes += cost.bytes;
  }
  text += fmt::format("{:<15} {:>10.2f} {:>12.0f}\n", sum.kind, sum.messages, sum.bytes);
  text += fmt::format(
      "a newcomer knows 90 % within {:.1f} s (slowest), is known to 90 % after {:.1f} s (median)\n"
      "the dead are noticed by half after {:.0f} s (median)\n",
      s(result.newcomer_knows), s(result.newcomer_known), s(result.dead_noticed));
  text += fmt::format(
      "feed: given {} of {}, copies {:.2f}, half had it after {:.0f} ms, all who "
      "were there after {:.0f} ms (slowest)\n",
      result.feed_given, result.feed_wanted, result.feed_copies, s(result.feed_half) * 1000,
      s(result.feed_last) * 1000);
  text += fmt::format(
      "size: taken for {:.0f} to {:.0f}, error at most {:.0f}; a roster knew at most {}\n",
      result.size_low, result.size_high, result.size_error, result.known_max);
  text += fmt::format("{} events, trace {:016x}\n", result.events, result.trace);
  return text;
}

}  // namespace shoal::sim
