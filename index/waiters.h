// Waiters: DISCOVERs that wait for news of a namespace.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "index/query.h"

namespace shoal::index {

// Who waits for which namespace, until when, and when the news of it is due. Pure: what is due
// comes out of OnDeadline.
class Waiters {
 public:
  struct Limits {
    std::size_t waiters_max = 0;
    Duration pause{};             // between news and telling it
    Duration pause_per_waiter{};  // more, for each that waits for that namespace
  };
  using Answer = std::function<void(const DiscoverQuery&)>;

  explicit Waiters(Limits limits) : limits_(limits) {}

  // Returns false when too many wait.
  bool Add(Time now, DiscoverQuery query, Answer answer);
  // Somebody is new under `name`, or says something new.
  void OnNews(Time now, const std::string& name);
  // Calls the answers of those whose time or news has come.
  void OnDeadline(Time now);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] std::size_t size() const { return by_time_.size(); }
  void CheckInvariants() const;

 private:
  struct Waiter {
    DiscoverQuery query;
    Answer answer;
  };
  using Key = std::pair<Time, std::uint64_t>;  // until when, and which
  struct Room {
    std::map<Key, Waiter> waiters;
    Time due = kNever;
  };

  void Tell(Time now, const std::string& name);

  Limits limits_;
  std::uint64_t last_ = 0;
  std::unordered_map<std::string, Room> rooms_;  // none is empty
  std::map<Key, std::string> by_time_;           // all waiters, to their namespace
  std::multimap<Time, std::string> due_;
};

}  // namespace shoal::index
