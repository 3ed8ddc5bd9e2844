#include "agent/index_server.h"

#include <utility>

namespace shoal::agent {
namespace {

constexpr int kThreads = 2;  // they parse, verify signatures, and encrypt
constexpr Duration kGrace = std::chrono::seconds(1);
// A request of 64 KiB: index/signed_request.h.
constexpr std::size_t kBodyBytesMax = index::kRendezvousRequestBytesMax;

fetch::HttpReply ToHttp(index::RendezvousService::Reply reply) {
  fetch::HttpReply out;
  out.status = reply.status;
  out.headers = {{"Content-Type", "application/json"}};
  if (reply.is_packed) out.headers.emplace_back("Content-Encoding", "zstd");
  out.body.push_back({std::move(reply.json), nullptr, {}, {}});
  return out;
}

}  // namespace

Result<std::unique_ptr<IndexServer>> IndexServer::Start(Options options,
                                                        const index::SigningKey& key) {
  auto tls = fetch::TlsIdentity::Make(key);
  if (!tls) return tls.error();
  auto service = index::RendezvousService::Start(options.service, key);
  if (!service) return service.error();
  std::unique_ptr<IndexServer> server(new IndexServer());
  server->service_ = *std::move(service);
  fetch::HttpServer::Options http{.listen = options.listen,
                                  .name = "index server",
                                  .threads = kThreads,
                                  .limits = {},
                                  .tls = *tls};
  http.limits.body_bytes_max = kBodyBytesMax;
  http.limits.connections_max = options.connections_max;
  http.limits.idle = options.idle;
  http.limits.header_time = options.request_time;
  auto started = fetch::HttpServer::Start(
      std::move(http), [service = server->service_.get()](fetch::HttpRequest request,
                                                          fetch::HttpServer::Responder respond) {
        const bool takes_zstd =
            fetch::FindHeader(request.headers, "accept-encoding").find("zstd") !=
            std::string_view::npos;
        service->Handle({std::move(request.method), std::move(request.target),
                         std::move(request.body), request.peer, takes_zstd},
                        [respond = std::move(respond)](index::RendezvousService::Reply reply) {
                          respond(ToHttp(std::move(reply)));
                        });
      });
  if (!started) return started.error();
  server->http_ = *std::move(started);
  return server;
}

IndexServer::~IndexServer() {
  if (http_ != nullptr) http_->Stop(kGrace);
}

}  // namespace shoal::agent
