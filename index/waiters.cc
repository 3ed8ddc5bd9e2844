#include "index/waiters.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace shoal::index {

bool Waiters::Add(Time now, DiscoverQuery query, Answer answer) {
  if (by_time_.size() >= limits_.waiters_max) return false;
  const Key key(now + std::chrono::milliseconds(query.wait_ms), ++last_);
  by_time_.emplace(key, query.name);
  auto& room = rooms_[query.name];
  room.waiters.emplace(key, Waiter{std::move(query), std::move(answer)});
  return true;
}

void Waiters::OnNews(Time now, const std::string& name) {
  const auto it = rooms_.find(name);
  if (it == rooms_.end() || it->second.due != kNever) return;
  const auto count = static_cast<std::int64_t>(it->second.waiters.size());
  it->second.due = now + limits_.pause + limits_.pause_per_waiter * count;
  due_.emplace(it->second.due, name);
}

// An answer may add a waiter again, or bring news: so all is taken out before it is called.
void Waiters::Tell(Time now, const std::string& name) {
  const auto it = rooms_.find(name);
  if (it == rooms_.end() || it->second.due > now) return;
  auto waiters = std::move(it->second.waiters);
  rooms_.erase(it);
  for (const auto& [key, waiter] : waiters) by_time_.erase(key);
  for (const auto& [key, waiter] : waiters) waiter.answer(waiter.query);
}

void Waiters::OnDeadline(Time now) {
  while (!due_.empty() && due_.begin()->first <= now) {
    const std::string name = due_.begin()->second;
    due_.erase(due_.begin());
    Tell(now, name);
  }
  while (!by_time_.empty() && by_time_.begin()->first.first <= now) {
    const auto [key, name] = *by_time_.begin();
    by_time_.erase(by_time_.begin());
    const auto room = rooms_.find(name);
    const Waiter waiter = std::move(room->second.waiters.at(key));
    room->second.waiters.erase(key);
    // Its news, if any is due, finds no room; a later room of the name has a due time of its own.
    if (room->second.waiters.empty()) rooms_.erase(room);
    waiter.answer(waiter.query);
  }
}

Time Waiters::NextDeadline() const {
  Time next = due_.empty() ? kNever : due_.begin()->first;
  if (!by_time_.empty()) next = std::min(next, by_time_.begin()->first.first);
  return next;
}

void Waiters::CheckInvariants() const {
  std::size_t count = 0;
  for (const auto& [name, room] : rooms_) {
    SHOAL_CHECK(!room.waiters.empty());
    for (const auto& [key, waiter] : room.waiters) {
      SHOAL_CHECK(by_time_.at(key) == name && waiter.query.name == name);
      ++count;
    }
    SHOAL_CHECK(room.due == kNever || !due_.empty());
  }
  SHOAL_CHECK(count == by_time_.size() && count <= limits_.waiters_max);
}

}  // namespace shoal::index
