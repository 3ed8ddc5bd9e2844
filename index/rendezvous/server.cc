#include "index/rendezvous/server.h"

#include "index/net/io_thread.h"  // the clocks; and <utility> before Asio

#include <cpprest/http_listener.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <exception>
#include <map>

#include "index/net/gate.h"
#include "index/rendezvous/record_cache.h"
#include "index/rendezvous/tls.h"
#include "index/rendezvous_messages.h"
#include "index/swarm_desk.h"

namespace shoal::index {
namespace {

namespace http = web::http;
using http::experimental::listener::http_listener;
using http::experimental::listener::http_listener_config;

constexpr int kDiscoverDefault = 100;

// What cpprestsdk puts a request's body into. Closing it with an error makes cpprestsdk stop
// reading: else it would gather all that a client cares to send before we may answer.
class BodyRefused : public std::exception {
 public:
  [[nodiscard]] const char* what() const noexcept override { return "body too long"; }
};

http::status_code ToHttp(RendezvousStatus status) {
  switch (status) {
    case RendezvousStatus::kOk:
      return http::status_codes::OK;
    case RendezvousStatus::kNotAuthorized:
      return http::status_codes::Forbidden;
    case RendezvousStatus::kUnavailable:
      return http::status_codes::ServiceUnavailable;
    case RendezvousStatus::kInternalError:
      return http::status_codes::InternalError;
    default:
      return http::status_codes::BadRequest;
  }
}

// A request that is answered once, whatever becomes of those who hold it.
class Pending {
 public:
  explicit Pending(const http::http_request& request) : request_(request) {}
  ~Pending() {
    if (!answered_) Fail({RendezvousStatus::kUnavailable, "the index server is stopping"});
  }
  Pending(const Pending&) = delete;
  Pending& operator=(const Pending&) = delete;

  http::http_request& request() { return request_; }
  void Answer(http::status_code status, const std::string& json) {
    answered_ = true;
    const auto drop = [](const std::exception& gone) {
      spdlog::debug("index server: answer not sent: {}", gone.what());
    };
    // The client may be gone, or the listener have answered at its end: that is their business.
    try {
      request_.reply(status, json, "application/json").then([drop](const pplx::task<void>& sent) {
        try {
          sent.get();
        } catch (const std::exception& gone) {
          drop(gone);
        }
      });
    } catch (const std::exception& gone) {
      drop(gone);
    }
  }
  void Fail(const RendezvousError& error) { Answer(ToHttp(error.status), EncodeError(error)); }

 private:
  http::http_request request_;
  bool answered_ = false;
};
using PendingPtr = std::shared_ptr<Pending>;  // owners: whoever works on it next

struct Query {
  std::string name;
  int limit = kDiscoverDefault;
  std::string cookie;
};

RendezvousError ParseQuery(const web::uri& uri, Query& out) {
  std::map<std::string, std::string> fields;
  try {
    for (const auto& [field, value] : web::uri::split_query(uri.query())) {
      fields[field] = web::uri::decode(value);
    }
  } catch (const std::exception&) {
    return {RendezvousStatus::kInvalidNamespace, "the query is not URL-encoded"};
  }
  out.name = fields["namespace"];
  out.cookie = fields["cookie"];
  if (const auto& limit = fields["limit"]; !limit.empty()) {
    const auto [end, error] = std::from_chars(limit.data(), limit.data() + limit.size(), out.limit);
    if (error != std::errc() || end != limit.data() + limit.size() || out.limit < 1) {
      return {RendezvousStatus::kInvalidNamespace, "limit must be a whole number from 1"};
    }
  }
  return {};
}

}  // namespace

class RendezvousServer::Impl {
  // What the loop thread owns.
  struct State {
    explicit State(const Options& options)
        : registrations(options.limits, RandomSeed() >> 11), swarms(options.swarms) {}
    Registrations registrations;
    SwarmDesk swarms;
  };

 public:
  Impl(const Options& options, const SigningKey& key, Executor& loop)
      : loop_(std::make_shared<Gate>(loop)),
        id_(key.id()),
        records_(std::make_shared<RecordCache>(options.limits.peers_max)),
        state_(std::make_shared<State>(options)) {}

  Status Open(const Options& options, const SigningKey& key) {
    auto certificate = ServerCertificate::Make(key);
    if (!certificate) return certificate.error();
    http_listener_config config;
    config.set_timeout(std::chrono::seconds(120));
    config.set_ssl_context_callback([certificate = *certificate](boost::asio::ssl::context& ssl) {
      if (!certificate.Use(ssl.native_handle())) {
        spdlog::error("index server: OpenSSL refused our certificate");
      }
    });
    const std::string where = ToString(options.listen);
    try {
      listener_ = http_listener(web::uri("https://" + where), config);
      listener_.support([this](const http::http_request& request) { Handle(request); });
      listener_.open().get();
      open_ = true;
    } catch (const std::exception& error) {
      return Error{Code::kRetryLater, "index server: cannot listen on " + where + ": " +
                                          error.what() +
                                          "; is another program using rendezvous.listen?"};
    }
    return Ok();
  }

  ~Impl() {
    // What was posted finds nothing, and what comes cannot be posted: both are answered 503.
    loop_->Shut();
    state_.reset();
    if (!open_) return;
    try {
      listener_.close().get();
    } catch (const std::exception& error) {
      spdlog::warn("index server: closing: {}", error.what());
    }
  }

  [[nodiscard]] const Registrations& registrations() const { return state_->registrations; }

