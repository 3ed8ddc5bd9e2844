#include "registry-proxy/range_plan.h"

#include <algorithm>

#include "base/check.h"

namespace shoal::proxy {

RangePlan::Ask RangePlan::Start(Bytes begin) {
  SHOAL_CHECK(lanes_.empty() && next_id_ == 1);
  asked_ = begin;
  const LaneId id = next_id_++;
  lanes_[id] = {begin, begin, begin, true};
  return {id, begin, std::nullopt};
}

void RangePlan::OnSize(Bytes end) {
  SHOAL_CHECK(!end_ && lanes_.size() == 1);
  Lane& first = lanes_.begin()->second;
  SHOAL_CHECK(end >= first.begin);
  end_ = first.stop = asked_ = end;
  if (first.at == end) lanes_.clear();
}

Bytes RangePlan::OnBytes(Time now, LaneId lane, Bytes count, bool* done) {
  const auto found = lanes_.find(lane);
  SHOAL_CHECK(end_ && found != lanes_.end());
  Lane& mine = found->second;
  const Bytes taken = std::min(count, mine.stop - mine.at);
  mine.at += taken;
  received_ += taken;
  since_cut_ += taken;
  if (since_cut_ >= kCutsForgiven) cuts_ = 0;
  *done = mine.at == mine.stop;
  if (*done) lanes_.erase(found);
  Measure(now);
  return taken;
}

void RangePlan::Measure(Time now) {
  if (tried_) return;
  if (target_ > most_) {
    // What was to be tried is not to be had yet.
    measuring_ = false;
    measure_from_ = now + kSettle;
    if (Left() >= kLargeRest) return;
    target_ = most_;
    tried_ = true;
    return;
  }
  if (!measure_from_) measure_from_ = now + kSettle;
  if (now < *measure_from_) return;
  if (!measuring_) {
    measuring_ = true;
    measure_from_ = now;
    measured_ = received_;
    return;
  }
  const Duration took = now - *measure_from_;
  if (took < kMeasure) return;
  const double rate = static_cast<double>((received_ - measured_).count()) * 1e6 /
                      static_cast<double>(took.count());
  if (rate_ && rate < *rate_ * kWorthWhile) {
    --target_;
    tried_ = true;
    return;
  }
  rate_ = rate;
  if (target_ >= limits_.lanes_max || Left() < kLargeRest) {
    tried_ = true;
    return;
  }
  ++target_;
  measuring_ = false;
  measure_from_ = now + kSettle;
}

bool RangePlan::OnFailed(LaneId lane, bool refused) {
  const auto found = lanes_.find(lane);
  if (!end_ || found == lanes_.end()) return false;
  const Lane lost = found->second;
  if (lost.open && lanes_.size() == 1 && gaps_.empty()) return false;  // as without any plan
  if (++cuts_ > kCutsMax) return false;
  since_cut_ = Bytes(0);
  lanes_.erase(found);
  target_ = refused ? 1 : std::max(1, std::min(target_, static_cast<int>(lanes_.size())));
  tried_ = true;
  ranges_ = ranges_ && !refused;
  for (auto& [id, other] : lanes_) {
    // The first stream still runs, and nobody else has a byte of what follows: it goes on.
    if (!other.open || other.stop != lost.at || asked_ != lost.stop) continue;
    other.stop = asked_ = *end_;
    return true;
  }
  gaps_.emplace(lost.at, lost.stop);
  return true;
}

RangePlan::Ask RangePlan::Begin(Bytes begin, Bytes stop, bool open) {
  const LaneId id = next_id_++;
  lanes_[id] = {begin, begin, stop, open};
  return {id, begin, open ? std::nullopt : std::optional(stop), ranges_ && !open};
}

std::vector<RangePlan::Ask> RangePlan::Next(int room, int connections) {
  std::vector<Ask> asks;
  if (!end_) return asks;
  const int target = std::min(target_, most_);
  while (lanes() < target && static_cast<int>(asks.size()) < connections) {
    if (!gaps_.empty()) {
      const auto [begin, stop] = *gaps_.begin();
      gaps_.erase(gaps_.begin());
      asks.push_back(Begin(begin, stop, false));
      continue;
    }
    if (asked_ == *end_ && lanes() == 1 && lanes_.begin()->second.open) {
      // The first stream leaves the rest to others, from the end of its range on.
      Lane& first = lanes_.begin()->second;
      if (room < 1 || first.stop - first.at < kRange * 2) break;
      first.stop = asked_ = first.at + kRange;
    }
    if (asked_ == *end_) break;
    if (target == 1) {
      // No longer in parallel: one stream to the end.
      asks.push_back(Begin(asked_, *end_, true));
      asked_ = *end_;
      continue;
    }
    const bool ahead = asked_ > Front();
    if (ahead && (room < 1 || asked_ - Front() >= kRange * limits_.lanes_max)) break;
    if (ahead) --room;
    const Bytes stop = std::min(*end_, asked_ + kRange);
    asks.push_back(Begin(asked_, stop, false));
    asked_ = stop;
  }
  return asks;
}

std::optional<Bytes> RangePlan::PositionOf(LaneId lane) const {
  const auto found = lanes_.find(lane);
  if (found == lanes_.end()) return std::nullopt;
  return found->second.at;
}

Bytes RangePlan::Front() const {
  Bytes front = asked_;
  for (const auto& [id, lane] : lanes_) front = std::min(front, lane.at);
  if (!gaps_.empty()) front = std::min(front, gaps_.begin()->first);
  return front;
}

Bytes RangePlan::Left() const {
  // What nobody but the open stream was asked for.
  Bytes left = *end_ - asked_;
  for (const auto& [id, lane] : lanes_) {
    if (lane.open) left += lane.stop - lane.at;
  }
  return left;
}

void RangePlan::CheckInvariants() const {
  SHOAL_CHECK(target_ >= 1 && target_ <= limits_.lanes_max);
  SHOAL_CHECK(lanes() <= limits_.lanes_max && most_ >= 1);
  if (!end_) return;
  std::map<Bytes, Bytes> parts = gaps_;
  for (const auto& [id, lane] : lanes_) {
    SHOAL_CHECK(lane.begin <= lane.at && lane.at < lane.stop && lane.stop <= asked_);
    SHOAL_CHECK(parts.emplace(lane.at, lane.stop).second);
  }
  Bytes before;
  for (const auto& [begin, end] : parts) {
    SHOAL_CHECK(begin >= before && begin < end);
    before = end;
  }
  SHOAL_CHECK(asked_ <= *end_);
}

}  // namespace shoal::proxy
