#include "index/rendezvous/server_link.h"

#include <utility>  // Asio 1.74 uses std::exchange without including it

#include <cpprest/http_client.h>

#include <stdexcept>
#include <vector>

#include "index/keyfile/pin_file.h"
#include "index/rendezvous/record_cache.h"
#include "index/rendezvous/tls.h"

namespace shoal::index {
namespace {

namespace http = web::http;

// Bounds connecting, and each wait for bytes.
constexpr std::chrono::seconds kRequestTimeout{5};

// About 2 MiB. The members of many swarms; who is not kept is only verified again.
constexpr std::size_t kRecordsKept = 1000;

}  // namespace

Result<ServerUrl> ParseServerUrl(const std::string& url) {
  const Error wrong{Code::kInvalid, "\"" + url.substr(0, 300) +
                                        "\" is no index server; write one like "
                                        "\"https://host:7383\" or \"https://host:7383#PEERID\""};
  const std::string target = url.substr(0, url.find('#'));
  if (!target.starts_with("https://")) return wrong;
  std::string authority = target.substr(8);
  if (authority.ends_with('/')) authority.pop_back();
  const auto endpoint = ParseEndpoint(authority);
  if (!endpoint) return wrong;
  ServerUrl out{"https://" + ToString(*endpoint), std::nullopt};
  if (target.size() < url.size()) {
    const auto pin = ParsePeerId(url.substr(target.size() + 1));
    if (!pin) return wrong;
    out.pin = *pin;
  }
  return out;
}

class ServerLink::Impl : public std::enable_shared_from_this<ServerLink::Impl> {
 public:
  Impl(const ServerUrl& url, std::string pinned_by)
      : target_(url.target),
        pinned_by_(std::move(pinned_by)),
        pin_(std::make_shared<PinCheck>(url.pin)),
        client_(web::uri(url.target), Config(pin_)) {}

  [[nodiscard]] std::optional<PeerId> id() const { return pin_->id(); }

  void Post(const char* path, std::string body, const OnAnswer& done) {
    http::http_request request(http::methods::POST);
    request.set_request_uri(path);
    request.set_body(std::move(body), "application/json");
    Request(request, done);
  }

  void Request(http::http_request request, const OnAnswer& done) {
    request.set_progress_handler(
        [](http::message_direction::direction direction, utility::size64_t bytes) {
          if (direction == http::message_direction::download && bytes > kRendezvousAnswerBytesMax) {
            throw std::length_error("the answer is too long");
          }
        });
    client_.request(request)
        .then([](const http::http_response& response) { return response.extract_vector(); })
        .then(
            [self = shared_from_this(), done](const pplx::task<std::vector<unsigned char>>& body) {
              done(self->ToAnswer(body));
            });
  }

 private:
  static http::client::http_client_config Config(const std::shared_ptr<PinCheck>& pin) {
    http::client::http_client_config config;
    config.set_timeout(kRequestTimeout);
    // cpprestsdk keeps this as long as any of its contexts.
    config.set_ssl_context_callback(
        [pin](boost::asio::ssl::context& ssl) { pin->Use(ssl.native_handle()); });
    return config;
  }

  Result<ServerAnswer> ToAnswer(const pplx::task<std::vector<unsigned char>>& body) {
    std::vector<unsigned char> bytes;
    try {
      bytes = body.get();
    } catch (const std::length_error& error) {
      return Error{Code::kExhausted, "index server " + target_ + ": " + error.what()};
    } catch (const std::exception& error) {
      if (pin_->TakeRefusal()) {
        return OtherIdentity(target_, pin_->id().value_or(PeerId{}), pinned_by_);
      }
      return Error{Code::kRetryLater, "index server " + target_ + ": " + error.what()};
    }
    return DecodeAnswer({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                        verified_.Reader());
  }

  std::string target_;
  std::string pinned_by_;
  std::shared_ptr<PinCheck> pin_;  // owners: we, and the client's configuration
  RecordCache verified_{kRecordsKept};
  http::client::http_client client_;
};

ServerLink::ServerLink(ServerUrl url, std::string pinned_by)
    : url_(std::move(url)), impl_(std::make_shared<Impl>(url_, std::move(pinned_by))) {}

ServerLink::~ServerLink() = default;

std::optional<PeerId> ServerLink::id() const { return impl_->id(); }

void ServerLink::Change(RendezvousVerb verb, std::string body, OnAnswer done) {
  impl_->Post(verb == RendezvousVerb::kRegister ? "/v1/register" : "/v1/unregister",
              std::move(body), done);
}

void ServerLink::AskSwarm(std::string body, OnAnswer done) {
  impl_->Post("/v1/swarm", std::move(body), done);
}

void ServerLink::Discover(const std::string& name, int limit, const std::string& cookie,
                          OnAnswer done) {
  web::uri_builder uri("/v1/discover");
  uri.append_query("namespace", name);
  uri.append_query("limit", limit);
  if (!cookie.empty()) uri.append_query("cookie", cookie);
  http::http_request request(http::methods::GET);
  request.set_request_uri(uri.to_uri());
  impl_->Request(request, done);
}

}  // namespace shoal::index
