// IndexStatus: what `shoal index` answers on the admin port.
#pragma once

#include "agent/admin_server.h"
#include "agent/index_server.h"
#include "base/digest.h"
#include "base/time.h"

namespace shoal::agent {

// GET /healthz, /readyz, /metrics, /v1/status; /v1/servers, the servers that federate;
// /v1/peers?limit&after, who is registered at any of them; /v1/search. docs/OPERATING.md.
class IndexStatus {
 public:
  // server  outlives this.
  IndexStatus(const IndexServer& server, const PeerId& id, Time started)
      : server_(server), id_(id), started_(started) {}

  // Any thread.
  [[nodiscard]] AdminReply Answer(const AdminRequest& request) const;

 private:
  [[nodiscard]] AdminReply Metrics() const;
  [[nodiscard]] AdminReply Status() const;
  [[nodiscard]] AdminReply Servers() const;
  [[nodiscard]] AdminReply Peers(const AdminRequest& request) const;

  const IndexServer& server_;
  PeerId id_;
  Time started_;
};

}  // namespace shoal::agent
