#include "tests/sim/network.h"

#include <algorithm>
#include <cmath>

namespace shoal::sim {
namespace {

// Changes of a level below this part of it are not passed on, and of a rate not acted on.
constexpr double kNoticed = 0.02;
constexpr double kRateNoticed = 0.005;
// Links worked out at one moment; what is left waits for the next event. Ripples die out fast.
constexpr int kWorkMax = 256;
// Bytes: a mark counts as reached within this, so that rounding plans no event twice.
constexpr double kSlack = 0.5;

}  // namespace

LinkId Network::AddLink(double rate) {
  SHOAL_CHECK(rate > 0);
  Link link;
  link.rate = rate / 1e6;
  link.level = link.told = link.rate;
  links_.push_back(std::move(link));
  return static_cast<LinkId>(links_.size() - 1);
}

void Network::SetRate(LinkId link, double rate) {
  SHOAL_CHECK(rate > 0);
  links_[link].rate = rate / 1e6;
  Touch(link);
}

bool Network::Full(LinkId link) const {
  const Link& at = links_[link];
  double used = 0;
  for (const FlowId id : at.flows) used += flows_[id].rate;
  return used >= kFull * at.rate;
}

FlowId Network::Start(LinkId from, LinkId to, double cap, std::uint32_t user) {
  Flow flow;
  flow.from = from;
  flow.to = to;
  flow.user = user;
  flow.cap = cap / 1e6;
  flow.mark = kUncapped;
  flow.updated = engine_.now();
  const FlowId id = flows_.Add(flow);
  flows_[id].turn = flows_.generation(id) << 16;  // events of the slot's earlier users miss it
  Enlist(id);
  return id;
}

void Network::Stop(FlowId id) {
  if (flows_[id].listed) Delist(id);
  flows_.Free(id);
}

void Network::SetBlocked(FlowId id, bool blocked) {
  Flow& flow = flows_[id];
  if (flow.blocked == blocked) return;
  flow.blocked = blocked;
  if (blocked) {
    Delist(id);
    Rerate(id, 0);
  } else {
    Enlist(id);
  }
}

void Network::Enlist(FlowId id) {
  Flow& flow = flows_[id];
  flow.listed = true;
  flow.at_from = static_cast<std::uint32_t>(links_[flow.from].flows.size());
  links_[flow.from].flows.push_back(id);
  flow.at_to = static_cast<std::uint32_t>(links_[flow.to].flows.size());
  links_[flow.to].flows.push_back(id);
  Touch(flow.from);
  Touch(flow.to);
}

void Network::Delist(FlowId id) {
  Flow& flow = flows_[id];
  flow.listed = false;
  Remove(flow.from, flow.at_from);
  Remove(flow.to, flow.at_to);
  Touch(flow.from);
  Touch(flow.to);
}

void Network::Remove(LinkId link, std::uint32_t at) {
  auto& list = links_[link].flows;
  const FlowId last = list.back();
  list[at] = last;
  list.pop_back();
  if (at == list.size()) return;
  Flow& moved = flows_[last];
  (moved.from == link ? moved.at_from : moved.at_to) = at;
}

void Network::Touch(LinkId link) {
  if (links_[link].dirty) return;
  links_[link].dirty = true;
  dirty_.push_back(link);
}

void Network::Advance(Flow& flow) const {
  const double passed = static_cast<double>((engine_.now() - flow.updated).count());
  flow.moved = std::min(flow.moved + flow.rate * passed, std::max(flow.mark, flow.moved));
  flow.updated = engine_.now();
}

Bytes Network::Moved(FlowId id) {
  Flow& flow = flows_[id];
  Advance(flow);
  return Bytes(static_cast<std::int64_t>(flow.moved));
}

void Network::Rerate(FlowId id, double rate) {
  Flow& flow = flows_[id];
  if (std::abs(rate - flow.rate) <= kRateNoticed * flow.rate && rate != 0) return;
  Advance(flow);
  flow.rate = rate;
  Plan(id);
}

void Network::SetMark(FlowId id, Bytes mark) {
  Advance(flows_[id]);
  flows_[id].mark = static_cast<double>(mark.count());
  flows_[id].event_at = kNever;
  Plan(id);
}

// An event that comes too early is cheap: it is planned anew then. Only a new one that is earlier
// replaces the old.
void Network::Plan(FlowId id) {
  Flow& flow = flows_[id];
  if (flow.rate <= 0 || flow.mark >= kUncapped) return;
  const double wait = std::ceil(std::max(0.0, flow.mark - flow.moved) / flow.rate);
  if (wait > 1e15) return;
  const Time at = engine_.now() + Duration(static_cast<std::int64_t>(wait));
  if (flow.event_at <= at) return;
  flow.event_at = at;
  engine_.At(at, EventKind::kFlow, id, ++flow.turn);
}

bool Network::OnEvent(FlowId id, std::uint32_t turn) {
  Flow& flow = flows_[id];
  if (flow.turn != turn) return false;
  flow.event_at = kNever;
  Advance(flow);
  if (flow.moved + kSlack >= flow.mark) {
    flow.moved = flow.mark;
    return true;
  }
  Plan(id);
  return false;
}

double Network::Bound(const Flow& flow, LinkId here) const {
  const Link& other = links_[flow.from == here ? flow.to : flow.from];
  return std::min(flow.cap, other.level);
}

void Network::Settle() {
  for (int work = 0; !settled() && work < kWorkMax; ++work) {
    // The oldest first, so that a ripple spreads evenly.
    const LinkId link = dirty_[dirty_from_++];
    links_[link].dirty = false;
    WorkOut(link);
  }
  if (settled()) {
    dirty_.clear();
    dirty_from_ = 0;
  }
}

void Network::WorkOut(LinkId id) {
  Link& link = links_[id];
  if (link.flows.empty()) {
    link.level = link.told = link.rate;
    return;
  }
  bounds_.clear();
  for (const FlowId flow : link.flows) bounds_.push_back(Bound(flows_[flow], id));
  std::ranges::sort(bounds_);
  double left = link.rate;
  double level = 0;
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    level = left / static_cast<double>(bounds_.size() - i);
    if (bounds_[i] >= level) break;
    left -= bounds_[i];
    // All get what they can take: the fastest could have the rest.
    level = bounds_[i] + left;
  }
  link.level = level;
  const double told = link.told;
  const bool pass_on = std::abs(level - told) > kNoticed * told;
  if (pass_on) link.told = level;
  for (const FlowId flow : link.flows) {
    const double bound = Bound(flows_[flow], id);
    Rerate(flow, std::min(bound, level));
    // The other end reckons anew where this end limits the flow, or did.
    const Flow& f = flows_[flow];
    const LinkId other = f.from == id ? f.to : f.from;
    if (pass_on && std::min(level, told) < links_[other].level) Touch(other);
  }
}

void Network::CheckInvariants() const {
  for (LinkId id = 0; id < links_.size(); ++id) {
    const Link& link = links_[id];
    double sum = 0;
    for (std::uint32_t at = 0; at < link.flows.size(); ++at) {
      const Flow& flow = flows_[link.flows[at]];
      SHOAL_CHECK(flow.listed && !flow.blocked);
      SHOAL_CHECK((flow.from == id ? flow.at_from : flow.at_to) == at);
      if (settled()) SHOAL_CHECK(flow.rate > 0);
      sum += flow.rate;
    }
    // Unpassed changes may add up to a few parts in a hundred.
    if (settled()) SHOAL_CHECK(sum <= link.rate * (1 + 4 * kNoticed));
  }
}

}  // namespace shoal::sim
