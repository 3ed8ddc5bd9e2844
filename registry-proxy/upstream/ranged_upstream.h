// RangedUpstream: one blob from a registry by several connections, in order. An UpstreamPort before
// another; RangePlan decides, this buffers what comes early and keeps the sink's rules.
//
// Limits: connections_max a blob; buffers_max for what waits, of all blobs together.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "fetch/upstream_port.h"
#include "registry-proxy/range_plan.h"

namespace shoal::proxy {

class RangedCall;
struct RangedShared;

class RangedUpstream : public fetch::UpstreamPort {
 public:
  // What it stands before: Upstream::FetchRange and Cancel.
  struct Ports {
    std::function<CallId(const fetch::UpstreamRef& ref, const Digest& digest, Bytes offset,
                         Bytes end, bool exact, std::shared_ptr<fetch::ByteSink> sink)>
        fetch;
    std::function<void(CallId)> cancel;
    std::function<Time()> now;
  };
  struct Options {
    int connections_max = 4;
    Bytes buffers_max{32 << 20};
  };

  RangedUpstream(Ports ports, Options options);
  // Cancels what runs; the ports are not used afterwards.
  ~RangedUpstream() override;

  CallId Fetch(const fetch::UpstreamRef& ref, const Digest& digest, Bytes offset, Bytes end,
               std::shared_ptr<fetch::ByteSink> sink) override;
  void Cancel(CallId call) override;

 private:
  Options options_;
  std::shared_ptr<RangedShared> shared_;  // owners: this, and its calls
};

}  // namespace shoal::proxy
