#include "agent/index_server.h"

#include <utility>

#include "agent/search_reply.h"
#include "index/query.h"

namespace shoal::agent {
namespace {

constexpr int kThreads = 2;  // they parse, verify signatures, and encrypt
// More are told to come later: of 20 ms each, for the slowest.
constexpr int kSearchesWaiting = 64;
constexpr Duration kGrace = std::chrono::seconds(1);
// A request of 64 KiB: index/signed_request.h.
constexpr std::size_t kRequestBodyBytesMax = index::kRendezvousRequestBytesMax;

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
  http.limits.body_bytes_max = kRequestBodyBytesMax;
  http.limits.connections_max = options.connections_max;
  http.limits.idle = options.idle;
  http.limits.header_time = options.request_time;
  if (options.search) {
    auto reader = OpenReader::Start(key, *server->service_);
    if (!reader) return reader.error();
    server->reader_ = *std::move(reader);
    server->searches_ = std::make_unique<fetch::WorkPool>(1);
  }
  auto started = fetch::HttpServer::Start(
      std::move(http),
      [raw = server.get()](fetch::HttpRequest request, fetch::HttpServer::Responder respond) {
        raw->Handle(std::move(request), std::move(respond));
      });
  if (!started) return started.error();
  server->http_ = *std::move(started);
  return server;
}

void IndexServer::Handle(fetch::HttpRequest request, fetch::HttpServer::Responder respond) {
  if (reader_ != nullptr && request.method == "GET" &&
      index::PathOf(request.target) == "/v1/search") {
    return Search(request, std::move(respond));
  }
  const bool takes_zstd =
      fetch::FindHeader(request.headers, "accept-encoding").find("zstd") != std::string_view::npos;
  service_->Handle({std::move(request.method), std::move(request.target), std::move(request.body),
                    request.peer, takes_zstd},
                   [respond = std::move(respond)](index::RendezvousService::Reply reply) {
                     respond(ToHttp(std::move(reply)));
                   });
}

void IndexServer::Search(const fetch::HttpRequest& request, fetch::HttpServer::Responder respond) {
  const auto answer = [respond](AdminReply reply) {
    respond(ToHttp({reply.status, std::move(reply.body)}));
  };
  auto query = index::ParseQuery(request.target);
  if (!query) return answer(ErrorReply(query.error()));
  if (++searches_waiting_ > kSearchesWaiting) {
    --searches_waiting_;
    return answer(ErrorReply({Code::kRetryLater, "the server is busy with other searches"}));
  }
  AdminRequest asked;
  asked.query = *std::move(query);
  searches_->Post([this, asked = std::move(asked), answer] {
    answer(SearchReply(reader_->finder(), asked));
    --searches_waiting_;
  });
}

IndexServer::~IndexServer() {
  if (http_ != nullptr) http_->Stop(kGrace);
  searches_.reset();
  reader_.reset();  // before the service that it asks
}

}  // namespace shoal::agent
