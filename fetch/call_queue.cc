#include "fetch/call_queue.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::fetch {

CallQueue::CallQueue(int running_max) : running_max_(running_max) { SHOAL_CHECK(running_max >= 1); }

bool CallQueue::Add(Id id, const std::string& lane, int lane_max) {
  SHOAL_CHECK(lane_max >= 1 && !places_.contains(id));
  if (waiting_ >= kWaitingMax) return false;
  Lane& its = lanes_[lane];
  its.running_max = lane_max;
  its.waiting.push_back({id, arrivals_++});
  places_.emplace(id, Place{lane});
  ++waiting_;
  return true;
}

void CallQueue::Dials(Id id) {
  Place& place = places_.at(id);
  SHOAL_CHECK(place.running && !place.dials);
  place.dials = true;
  ++lanes_.at(place.lane).dialling;
}

void CallQueue::DialEnds(Id id) {
  const auto place = places_.find(id);
  if (place == places_.end() || !place->second.dials) return;
  place->second.dials = false;
  --lanes_.at(place->second.lane).dialling;
}

void CallQueue::Remove(Id id) {
  DialEnds(id);
  const auto place = places_.find(id);
  if (place == places_.end()) return;
  const auto lane = lanes_.find(place->second.lane);
  if (place->second.running) {
    --lane->second.running;
    --running_;
  } else {
    std::erase_if(lane->second.waiting, [id](const Waiting& one) { return one.id == id; });
    --waiting_;
  }
  if (lane->second.running == 0 && lane->second.waiting.empty()) lanes_.erase(lane);
  places_.erase(place);
}

std::optional<CallQueue::Id> CallQueue::Next() {
  if (running_ >= running_max_ || waiting_ == 0) return std::nullopt;
  Lane* first = nullptr;
  for (auto& [name, lane] : lanes_) {
    if (lane.waiting.empty() || lane.running >= lane.running_max) continue;
    if (lane.dialling >= kDialsMax) continue;
    if (first == nullptr || lane.waiting.front().arrival < first->waiting.front().arrival) {
      first = &lane;
    }
  }
  if (first == nullptr) return std::nullopt;
  const Id id = first->waiting.front().id;
  first->waiting.pop_front();
  ++first->running;
  ++running_;
  --waiting_;
  places_.at(id).running = true;
  return id;
}

void CallQueue::CheckInvariants() const {
  int running = 0;
  std::size_t waiting = 0;
  for (const auto& [name, lane] : lanes_) {
    SHOAL_CHECK(lane.running >= 0 && lane.running <= lane.running_max);
    SHOAL_CHECK(lane.dialling >= 0 && lane.dialling <= kDialsMax && lane.dialling <= lane.running);
    SHOAL_CHECK(lane.running > 0 || !lane.waiting.empty());
    SHOAL_CHECK(std::ranges::is_sorted(lane.waiting, {}, &Waiting::arrival));
    running += lane.running;
    waiting += lane.waiting.size();
  }
  SHOAL_CHECK(running == running_ && running <= running_max_);
  SHOAL_CHECK(waiting == waiting_ && waiting + static_cast<std::size_t>(running) == places_.size());
}

}  // namespace shoal::fetch
