// IndexServer: `shoal index`: the HTTP server that bounds connections, and the service behind it.
#pragma once

#include <atomic>
#include <memory>

#include "agent/open_reader.h"
#include "fetch/store/work_pool.h"
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
    bool search = false;                               // GET /v1/search, and what it takes
  };
  // Serves when it returns. Errors: those of RendezvousService and HttpServer.
  static Result<std::unique_ptr<IndexServer>> Start(Options options, const index::SigningKey& key);
  // Answers what is under way, and keeps what was taken.
  ~IndexServer();

  [[nodiscard]] index::Endpoint endpoint() const { return http_->endpoint(); }
  [[nodiscard]] int connections() const { return http_->connections(); }
  [[nodiscard]] index::RendezvousService::Counts counts() const { return service_->counts(); }
  // nullptr: it does not search.
  [[nodiscard]] const OpenReader* reader() const { return reader_.get(); }
  // The service's word on others, for people.
  [[nodiscard]] const index::RendezvousService& service() const { return *service_; }

 private:
  IndexServer() = default;
  void Handle(fetch::HttpRequest request, fetch::HttpServer::Responder respond);
  void Search(const fetch::HttpRequest& request, fetch::HttpServer::Responder respond);

  std::unique_ptr<index::RendezvousService> service_;
  std::unique_ptr<OpenReader> reader_;  // asks service_
  // Searches, one after the other, so that they keep no other question waiting.
  std::unique_ptr<fetch::WorkPool> searches_;
  std::atomic<int> searches_waiting_ = 0;
  std::unique_ptr<fetch::HttpServer> http_;  // calls all of these
};

}  // namespace shoal::agent
