// RangedUpstream: one blob from a registry by several connections, in order. An UpstreamPort before
// another; RangePlan decides, this buffers what comes early and keeps the sink's rules.
//
// Limits: connections_max a blob; buffers_max for what waits, of all blobs together. Of a registry
// whose connections are bounded a call opens no more than it is told it may have (SetShare).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "fetch/upstream_port.h"
#include "registry-proxy/range_plan.h"
#include "registry-proxy/slot_share.h"

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
    // How many connections a registry may have of all hosts together; 0: no bound. Null: none has.
    std::function<int(const std::string& registry)> bound{};
    // What a call to a registry with a bound has or wants is another now (UseOf). Any thread; never
    // inside SetShare's own call of it.
    std::function<void(CallId call, const std::string& registry)> on_use{};
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

  // For calls to registries with a bound, which begin with none. Returns what the call has then.
  // nullopt when it is over and has nothing open, or is none.
  std::optional<SlotShare::Use> SetShare(CallId call, int connections);
  [[nodiscard]] std::optional<SlotShare::Use> UseOf(CallId call) const;

 private:
  Options options_;
  std::shared_ptr<RangedShared> shared_;  // owners: this, and its calls
};

}  // namespace shoal::proxy
