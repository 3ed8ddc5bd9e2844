#include "tests/sim/engine.h"

#include <algorithm>

namespace shoal::sim {
namespace {

constexpr std::size_t kChildren = 4;

}  // namespace

void Engine::At(Time at, EventKind kind, std::uint32_t a, std::uint32_t b) {
  const Event event{std::max(at, now_), next_number_++, kind, a, b};
  std::size_t i = heap_.size();
  heap_.push_back(event);
  while (i > 0) {
    const std::size_t parent = (i - 1) / kChildren;
    if (!Before(event, heap_[parent])) break;
    heap_[i] = heap_[parent];
    i = parent;
  }
  heap_[i] = event;
}

Event Engine::Pop() {
  SHOAL_CHECK(!heap_.empty());
  const Event top = heap_.front();
  const Event moved = heap_.back();
  heap_.pop_back();
  if (!heap_.empty()) {
    std::size_t i = 0;
    for (;;) {
      const std::size_t first = i * kChildren + 1;
      if (first >= heap_.size()) break;
      const std::size_t end = std::min(first + kChildren, heap_.size());
      std::size_t least = first;
      for (std::size_t c = first + 1; c < end; ++c) {
        if (Before(heap_[c], heap_[least])) least = c;
      }
      if (!Before(heap_[least], moved)) break;
      heap_[i] = heap_[least];
      i = least;
    }
    heap_[i] = moved;
  }
  now_ = top.at;
  ++events_;
  Trace(static_cast<std::uint64_t>(top.at.time_since_epoch().count()));
  Trace(static_cast<std::uint64_t>(top.kind) << 32 ^ top.a);
  return top;
}

}  // namespace shoal::sim
