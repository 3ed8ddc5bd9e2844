#include "tests/sim/engine.h"

#include <algorithm>

namespace shoal::sim {
namespace {

constexpr std::size_t kChildren = 4;

}  // namespace

void Engine::Push(Heap& heap, const Event& event) {
  std::size_t i = heap.size();
  heap.push_back(event);
  while (i > 0) {
    const std::size_t parent = (i - 1) / kChildren;
    if (!Before(event, heap[parent])) break;
    heap[i] = heap[parent];
    i = parent;
  }
  heap[i] = event;
}

Event Engine::Take(Heap& heap) {
  const Event top = heap.front();
  const Event moved = heap.back();
  heap.pop_back();
  if (heap.empty()) return top;
  std::size_t i = 0;
  for (;;) {
    const std::size_t first = i * kChildren + 1;
    if (first >= heap.size()) break;
    const std::size_t end = std::min(first + kChildren, heap.size());
    std::size_t least = first;
    for (std::size_t c = first + 1; c < end; ++c) {
      if (Before(heap[c], heap[least])) least = c;
    }
    if (!Before(heap[least], moved)) break;
    heap[i] = heap[least];
    i = least;
  }
  heap[i] = moved;
  return top;
}

void Engine::At(Time at, EventKind kind, std::uint32_t a, std::uint32_t b) {
  Put({std::max(at, now_), next_number_++, kind, a, b});
  if (near_.empty()) Refill();
}

void Engine::Put(const Event& event) {
  const std::int64_t bucket = BucketOf(event.at);
  if (bucket < next_bucket_) return Push(near_, event);
  if (bucket >= next_bucket_ + kBuckets) return Push(far_, event);
  Bucket(bucket).push_back(event);
  ++in_buckets_;
}

void Engine::Refill() {
  while (near_.empty() && (in_buckets_ > 0 || !far_.empty())) {
    // Nothing but what is far: straight to it.
    if (in_buckets_ == 0) next_bucket_ = BucketOf(far_.front().at);
    std::vector<Event>& bucket = Bucket(next_bucket_++);
    in_buckets_ -= bucket.size();
    for (const Event& event : bucket) Push(near_, event);
    bucket.clear();
    while (!far_.empty() && BucketOf(far_.front().at) < next_bucket_ + kBuckets) Put(Take(far_));
  }
}

Event Engine::Pop() {
  SHOAL_CHECK(!near_.empty());
  const Event top = Take(near_);
  if (near_.empty()) Refill();
  now_ = top.at;
  ++events_;
  Trace(static_cast<std::uint64_t>(top.at.time_since_epoch().count()));
  Trace(static_cast<std::uint64_t>(top.kind) << 32 ^ top.a);
  return top;
}

}  // namespace shoal::sim
