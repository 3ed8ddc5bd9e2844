#include "registry-proxy/upstream/ranged_upstream.h"

#include <utility>

#include "registry-proxy/upstream/ranged_call.h"

namespace shoal::proxy {

RangedUpstream::RangedUpstream(Ports ports, Options options)
    : options_(options), shared_(std::make_shared<RangedShared>()) {
  shared_->ports = std::move(ports);
  shared_->rooms = static_cast<int>(options.buffers_max / kRange);
}

RangedUpstream::~RangedUpstream() {
  std::unique_lock lock(shared_->mutex);
  shared_->stopping = true;
  const auto calls = shared_->calls;
  lock.unlock();
  for (const auto& [id, call] : calls) call->Cancel();
  lock.lock();
  shared_->none_starts.wait(lock, [this] { return shared_->starting == 0; });
}

RangedUpstream::CallId RangedUpstream::Fetch(const fetch::UpstreamRef& ref, const Digest& digest,
                                             Bytes offset, Bytes end,
                                             std::shared_ptr<fetch::ByteSink> sink) {
  std::shared_ptr<RangedCall> call;
  CallId id = 0;
  const auto& bound = shared_->ports.bound;
  const bool bounded = !ref.manifest && bound && bound(ref.registry) > 0;
  {
    const std::lock_guard lock(shared_->mutex);
    id = shared_->next++;
    // A manifest comes whole.
    const RangePlan::Limits limits{ref.manifest ? 1 : options_.connections_max};
    call = std::make_shared<RangedCall>(shared_, id, ref, digest, end, limits, bounded,
                                        std::move(sink));
    shared_->calls[id] = call;
    if (bounded) shared_->slots[id] = {ref.registry, 0, {}};
  }
  call->Start(offset);
  return id;
}

std::optional<SlotShare::Use> RangedUpstream::SetShare(CallId id, int connections) {
  std::shared_ptr<RangedCall> call;
  {
    const std::lock_guard lock(shared_->mutex);
    const auto slots = shared_->slots.find(id);
    if (slots == shared_->slots.end()) return std::nullopt;
    slots->second.share = connections;
    if (const auto found = shared_->calls.find(id); found != shared_->calls.end()) {
      call = found->second;
    }
  }
  if (call) call->OnShare(connections);
  return UseOf(id);
}

std::optional<SlotShare::Use> RangedUpstream::UseOf(CallId id) const {
  const std::lock_guard lock(shared_->mutex);
  const auto slots = shared_->slots.find(id);
  if (slots == shared_->slots.end()) return std::nullopt;
  return slots->second.use;
}

void RangedUpstream::Cancel(CallId id) {
  std::shared_ptr<RangedCall> call;
  {
    const std::lock_guard lock(shared_->mutex);
    const auto found = shared_->calls.find(id);
    if (found == shared_->calls.end()) return;
    call = found->second;
  }
  call->Cancel();
}

}  // namespace shoal::proxy
