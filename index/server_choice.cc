#include "index/server_choice.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "index/handle_table.h"

namespace shoal::index {
namespace {

// The same on all agents, whatever they are built with. Source: FNV-1a, 64 bits.
std::uint64_t HashOf(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

ServerChoice::ServerChoice(const std::vector<std::string>& servers, Limits limits, Rng rng)
    : limits_(limits), rng_(rng) {
  SHOAL_CHECK(!servers.empty());
  for (const auto& server : servers) servers_.push_back({.hash = HashOf(server)});
}

std::vector<std::size_t> ServerChoice::OrderOf(std::string_view key) const {
  const auto hash = HashOf(key);
  std::vector<std::size_t> order(servers_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t server) {
    return Mix(hash ^ Mix(servers_[server].hash));
  });
  return order;
}

std::optional<std::size_t> ServerChoice::Of(std::string_view key) const {
  const auto hash = HashOf(key);
  std::optional<std::size_t> best;
  std::uint64_t weight = 0;
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    const auto its = Mix(hash ^ Mix(servers_[i].hash));
    if (!servers_[i].in_use || (best && its <= weight)) continue;
    best = i;
    weight = its;
  }
  return best;
}

bool ServerChoice::AnyInUse() const {
  return std::ranges::any_of(servers_, [](const Server& server) { return server.in_use; });
}

Time ServerChoice::AskAt(Time now, int failures) {
  Duration wait = limits_.retry_min;
  for (int i = 1; i < failures && wait < limits_.retry_max; ++i) wait *= 2;
  wait = std::min(wait, limits_.retry_max);
  const auto half = static_cast<std::uint64_t>(wait.count() / 2);
  return now + wait / 2 + Duration(static_cast<std::int64_t>(rng_.Below(half + 1)));
}

void ServerChoice::Use(Time now, Server& server) {
  server.in_use = true;
  server.since = now;
  server.ask_at = kNever;
  server.return_at = kNever;
}

bool ServerChoice::OnAnswered(Time now, std::size_t which) {
  auto& server = servers_[which];
  if (server.in_use || server.return_at != kNever) return false;
  server.ask_at = kNever;
  if (!AnyInUse()) {
    Use(now, server);
    return true;
  }
  const auto spread = static_cast<std::uint64_t>(limits_.return_spread.count());
  server.return_at = now + Duration(static_cast<std::int64_t>(rng_.Below(spread + 1)));
  return false;
}

bool ServerChoice::OnFailed(Time now, std::size_t which) {
  auto& server = servers_[which];
  const bool was_used = server.in_use;
  if (was_used && (server.since == Time{} || now - server.since >= limits_.steady)) {
    server.failures = 0;
  }
  ++server.failures;
  server.in_use = false;
  server.return_at = kNever;
  server.ask_at = AskAt(now, server.failures);
  if (!was_used) return false;
  // The last one is gone: whoever answers already is used at once.
  for (auto& other : servers_) {
    if (!AnyInUse() && other.return_at != kNever) Use(now, other);
  }
  return true;
}

ServerChoice::Due ServerChoice::OnDeadline(Time now) {
  Due due;
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    auto& server = servers_[i];
    if (server.return_at <= now) {
      Use(now, server);
      due.changed = true;
    } else if (server.ask_at <= now) {
      server.ask_at = kNever;
      due.to_ask.push_back(i);
    }
  }
  return due;
}

Time ServerChoice::NextDeadline() const {
  Time next = kNever;
  for (const auto& server : servers_) next = std::min({next, server.ask_at, server.return_at});
  return next;
}

void ServerChoice::CheckInvariants() const {
  for (const auto& server : servers_) {
    if (server.in_use) SHOAL_CHECK(server.ask_at == kNever && server.return_at == kNever);
    SHOAL_CHECK(server.ask_at == kNever || server.return_at == kNever);
    // Somebody who answers is never left waiting while nobody is used.
    SHOAL_CHECK(AnyInUse() || server.return_at == kNever);
  }
}

}  // namespace shoal::index
