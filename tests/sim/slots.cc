#include "tests/sim/slots.h"

#include <algorithm>
#include <utility>

#include "tests/sim/swarms.h"

namespace shoal::sim {
namespace {

constexpr const char* kRegistry = "registry";

}  // namespace

Digest Slots::Key() {
  Digest key;
  key.bytes.fill(std::byte{0x5e});
  return key;
}

Slots::Keeper& Slots::KeeperOf(HostId host) {
  auto& keeper = keepers_[host];
  if (!keeper) {
    keeper = std::make_unique<Keeper>(Rng(world_.fetch_rng.Next()));
    keeper->life = ++lives_;
  }
  return *keeper;
}

std::map<Slots::Share::CallId, Slots::Call>::iterator Slots::Find(Keeper& keeper, FetchRef fetch,
                                                                  fetch::RequestId request) {
  return std::ranges::find_if(keeper.calls, [&](const auto& entry) {
    const Call& call = entry.second;
    return call.request == request && call.fetch.at == fetch.at &&
           call.fetch.generation == fetch.generation;
  });
}

void Slots::OnAsk(Message ask) {
  const HostId host = ask.from;
  Keeper& keeper = KeeperOf(host);
  const Share::CallId id = next_call_++;
  Call& call = keeper.calls[id];
  call.fetch = ask.fetch;
  call.request = ask.request;
  call.ask = std::move(ask);
  Share::Out out;
  keeper.share.OnCall(world_.now(), id, kRegistry, most_, out);
  keeper.share.OnUse(world_.now(), id, {}, out);
  Carry(host, std::move(out));
}

void Slots::OnEnd(HostId host, FetchRef fetch, fetch::RequestId request) {
  const auto keeper = keepers_.find(host);
  if (keeper == keepers_.end()) return;
  const auto found = Find(*keeper->second, fetch, request);
  if (found == keeper->second->calls.end()) return;
  const Share::CallId id = found->first;
  keeper->second->calls.erase(found);
  Share::Out out;
  keeper->second->share.OnUse(world_.now(), id, {.begun = true, .over = true}, out);
  Carry(host, std::move(out));
}

bool Slots::Waits(HostId host, FetchRef fetch, fetch::RequestId request) const {
  const auto keeper = keepers_.find(host);
  if (keeper == keepers_.end()) return false;
  const auto found = Find(*keeper->second, fetch, request);
  return found != keeper->second->calls.end() && found->second.ask.has_value();
}

void Slots::Carry(HostId host, Share::Out out) {
  Keeper& keeper = KeeperOf(host);
  while (!out.shares.empty() || !out.asks.empty()) {
    Share::Out more;
    for (const Share::Share& share : out.shares) {
      const auto found = keeper.calls.find(share.call);
      if (found == keeper.calls.end()) continue;
      Call& call = found->second;
      if (share.connections > 0 && call.ask) {
        world_.Send(*std::exchange(call.ask, std::nullopt));
      }
      const bool begun = !call.ask;
      keeper.share.OnUse(world_.now(), share.call, {.open = begun ? 1 : 0, .begun = begun}, more);
    }
    for (const Share::Ask& ask : out.asks) {
      world_.swarms->AskForSlots(host, keeper.life, ask.slots);
    }
    out = std::move(more);
  }
  Schedule(host);
}

void Slots::Schedule(HostId host) {
  Keeper& keeper = KeeperOf(host);
  const Time next = keeper.share.NextDeadline();
  if (next >= keeper.due) return;
  keeper.due = std::max(next, world_.now() + Duration(std::chrono::milliseconds(1)));
  world_.Plan(keeper.due, EventKind::kSlots, host);
}

void Slots::OnDue(HostId host) {
  const auto keeper = keepers_.find(host);
  if (keeper == keepers_.end() || keeper->second->due != world_.now()) return;
  keeper->second->due = kNever;
  Share::Out out;
  keeper->second->share.OnDeadline(world_.now(), out);
  keeper->second->share.CheckInvariants();
  Carry(host, std::move(out));
}

void Slots::OnAnswer(HostId host, std::uint32_t life, std::optional<int> granted) {
  const auto keeper = keepers_.find(host);
  if (keeper == keepers_.end() || keeper->second->life != life) return;
  Share::Out out;
  keeper->second->share.OnAnswer(world_.now(), kRegistry, granted, out);
  Carry(host, std::move(out));
}

void Slots::Crash(HostId host) { keepers_.erase(host); }

}  // namespace shoal::sim
