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
  {
    const std::lock_guard lock(shared_->mutex);
    id = shared_->next++;
    // A manifest comes whole.
    const RangePlan::Limits limits{ref.manifest ? 1 : options_.connections_max};
    call = std::make_shared<RangedCall>(shared_, id, ref, digest, end, limits, std::move(sink));
    shared_->calls[id] = call;
  }
  call->Start(offset);
  return id;
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
