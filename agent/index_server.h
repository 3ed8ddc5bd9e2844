// IndexServer: `shoal index`: the HTTP server that bounds connections, and the service behind it.
#pragma once

#include <memory>

#include "fetch/transport/http_server.h"
#include "index/rendezvous/rendezvous_service.h"
#include "index/signing_key.h"

namespace shoal::agent {

class IndexServer {
 public:
  struct Options {
    index::Endpoint listen{"0.0.0.0", 7383};
    index::RendezvousService::Options service;
    // Several of each agent. An idle one costs about 20 KiB.
    int connections_max = 40'000;
    Duration idle = std::chrono::minutes(2);
    Duration request_time = std::chrono::seconds(10);  // for a request to arrive whole
  };
  // Serves when it returns. Errors: those of RendezvousService and HttpServer.
  static Result<std::unique_ptr<IndexServer>> Start(Options options, const index::SigningKey& key);
  // Answers what is under way, and keeps what was taken.
  ~IndexServer();

  [[nodiscard]] index::Endpoint endpoint() const { return http_->endpoint(); }
  [[nodiscard]] int connections() const { return http_->connections(); }
  [[nodiscard]] index::RendezvousService::Counts counts() const { return service_->counts(); }
  // The service's word on others, for people.
  [[nodiscard]] const index::RendezvousService& service() const { return *service_; }

 private:
  IndexServer() = default;

  std::unique_ptr<index::RendezvousService> service_;
  std::unique_ptr<fetch::HttpServer> http_;  // calls service_
};

}  // namespace shoal::agent
