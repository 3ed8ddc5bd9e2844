// Engine: what happens next, in simulated time.
//
// Events are plain numbers, ordered by time and then by when they were planned, so that one seed
// gives one order. Those of the next moments are a heap; those of the next quarter of a second lie
// unsorted in buckets by time, and the rest is a heap again: a large world plans millions, and most
// of the heap's levels would be out of the cache. Every event that happens is mixed into the trace:
// two runs with the same trace did the same things at the same times.
#pragma once

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/time.h"

namespace shoal::sim {

enum class EventKind : std::uint32_t {
  kMessage,    // a message arrives; a: its slot
  kHashed,     // a piece that came was written and hashed; a: its message's slot
  kFlow,       // bytes may have reached a mark; a: flow, b: its turn
  kDeadline,   // a download wants to be woken; a: fetch, b: its generation
  kPoll,       // questions for maps were held back long enough; a: their line
  kSwarmLate,  // arbiters were given time enough; a: round, b: its generation
  kSlots,      // a host looks after its connections to the registry; a: host
  kScript,     // what the scenario planned; a: its number
};

struct Event {
  Time at{};
  std::uint64_t number = 0;
  EventKind kind = EventKind::kScript;
  std::uint32_t a = 0;
  std::uint32_t b = 0;
};

class Engine {
 public:
  [[nodiscard]] Time now() const { return now_; }
  [[nodiscard]] bool empty() const { return near_.empty(); }
  // When the next event happens; kNever when there is none.
  [[nodiscard]] Time next_at() const { return near_.empty() ? kNever : near_.front().at; }

  void At(Time at, EventKind kind, std::uint32_t a, std::uint32_t b = 0);
  // Takes the next event and sets the clock. There must be one.
  Event Pop();

  // Mixes what was decided into the trace.
  void Trace(std::uint64_t what) {
    trace_ = (trace_ ^ what) * 0x9e3779b97f4a7c15U;
    trace_ ^= trace_ >> 29;
  }
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }

 private:
  static bool Before(const Event& x, const Event& y) {
    return x.at != y.at ? x.at < y.at : x.number < y.number;
  }

  using Heap = std::vector<Event>;  // four children each: fewer levels, and they lie side by side
  static void Push(Heap& heap, const Event& event);
  static Event Take(Heap& heap);
  void Put(const Event& event);
  // Brings the next events near, if there are any.
  void Refill();

  static constexpr std::int64_t kBucketMicros = 64;
  static constexpr std::int64_t kBuckets = 4096;
  static std::int64_t BucketOf(Time at) { return at.time_since_epoch().count() / kBucketMicros; }
  std::vector<Event>& Bucket(std::int64_t bucket) {
    return buckets_[static_cast<std::size_t>(bucket % kBuckets)];
  }

  Heap near_;                     // in buckets before next_bucket_; only empty when all are
  std::int64_t next_bucket_ = 0;  // the first that was not brought near
  std::vector<std::vector<Event>> buckets_ = std::vector<std::vector<Event>>(kBuckets);
  std::size_t in_buckets_ = 0;
  Heap far_;  // in buckets from next_bucket_ + kBuckets on
  Time now_{};
  std::uint64_t next_number_ = 0;
  std::uint64_t trace_ = 0x5bd1e995;
  std::uint64_t events_ = 0;
};

// Slots that are used again. A generation tells the present user of a slot from an earlier one.
template <class T>
class Pool {
 public:
  std::uint32_t Add(T value) {
    if (free_.empty()) {
      slots_.push_back({std::move(value), 1});
      return static_cast<std::uint32_t>(slots_.size() - 1);
    }
    const std::uint32_t at = free_.back();
    free_.pop_back();
    slots_[at].value = std::move(value);
    ++slots_[at].generation;
    return at;
  }
  void Free(std::uint32_t at) {
    slots_[at].value = T();
    ++slots_[at].generation;  // even: nobody's
    free_.push_back(at);
  }
  T& operator[](std::uint32_t at) { return slots_[at].value; }
  const T& operator[](std::uint32_t at) const { return slots_[at].value; }
  [[nodiscard]] std::uint32_t generation(std::uint32_t at) const { return slots_[at].generation; }
  T* Find(std::uint32_t at, std::uint32_t generation) {
    if (at >= slots_.size() || slots_[at].generation != generation) return nullptr;
    return &slots_[at].value;
  }
  [[nodiscard]] std::size_t used() const { return slots_.size() - free_.size(); }

 private:
  struct Slot {
    T value;
    std::uint32_t generation = 0;
  };
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
};

}  // namespace shoal::sim
