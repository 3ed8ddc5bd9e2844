#include "index/dht_dials.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::index {
namespace {

constexpr int kWeightMax = 255;
constexpr std::size_t kMirrorsMax = 64;  // more addresses than a host has, NAT and all
constexpr Duration kSecond = std::chrono::seconds(1);

}  // namespace

DhtDials::DhtDials(DialLimits limits, PeerId self, Rng rng)
    : limits_(limits), self_(self), rng_(rng) {
  SHOAL_CHECK(limits_.at_once > 0 && limits_.per_second > 0);
  SHOAL_CHECK(limits_.known_max > limits_.at_once);
}

void DhtDials::Move(const Endpoint& endpoint, Entry& entry, State state, Time until) {
  const auto count = [this](State which) -> std::size_t* {
    if (which == State::kWaiting) return &waiting_;
    if (which == State::kDialling) return &dialling_;
    return which == State::kAnswered ? &answered_ : nullptr;
  };
  if (places_.erase({entry.state, entry.until, endpoint}) > 0) {
    if (auto* before = count(entry.state)) --*before;
  }
  entry.state = state;
  entry.until = until;
  places_.emplace(state, until, endpoint);
  if (auto* after = count(state)) ++*after;
}

void DhtDials::Remove(const Endpoint& endpoint) {
  const auto it = known_.find(endpoint);
  if (it == known_.end()) return;
  // Out of the counts by way of the state that has none.
  Move(endpoint, it->second, State::kFailed, it->second.until);
  places_.erase({State::kFailed, it->second.until, endpoint});
  known_.erase(it);
}

bool DhtDials::MakeRoom() {
  if (known_.size() < limits_.known_max) return true;
  const Place first = *places_.begin();
  // What has answered stays, or a flood of false endpoints would have us dial all anew.
  if (std::get<State>(first) >= State::kAnswered) return false;
  Remove(std::get<Endpoint>(first));
  return true;
}

void DhtDials::OnOwn(std::vector<Endpoint> own) {
  own_ = {std::make_move_iterator(own.begin()), std::make_move_iterator(own.end())};
  for (const auto& endpoint : own_) {
    if (!IsDialling(endpoint)) Remove(endpoint);
  }
}

void DhtDials::OnNamed(Time now, const Endpoint& endpoint, int weight) {
  now_ = now;
  if (own_.contains(endpoint) || mirrors_.contains(endpoint)) return;
  auto it = known_.find(endpoint);
  if (it == known_.end()) {
    if (waiting_ >= limits_.waiting_max) {
      const auto oldest = places_.lower_bound({State::kWaiting, Time{}, Endpoint{}});
      Remove(std::get<Endpoint>(Place(*oldest)));
    }
    if (!MakeRoom()) return;
    it = known_.try_emplace(endpoint).first;
  } else {
    Entry& entry = it->second;
    if (entry.state == State::kDialling) return;
    if (entry.state != State::kWaiting) {
      if (entry.until > now) return;
      entry.weight = 0;
    }
  }
  it->second.weight = std::min(it->second.weight + weight, kWeightMax);
  Move(endpoint, it->second, State::kWaiting, now + kDialWaitMax);
}

void DhtDials::OnRecord(Time now, WallTime wall, const Endpoint& endpoint,
                        const SignedRecord& record) {
  const auto it = known_.find(endpoint);
  if (it == known_.end()) return;
  now_ = now;
  if (record.id() == self_) {
    if (mirrors_.size() >= kMirrorsMax) mirrors_.clear();
    mirrors_.insert(endpoint);
    Remove(endpoint);
    return;
  }
  const Duration left = record.record().expires - wall;
  if (left <= Duration(0)) return OnFailure(now, endpoint);
  it->second.record = record;
  it->second.failures = 0;
  // Not longer than agents' records live, whatever this one says.
  Move(endpoint, it->second, State::kAnswered, now + std::min(left / 2, kDialAgainMax));
}

