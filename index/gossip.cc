#include "index/gossip.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shoal::index {

Gossip::Gossip(GossipLimits limits, PeerId self, Rng rng)
    : limits_(limits), self_(self), rng_(rng) {
  SHOAL_CHECK(limits_.at_once >= 1);
}

Duration Gossip::Spread(Duration wait) {
  const auto quarter = static_cast<std::uint64_t>(wait.count()) / 4;
  return wait - Duration(quarter) +
         Duration(static_cast<std::int64_t>(rng_.Below(2 * quarter + 1)));
}

Duration Gossip::WholeEvery() const {
  return std::max(limits_.whole_every,
                  limits_.whole_each * static_cast<std::int64_t>(members_.size()));
}

void Gossip::Ask(const PeerId& peer, bool whole, bool first, GossipActions& out) {
  if (asking_.size() >= limits_.at_once) return;
  if (!asking_.emplace(peer, Asking{whole, first, {}}).second) return;
  out.push_back(AskNames{peer, whole});
}

void Gossip::AskRandom(bool whole, GossipActions& out) {
  for (int draw = 0; draw < kDrawsMax && !members_.empty(); ++draw) {
    const PeerId& peer = members_.Draw(rng_);
    if (!asking_.contains(peer)) return Ask(peer, whole, false, out);
  }
}

void Gossip::OnMember(Time now, const PeerId& peer, GossipActions& out) {
  if (peer == self_ || members_.size() >= limits_.members) return;
  if (!members_.Add(peer)) return;
  if (members_.size() == 1) {
    fresh_at_ = now + Spread(limits_.fresh_every);
    whole_at_ = now + Spread(WholeEvery());
  }
  if (first_asked_ < kFirstAsked) {
    ++first_asked_;
    Ask(peer, true, true, out);
  } else if (rng_.Unit() * static_cast<double>(members_.size()) < kGreeters) {
    Ask(peer, true, false, out);
  }
}

void Gossip::OnMemberGone(const PeerId& peer) {
  if (!members_.Remove(peer)) return;
  size_.Forget(peer);
  if (!members_.empty()) return;
  fresh_at_ = whole_at_ = kNever;
  first_asked_ = 0;  // whoever comes next is the first again
}

void Gossip::OnNames(const PeerId& peer, std::vector<PeerName> names, const View& view,
                     GossipActions& out) {
  const auto it = asking_.find(peer);
  if (it == asking_.end()) return;
  if (it->second.whole && members_.contains(peer)) {
    // Whoever answers is there, whether it says so or not.
    const PeerName own = PeerNameOf(peer);
    const auto place = std::ranges::lower_bound(names, own);
    if (place == names.end() || *place != own) names.insert(place, own);
    size_.OnList(peer, view.rooms, names);
    size_.OnList(self_, view.rooms, view.own());
  }
  const bool whole = it->second.whole;
  std::erase_if(names,
                [&](PeerName name) { return name == PeerNameOf(peer) || view.known(name, whole); });
  if (!it->second.first && names.size() > kWantedMax) {
    std::shuffle(names.begin(), names.end(), rng_);
    names.resize(kWantedMax);
  }
  it->second.wanted = std::move(names);
  GoOn(peer, view, out);
}

void Gossip::OnRecords(const PeerId& peer, const View& view, GossipActions& out) {
  GoOn(peer, view, out);
}

void Gossip::GoOn(const PeerId& peer, const View& view, GossipActions& out) {
  const auto it = asking_.find(peer);
  if (it == asking_.end()) return;
  auto& wanted = it->second.wanted;
  // Others may have told of them meanwhile.
  AskRecords ask{peer, {}};
  while (!wanted.empty() && ask.names.size() < kRecordsAskedMax) {
    if (!view.known(wanted.back(), it->second.whole)) ask.names.push_back(wanted.back());
    wanted.pop_back();
  }
  if (ask.names.empty()) {
    asking_.erase(it);
  } else {
    out.push_back(std::move(ask));
  }
}

void Gossip::OnFailed(Time now, const PeerId& peer) {
  const auto it = asking_.find(peer);
  if (it == asking_.end()) return;
  const bool whole = it->second.whole;
  asking_.erase(it);
  // A newcomer may depend on it.
  if (whole && !members_.empty()) {
    whole_at_ = std::min(whole_at_, now + Spread(limits_.fresh_every));
  }
}

void Gossip::OnDeadline(Time now, GossipActions& out) {
  if (fresh_at_ <= now) {
    fresh_at_ = now + Spread(limits_.fresh_every);
    AskRandom(false, out);
  }
  if (whole_at_ <= now) {
    whole_at_ = now + Spread(WholeEvery());
    AskRandom(true, out);
  }
}

Time Gossip::NextDeadline() const {
  return members_.empty() ? kNever : std::min(fresh_at_, whole_at_);
}

void Gossip::CheckInvariants() const {
  members_.CheckInvariants();
  SHOAL_CHECK(members_.size() <= limits_.members);
  SHOAL_CHECK(asking_.size() <= limits_.at_once);
  for (const auto& [peer, asking] : asking_) {
    SHOAL_CHECK(asking.wanted.size() <= kPeerNamesMax);
  }
}

}  // namespace shoal::index
