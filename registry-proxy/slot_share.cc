#include "registry-proxy/slot_share.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::proxy {
namespace {

// As an arbiter takes them.
int Bounded(int count) { return std::min(count, index::kSlotsOfOne); }

}  // namespace

void SlotShare::OnCall(Time now, CallId call, const std::string& name, int most, Out& out) {
  SHOAL_CHECK(most >= 1 && !registry_of_.contains(call));
  registry_of_[call] = name;
  Registry& registry = registries_[name];
  registry.most = std::min(most, index::kSlotsMax);
  registry.calls[call];
  Settle(now, name, registry, out);
}

void SlotShare::OnUse(Time now, CallId id, const Use& use, Out& out) {
  const auto found = registry_of_.find(id);
  if (found == registry_of_.end()) return;
  const std::string name = found->second;
  Registry& registry = registries_.at(name);
  Call& call = registry.calls.at(id);
  call.use = use;
  call.use.wish = std::max(1, use.wish);
  if (use.over) call.share = 0;
  if (use.over && use.open == 0) {
    registry.calls.erase(id);
    registry_of_.erase(found);
  }
  Settle(now, name, registry, out);
}

void SlotShare::OnAnswer(Time now, const std::string& name, std::optional<int> granted, Out& out) {
  const auto found = registries_.find(name);
  if (found == registries_.end() || !found->second.asking) return;
  Registry& registry = found->second;
  registry.asking = false;
  registry.silent = !granted;
  if (granted) {
    registry.granted = std::clamp(*granted, 0, index::kSlotsOfOne);
    registry.heard_at = now;
  }
  const bool waits = !granted || registry.granted < registry.told.want;
  const auto pace = static_cast<std::uint64_t>((waits ? kSlotPaceWaiting : kSlotPace).count());
  // Give or take a quarter, so that hosts do not ask in step.
  registry.ask_at = now + Duration(static_cast<std::int64_t>(pace * 3 / 4 + rng_.Below(pace / 2)));
  if (registry.calls.empty() && registry.told.want + registry.told.held == 0) {
    registries_.erase(found);
    return;
  }
  Settle(now, name, registry, out);
}

void SlotShare::OnDeadline(Time now, Out& out) {
  for (auto& [name, registry] : registries_) Settle(now, name, registry, out);
}

Time SlotShare::NextDeadline() const {
  Time next = kNever;
  for (const auto& [name, registry] : registries_) {
    if (!registry.asking) next = std::min(next, registry.ask_at);
    if (registry.starved_since) next = std::min(next, *registry.starved_since + kSlotPatience);
    if (registry.heard_at) next = std::min(next, *registry.heard_at + index::kSlotLease);
  }
  return next;
}

void SlotShare::Settle(Time now, const std::string& name, Registry& registry, Out& out) {
  if (registry.heard_at && now >= *registry.heard_at + index::kSlotLease) {
    registry.heard_at.reset();
    registry.granted = 0;
  }
  Divide(Allowed(now, registry), registry, out);
  int held = 0;
  int want = 0;
  for (const auto& [id, call] : registry.calls) {
    held += call.Held();
    if (!call.use.over) want += call.use.wish;
  }
  const bool starves = want > 0 && held == 0;
  if (!starves) {
    registry.starved_since.reset();
  } else if (!registry.starved_since) {
    registry.starved_since = now;
  }
  MaybeAsk(now, name, registry, out);
}

int SlotShare::Allowed(Time now, const Registry& registry) {
  const bool starved = registry.starved_since && now >= *registry.starved_since + kSlotPatience;
  // A connection that was opened for want of any stays until its call is over.
  const bool alone = starved || (registry.silent && !registry.heard_at);
  return std::max(registry.granted, alone ? 1 : 0);
}

void SlotShare::Divide(int allowed, Registry& registry, Out& out) {
  int held = 0;
  int shares = 0;
  std::map<CallId, int> before;
  for (auto& [id, call] : registry.calls) {
    before[id] = call.share;
    if (!call.use.over) call.share = std::min(call.share, call.use.wish);
    shares += call.share;
  }
  // Too many: the largest shares sink first, and of equal ones the youngest's.
  while (shares > allowed) {
    Call* largest = nullptr;
    for (auto& [id, call] : registry.calls) {
      const int least = call.use.begun ? 1 : 0;
      if (call.share > least && (largest == nullptr || call.share >= largest->share)) {
        largest = &call;
      }
    }
    if (largest == nullptr) break;
    --largest->share;
    --shares;
  }
  for (const auto& [id, call] : registry.calls) held += call.Held();
  // Some left: the smallest shares rise first, and of equal ones the oldest's.
  while (held < allowed) {
    Call* smallest = nullptr;
    for (auto& [id, call] : registry.calls) {
      const bool may = !call.use.over && call.share < call.use.wish;
      if (may && (smallest == nullptr || call.share < smallest->share)) smallest = &call;
    }
    if (smallest == nullptr) break;
    held -= smallest->Held();
    ++smallest->share;
    held += smallest->Held();
  }
  for (const auto& [id, call] : registry.calls) {
    if (call.share != before[id] && !call.use.over) out.shares.push_back({id, call.share});
  }
}

void SlotShare::MaybeAsk(Time now, const std::string& name, Registry& registry, Out& out) {
  if (registry.asking) return;
  index::SlotAsk ask;
  ask.most = registry.most;
  for (const auto& [id, call] : registry.calls) {
    ask.held += call.Held();
    if (!call.use.over) ask.want += call.use.wish;
  }
  ask.held = Bounded(ask.held);
  ask.want = Bounded(ask.want);
  // What is held by one arbiter's word the others should know, before they grant it again.
  const bool is_news = ask.want > registry.told.want || ask.held != registry.told.held ||
                       (ask.want == 0 && registry.told.want > 0);
  if (!is_news && now < registry.ask_at) return;
  registry.asking = true;
  registry.told = ask;
  out.asks.push_back({name, ask});
}

int SlotShare::HeldOf(const std::string& registry) const {
  int held = 0;
  const auto found = registries_.find(registry);
  if (found == registries_.end()) return 0;
  for (const auto& [id, call] : found->second.calls) held += call.Held();
  return held;
}

void SlotShare::CheckInvariants() const {
  std::size_t calls = 0;
  for (const auto& [name, registry] : registries_) {
    calls += registry.calls.size();
    for (const auto& [id, call] : registry.calls) {
      SHOAL_CHECK(call.share >= 0 && call.use.open >= 0 && call.use.wish >= 1);
      SHOAL_CHECK(!call.use.over || (call.share == 0 && call.use.open > 0));
      SHOAL_CHECK(registry_of_.at(id) == name);
    }
  }
  SHOAL_CHECK(calls == registry_of_.size());
}

}  // namespace shoal::proxy
