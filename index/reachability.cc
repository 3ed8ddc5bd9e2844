#include "index/reachability.h"

#include <algorithm>
#include <utility>

namespace shoal::index {

std::string_view ToString(Reach reach) {
  switch (reach) {
    case Reach::kUnknown:
      return "unknown";
    case Reach::kDialable:
      return "yes";
    case Reach::kUndialable:
      return "no";
  }
  return "unknown";
}

void Reachability::OnPeers(Time now, std::vector<PeerId> peers, ReachActions& out) {
  peers_ = std::move(peers);
  if (!peers_.empty() && next_round_ == kNever && asked_.empty()) {
    next_round_ = now + limits_.first;
  }
  AskForPlaces(now, out);
}

std::vector<PeerId> Reachability::Draw(std::vector<PeerId> from, int count) {
  std::shuffle(from.begin(), from.end(), rng_);
  if (std::ssize(from) > count) from.resize(static_cast<std::size_t>(std::max(0, count)));
  return from;
}

void Reachability::StartRound(Time now, ReachActions& out) {
  next_round_ = kNever;
  yes_ = no_ = 0;
  for (const PeerId& peer : Draw(peers_, limits_.asked)) {
    asked_.insert(peer);
    out.emplace_back(AskDialBack{peer});
  }
  if (asked_.empty()) next_round_ = now + limits_.again;
}

void Reachability::OnAnswer(Time now, const PeerId& peer, std::optional<bool> dialled,
                            ReachActions& out) {
  if (asked_.erase(peer) == 0) return;
  if (dialled) ++(*dialled ? yes_ : no_);
  if (asked_.empty()) EndRound(now, out);
}

void Reachability::EndRound(Time now, ReachActions& out) {
  if (yes_ + no_ > 0) reach_ = no_ >= yes_ ? Reach::kUndialable : Reach::kDialable;
  const bool sure = reach_ == Reach::kDialable && yes_ + no_ >= limits_.asked;
  next_round_ = now + (sure ? limits_.again_dialable : limits_.again);
  if (reach_ == Reach::kDialable) LetGoOfAll(out);
  AskForPlaces(now, out);
}

void Reachability::LetGoOfAll(ReachActions& out) {
  // One that is asked for may still be given: OnPlace lets go of it then.
  for (const PeerId& peer : std::exchange(held_, {})) out.emplace_back(LetGo{peer});
}

void Reachability::AskForPlaces(Time now, ReachActions& out) {
  if (reach_ != Reach::kUndialable) return;
  std::erase_if(paused_, [now](const auto& entry) { return entry.second <= now; });
  std::vector<PeerId> free;
  for (const PeerId& peer : peers_) {
    if (!held_.contains(peer) && !wanted_.contains(peer) && !paused_.contains(peer)) {
      free.push_back(peer);
    }
  }
  const int lacking = limits_.relays - static_cast<int>(held_.size() + wanted_.size());
  for (const PeerId& peer : Draw(std::move(free), lacking)) {
    wanted_.insert(peer);
    out.emplace_back(AskForPlace{peer});
  }
}

void Reachability::OnPlace(Time, const PeerId& peer, ReachActions& out) {
  if (wanted_.erase(peer) == 0) return;
  if (reach_ == Reach::kDialable) {
    out.emplace_back(LetGo{peer});
  } else {
    held_.insert(peer);
  }
}

void Reachability::OnRefused(Time now, const PeerId& peer, ReachActions& out) {
  if (wanted_.erase(peer) == 0) return;
  paused_[peer] = now + limits_.refused;
  AskForPlaces(now, out);
}

void Reachability::OnLost(Time now, const PeerId& peer, ReachActions& out) {
  if (held_.erase(peer) == 0 && wanted_.erase(peer) == 0) return;
  paused_[peer] = now + limits_.lost;
  AskForPlaces(now, out);
}

void Reachability::OnDeadline(Time now, ReachActions& out) {
  if (next_round_ <= now) StartRound(now, out);
  AskForPlaces(now, out);
}

Time Reachability::NextDeadline() const {
  Time next = next_round_;
  if (reach_ == Reach::kUndialable && std::ssize(held_) + std::ssize(wanted_) < limits_.relays) {
    for (const auto& [peer, until] : paused_) next = std::min(next, until);
  }
  return next;
}

void Reachability::CheckInvariants() const {
  SHOAL_CHECK(std::ssize(held_) + std::ssize(wanted_) <= limits_.relays ||
              reach_ != Reach::kUndialable);
  SHOAL_CHECK(std::ssize(asked_) <= limits_.asked);
  SHOAL_CHECK(std::ranges::none_of(held_, [this](const auto& id) { return wanted_.contains(id); }));
  SHOAL_CHECK(reach_ != Reach::kDialable || held_.empty());
  SHOAL_CHECK(asked_.empty() || next_round_ == kNever);
}

}  // namespace shoal::index