 private:
  // On cpprestsdk's threads from here on, until Post.
  void Handle(const http::http_request& request) {
    auto pending = std::make_shared<Pending>(request);
    const std::string path = request.relative_uri().path();
    if (request.method() == http::methods::GET && path == "/v1/discover") {
      RefuseBody(*pending);
      Discover(pending);
    } else if (request.method() == http::methods::POST &&
               (path == "/v1/register" || path == "/v1/unregister")) {
      const auto verb =
          path == "/v1/register" ? RendezvousVerb::kRegister : RendezvousVerb::kUnregister;
      Change(pending, verb);
    } else if (request.method() == http::methods::POST && path == "/v1/swarm") {
      AskSwarm(pending);
    } else {
      RefuseBody(*pending);
      pending->Answer(http::status_codes::NotFound,
                      R"({"status":"E_INTERNAL_ERROR","text":"no such path"})");
    }
  }

  static void RefuseBody(Pending& pending) {
    pending.request()._get_impl()->outstream().streambuf().close(
        std::ios_base::out, std::make_exception_ptr(BodyRefused()));
  }

  void Discover(const PendingPtr& pending) {
    auto query = std::make_shared<Query>();
    if (auto error = ParseQuery(pending->request().request_uri(), *query); !error.ok()) {
      pending->Fail(error);
      return;
    }
    loop_->Post([weak = weak_state_, pending, query] {
      const auto state = weak.lock();
      if (state == nullptr) return;
      auto& registrations = state->registrations;
      registrations.OnDeadline(SteadyNow());
      const auto answer =
          registrations.Discover(SteadyNow(), WallNow(), query->name, query->limit, query->cookie);
      if (!answer.error.ok()) {
        pending->Fail(answer.error);
      } else {
        pending->Answer(http::status_codes::OK, EncodeDiscovered(query->name, answer));
      }
    });
  }

  // Reads the body, then calls `take` with it, on one of cpprestsdk's threads.
  static void TakeBody(const PendingPtr& pending, std::function<void(std::string_view)> take) {
    const auto& headers = pending->request().headers();
    // A length that is named is held to; without one (chunked) there is no bound to hold to.
    if (!headers.has("Content-Length") || headers.content_length() > kRendezvousRequestBytesMax) {
      RefuseBody(*pending);
      pending->Answer(http::status_codes::RequestEntityTooLarge,
                      R"({"status":"E_NOT_AUTHORIZED","text":"a request needs a Content-Length )"
                      R"(of at most 65536"})");
      return;
    }
    pending->request().extract_vector().then(
        [pending, take = std::move(take)](const pplx::task<std::vector<unsigned char>>& body) {
          std::vector<unsigned char> bytes;
          try {
            bytes = body.get();
          } catch (const std::exception& gone) {
            spdlog::debug("index server: request cut short: {}", gone.what());
            return;
          }
          take({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        });
  }

  void Change(const PendingPtr& pending, RendezvousVerb verb) {
    TakeBody(pending, [pending, verb, id = id_, loop = loop_, records = records_,
                       weak = weak_state_](std::string_view text) {
      auto decoded = DecodeRequest(text, verb, id, records->Reader());
      if (!decoded.error.ok()) return pending->Fail(decoded.error);
      loop->Post([pending, verb, weak, request = std::move(decoded.request.front())] {
        const auto state = weak.lock();
        if (state != nullptr) Decide(state->registrations, *pending, verb, request);
      });
    });
  }

  void AskSwarm(const PendingPtr& pending) {
    TakeBody(pending, [pending, id = id_, loop = loop_, records = records_,
                       weak = weak_state_](std::string_view text) {
      auto decoded = DecodeSwarmRequest(text, id, records->Reader());
      if (!decoded.error.ok()) return pending->Fail(decoded.error);
      loop->Post([pending, weak, request = std::move(decoded.request.front())] {
        const auto state = weak.lock();
        if (state == nullptr) return;
        SwarmReply reply;
        const auto error = state->swarms.OnRequest(SteadyNow(), WallNow(), request, reply);
        if (!error.ok()) return pending->Fail(error);
        pending->Answer(http::status_codes::OK, EncodeSwarmReply(reply));
      });
    });
  }

  // On the loop thread.
  static void Decide(Registrations& registrations, Pending& pending, RendezvousVerb verb,
                     const Registrations::Request& request) {
    Duration ttl{0};
    const auto error = verb == RendezvousVerb::kRegister
                           ? registrations.Register(SteadyNow(), WallNow(), request, ttl)
                           : registrations.Unregister(SteadyNow(), request);
    if (!error.ok()) {
      pending.Fail(error);
    } else if (verb == RendezvousVerb::kRegister) {
      pending.Answer(http::status_codes::OK, EncodeRegistered(ttl));
    } else {
      pending.Answer(http::status_codes::OK, EncodeError({}));
    }
  }

  std::shared_ptr<Gate> loop_;  // owners: we, and requests under way
  PeerId id_;
  std::shared_ptr<RecordCache> records_;  // owners: we, and requests under way
  std::shared_ptr<State> state_;          // owners: we; messages hold it weakly
  // For handlers, which run while our end resets the one above.
  const std::weak_ptr<State> weak_state_ = state_;
  http_listener listener_;
  bool open_ = false;
};

Result<std::unique_ptr<RendezvousServer>> RendezvousServer::Start(Options options,
                                                                  const SigningKey& key,
                                                                  Executor& loop) {
  auto impl = std::make_unique<Impl>(options, key, loop);
  if (auto opened = impl->Open(options, key); !opened) return opened.error();
  return std::unique_ptr<RendezvousServer>(new RendezvousServer(std::move(impl)));
}

RendezvousServer::RendezvousServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RendezvousServer::~RendezvousServer() = default;

std::size_t RendezvousServer::registration_count() const { return impl_->registrations().size(); }
std::size_t RendezvousServer::peer_count() const { return impl_->registrations().peer_count(); }

}  // namespace shoal::index
