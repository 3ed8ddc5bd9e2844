#include "index/rendezvous/server_link.h"

#include <utility>  // Asio 1.74 uses std::exchange without including it

#include <cpprest/http_client.h>
#include <openssl/crypto.h>

#include <stdexcept>
#include <vector>

#include "index/keyfile/pin_file.h"
#include "index/net/zstd_codec.h"
#include "index/query.h"
#include "index/rendezvous/record_cache.h"
#include "index/rendezvous/tls.h"

namespace shoal::index {
namespace {

namespace http = web::http;

constexpr std::size_t kUnpackedBytesMax = std::size_t{16} << 20;  // index/log_page.h

// About 2 MiB. The members of many swarms; who is not kept is only verified again.
constexpr std::size_t kVerifiedKept = 1000;

// cpprestsdk joins its threads after main's end, later than OpenSSL would clean up under them.
[[maybe_unused]] const bool kNoCleanupAtExit =
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr) == 1;

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
  Impl(const ServerUrl& url, std::string pinned_by, const OwnCertificate& certificate,
       Duration patience, Duration longest)
      : target_(url.target),
        pinned_by_(std::move(pinned_by)),
        pin_(std::make_shared<PinCheck>(url.pin)),
        quick_(web::uri(url.target), Config(pin_, certificate, patience)),
        patient_(web::uri(url.target), Config(pin_, certificate, longest + patience)) {}

  [[nodiscard]] std::optional<PeerId> id() const { return pin_->id(); }

  void Post(const char* path, std::string body, const OnAnswer& done) {
    http::http_request request(http::methods::POST);
    request.set_request_uri(path);
    request.set_body(std::move(body), "application/json");
    Request(request, false, done);
  }

  // waits  the server may wait for news before it answers.
  void Request(const http::http_request& request, bool waits, const OnAnswer& done) {
    Text(request, waits, [self = shared_from_this(), done](Result<std::string> text) {
      done(text ? DecodeAnswer(*text, self->verified_.Reader())
                : Result<ServerAnswer>(text.error()));
    });
  }

  void Text(http::http_request request, bool waits, const OnText& done) {
    request.set_progress_handler(
        [](http::message_direction::direction direction, utility::size64_t bytes) {
          if (direction == http::message_direction::download && bytes > kRendezvousAnswerBytesMax) {
            throw std::length_error("the answer is too long");
          }
        });
    const auto is_packed = std::make_shared<bool>(false);  // owners: both steps
    (waits ? patient_ : quick_)
        .request(request)
        .then([is_packed](const http::http_response& response) {
          const auto encoding = response.headers().find("Content-Encoding");
          *is_packed = encoding != response.headers().end() && encoding->second == "zstd";
          return response.extract_vector();
        })
        .then([self = shared_from_this(), is_packed,
               done](const pplx::task<std::vector<unsigned char>>& body) {
          auto text = self->ToText(body);
          if (text && *is_packed) text = Decompress(*text, kUnpackedBytesMax);
          done(std::move(text));
        });
  }

 private:
  static http::client::http_client_config Config(const std::shared_ptr<PinCheck>& pin,
                                                 const OwnCertificate& certificate,
                                                 Duration patience) {
    http::client::http_client_config config;
    config.set_timeout(patience);
    // cpprestsdk keeps this as long as any of its contexts.
    config.set_ssl_context_callback([pin, certificate](boost::asio::ssl::context& ssl) {
      pin->Use(ssl.native_handle());
      // Without one the server refuses us, which is told like any other failure.
      static_cast<void>(certificate.Use(ssl.native_handle()));
    });
    return config;
  }

  Result<std::string> ToText(const pplx::task<std::vector<unsigned char>>& body) {
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
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  std::string target_;
  std::string pinned_by_;
  std::shared_ptr<PinCheck> pin_;  // owners: we, and the client's configuration
  RecordCache verified_{kVerifiedKept};
  http::client::http_client quick_;
  http::client::http_client patient_;
};

ServerLink::ServerLink(ServerUrl url, std::string pinned_by, const OwnCertificate& certificate,
                       Duration patience, Duration longest)
    : url_(std::move(url)),
      impl_(std::make_shared<Impl>(url_, std::move(pinned_by), certificate, patience, longest)) {}

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
                          Duration wait, OnAnswer done) {
  std::string target = "/v1/discover?limit=" + std::to_string(limit);
  if (!name.empty()) target += "&namespace=" + EscapeQuery(name);
  if (!cookie.empty()) target += "&cookie=" + cookie;
  const auto wait_ms = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
  if (wait_ms > 0) target += "&wait_ms=" + std::to_string(wait_ms);
  http::http_request request(http::methods::GET);
  request.set_request_uri(web::uri(target));
  impl_->Request(request, wait_ms > 0, done);
}

void ServerLink::Get(const std::string& target, bool waits, OnText done) {
  http::http_request request(http::methods::GET);
  request.set_request_uri(web::uri(target));
  request.headers().add("Accept-Encoding", "zstd");
  impl_->Text(request, waits, done);
}

}  // namespace shoal::index
