#include "index/registry_slots.h"

#include <algorithm>
#include <tuple>
#include <vector>

#include "base/check.h"

namespace shoal::index {

std::optional<int> RegistrySlots::OnAsk(Time now, const Digest& digest, const PeerId& peer,
                                        const SlotAsk& ask) {
  const SlotAsk told{std::clamp(ask.want, 0, kSlotsOfOne), std::clamp(ask.held, 0, kSlotsOfOne),
                     std::clamp(ask.most, 1, kSlotsMax)};
  if (!registries_.contains(digest)) {
    if (told.want + told.held == 0) return 0;
    if (registries_.size() >= limits_.registries_max) DropExpired(now);
    if (registries_.size() >= limits_.registries_max) return std::nullopt;
  }
  Registry& registry = registries_[digest];
  std::erase_if(registry.members, [&](const auto& entry) { return entry.second.until <= now; });
  if (told.want + told.held == 0) {
    registry.members.erase(peer);
    if (registry.members.empty()) registries_.erase(digest);
    return 0;
  }
  const bool is_new = !registry.members.contains(peer);
  if (is_new && registry.members.size() >= limits_.members_max) return 0;
  Member& member = registry.members[peer];
  if (is_new) {
    member.since = now;
    member.number = next_number_++;
  }
  member.want = told.want;
  member.held = told.held;
  member.most = told.most;
  member.until = now + kSlotLease;

  const int room = Share(now, registry, member);
  const int before = member.granted;
  if (member.share <= before) {
    member.granted = member.share;
  } else {
    member.granted = std::clamp(room, before, member.share);
  }
  if ((before == 0) != (member.granted == 0)) member.since = now;
  return member.granted;
}

int RegistrySlots::Share(Time now, Registry& registry, const Member& asker) {
  int bound = kSlotsMax;
  std::vector<Member*> line;
  line.reserve(registry.members.size());
  for (auto& [peer, member] : registry.members) {
    bound = std::min(bound, member.most);
    member.share = 0;
    line.push_back(&member);
  }
  const auto place = [now](const Member* member) {
    const bool has = member->granted > 0;
    const bool its_turn = has && now < member->since + kSlotTurn;
    const auto since = member->since.time_since_epoch().count();
    return std::tuple(its_turn ? 0
                      : !has   ? 1
                               : 2,
                      has && !its_turn ? -since : since, member->number);
  };
  std::ranges::sort(line, {}, place);

  // One each, then a second each, and so on while there are some.
  int left = bound;
  for (bool gave = true; gave && left > 0;) {
    gave = false;
    for (Member* member : line) {
      if (left == 0 || member->share >= member->want) continue;
      ++member->share;
      --left;
      gave = true;
    }
  }

  int used_by_others = 0;
  int kept = 0;  // for those before the asker
  bool is_before = true;
  for (const Member* member : line) {
    if (member == &asker) {
      is_before = false;
      continue;
    }
    used_by_others += member->Used();
    if (is_before) kept += std::max(0, member->share - member->Used());
  }
  return bound - used_by_others - kept;
}

void RegistrySlots::DropExpired(Time now) {
  for (auto& [digest, registry] : registries_) {
    std::erase_if(registry.members, [&](const auto& entry) { return entry.second.until <= now; });
  }
  std::erase_if(registries_, [](const auto& entry) { return entry.second.members.empty(); });
}

int RegistrySlots::UsedOf(const Digest& registry) const {
  int used = 0;
  const auto it = registries_.find(registry);
  if (it == registries_.end()) return 0;
  for (const auto& [peer, member] : it->second.members) used += member.Used();
  return used;
}

void RegistrySlots::CheckInvariants() const {
  SHOAL_CHECK(registries_.size() <= limits_.registries_max);
  for (const auto& [digest, registry] : registries_) {
    SHOAL_CHECK(!registry.members.empty() && registry.members.size() <= limits_.members_max);
    for (const auto& [peer, member] : registry.members) {
      SHOAL_CHECK(member.granted >= 0 && member.granted <= member.want);
      SHOAL_CHECK(member.held >= 0 && member.held <= kSlotsOfOne);
      SHOAL_CHECK(member.most >= 1 && member.most <= kSlotsMax);
    }
  }
}

}  // namespace shoal::index