void DhtDials::OnFailure(Time now, const Endpoint& endpoint) {
  const auto it = known_.find(endpoint);
  if (it == known_.end()) return;
  now_ = now;
  Entry& entry = it->second;
  entry.record.reset();
  Duration wait = kDialAgainMin;
  for (int i = 0; i < entry.failures && wait < kDialAgainMax; ++i) wait *= 2;
  ++entry.failures;
  Move(endpoint, entry, State::kFailed, now + std::min(wait, kDialAgainMax));
}

void DhtDials::ForgetOldWaiting(Time now) {
  for (;;) {
    const auto oldest = places_.lower_bound({State::kWaiting, Time{}, Endpoint{}});
    if (oldest == places_.end() || std::get<State>(*oldest) != State::kWaiting) return;
    if (std::get<Time>(*oldest) > now) return;
    const Endpoint endpoint = std::get<Endpoint>(*oldest);
    Entry& entry = known_.at(endpoint);
    // How often it has failed is not forgotten, while there is room for it.
    if (entry.failures > 0) {
      Move(endpoint, entry, State::kFailed, now);
    } else {
      Remove(endpoint);
    }
  }
}

std::optional<Endpoint> DhtDials::Choose() {
  std::optional<Endpoint> best;
  int weight = 0;
  std::uint64_t ties = 0;
  for (auto it = places_.lower_bound({State::kWaiting, Time{}, Endpoint{}});
       it != places_.end() && std::get<State>(*it) == State::kWaiting; ++it) {
    const auto& endpoint = std::get<Endpoint>(*it);
    const int mine = known_.at(endpoint).weight;
    if (mine < weight) continue;
    ties = mine > weight ? 1 : ties + 1;
    weight = mine;
    // Each of n equals stays with a chance of one in n.
    if (rng_.Below(ties) == 0) best = endpoint;
  }
  return best;
}

void DhtDials::OnDeadline(Time now, std::vector<Endpoint>& dial) {
  now_ = now;
  ForgetOldWaiting(now);
  if (now - second_begin_ >= kSecond) {
    second_begin_ = now;
    second_count_ = 0;
  }
  while (waiting_ > 0 && dialling_ < limits_.at_once && second_count_ < limits_.per_second) {
    const auto endpoint = Choose();
    if (!endpoint) break;
    ++second_count_;
    Move(*endpoint, known_.at(*endpoint), State::kDialling, now);
    dial.push_back(*endpoint);
  }
}

Time DhtDials::NextDeadline() const {
  if (waiting_ == 0 || dialling_ >= limits_.at_once) return kNever;
  return second_count_ < limits_.per_second ? now_ : second_begin_ + kSecond;
}

const SignedRecord* DhtDials::FreshAt(Time now, const Endpoint& endpoint) const {
  const auto it = known_.find(endpoint);
  if (it == known_.end() || it->second.state != State::kAnswered) return nullptr;
  return it->second.until > now && it->second.record ? &*it->second.record : nullptr;
}

bool DhtDials::IsDialling(const Endpoint& endpoint) const {
  const auto it = known_.find(endpoint);
  return it != known_.end() && it->second.state == State::kDialling;
}

void DhtDials::CheckInvariants() const {
  SHOAL_CHECK(known_.size() == places_.size());
  SHOAL_CHECK(known_.size() <= limits_.known_max);
  SHOAL_CHECK(waiting_ <= limits_.waiting_max && dialling_ <= limits_.at_once);
  std::size_t waiting = 0;
  std::size_t dialling = 0;
  std::size_t answered = 0;
  for (const auto& [endpoint, entry] : known_) {
    SHOAL_CHECK(places_.contains({entry.state, entry.until, endpoint}));
    SHOAL_CHECK(!mirrors_.contains(endpoint));
    waiting += entry.state == State::kWaiting ? 1 : 0;
    dialling += entry.state == State::kDialling ? 1 : 0;
    answered += entry.state == State::kAnswered ? 1 : 0;
    SHOAL_CHECK(entry.state != State::kAnswered || entry.record.has_value());
  }
  SHOAL_CHECK(waiting == waiting_ && dialling == dialling_ && answered == answered_);
}

}  // namespace shoal::index
