#include "agent/admin_server.h"

#include <cpprest/http_listener.h>
#include <cpprest/producerconsumerstream.h>
#include <spdlog/spdlog.h>

#include <charconv>
#include <chrono>
#include <utility>

namespace shoal::agent {
namespace {

namespace http = web::http;
using http::experimental::listener::http_listener;
using http::experimental::listener::http_listener_config;

constexpr std::size_t kBodyBytesMax = 64 << 10;

int StatusOf(Code code) {
  switch (code) {
    case Code::kInvalid:
      return 400;
    case Code::kNotFound:
      return 404;
    case Code::kDenied:
      return 403;
    case Code::kUnsupported:
      return 405;
    case Code::kRetryLater:
    case Code::kExhausted:
      return 503;
    case Code::kCorrupt:
    case Code::kCancelled:
      return 500;
  }
  return 500;
}

// The declared body length; -1 when there is none that can be trusted.
std::int64_t DeclaredLength(const http::http_request& request) {
  const auto& headers = request.headers();
  const auto it = headers.find("Content-Length");
  if (it == headers.end()) return headers.has("Transfer-Encoding") ? -1 : 0;
  std::int64_t length = -1;
  const std::string& text = it->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  return error == std::errc() && end == text.data() + text.size() ? length : -1;
}

}  // namespace

AdminReply JsonReply(const Json& value, int status) {
  return {status, "application/json", value.serialize() + "\n"};
}

AdminReply ErrorReply(const Error& error) {
  Json body = Json::object();
  body["error"] = Json::string(error.text);
  AdminReply reply = JsonReply(body, StatusOf(error.code));
  reply.retry_after = error.retry_after;
  return reply;
}

AdminReply WrongMethod(const std::string& method) {
  return ErrorReply({Code::kUnsupported, method + " does nothing here"});
}

bool IsRead(const AdminRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

class AdminStream::Impl {
 public:
  // Of an event some 300 bytes.
  static constexpr std::size_t kUnreadMax = 256 << 10;

  concurrency::streams::producer_consumer_buffer<std::uint8_t> buffer;
  std::atomic<bool> closed{false};
};

AdminStream::AdminStream() : impl_(std::make_shared<Impl>()) {}
AdminStream::~AdminStream() { Close(); }

bool AdminStream::Write(const std::string& text) {
  if (impl_->closed) return false;
  if (impl_->buffer.in_avail() > Impl::kUnreadMax) {
    Close();
    return false;
  }
  // Copies at once; a reader that waits for more gets what is there with the sync.
  impl_->buffer.putn_nocopy(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  impl_->buffer.sync();
  return true;
}

void AdminStream::Close() {
  if (!impl_->closed.exchange(true)) impl_->buffer.close(std::ios_base::out);
}

class AdminServer::Impl {
 public:
  Impl(const std::string& url, Handler handler) : handler_(std::move(handler)) {
    http_listener_config config;
    config.set_timeout(utility::seconds(30));
    listener_ = http_listener(web::uri(url), config);
    listener_.support([this](const http::http_request& request) { Take(request); });
  }

  void Open() { listener_.open().wait(); }
  void Close() {
    try {
      listener_.close().wait();
    } catch (const std::exception& error) {
      spdlog::debug("status API: {}", error.what());
    }
  }

 private:
  static void Answer(const http::http_request& request, const AdminReply& reply) {
    http::http_response response(static_cast<http::status_code>(reply.status));
    if (reply.retry_after > Duration(0)) {
      const auto seconds = std::chrono::ceil<std::chrono::seconds>(reply.retry_after);
      response.headers().add("Retry-After", seconds.count());
    }
    std::shared_ptr<AdminStream::Impl> stream;
    if (request.method() == http::methods::HEAD) {
      // cpprestsdk would send the body of a HEAD as well.
      response.headers().set_content_type(reply.content_type);
    } else if (reply.stream) {
      stream = reply.stream->impl_;
      response.headers().set_content_type(reply.content_type);
      response.headers().add("Cache-Control", "no-store");
      response.set_body(stream->buffer.create_istream(), reply.content_type);
    } else {
      response.set_body(reply.body, reply.content_type);
    }
    request.reply(response).then([stream](const pplx::task<void>& sent) {
      if (stream) stream->closed = true;  // whoever writes it hears of it
      try {
        sent.get();
      } catch (const std::exception& error) {
        spdlog::debug("status API: an answer was not sent: {}", error.what());
      }
    });
  }

  void Take(http::http_request request) {
    const std::int64_t length = DeclaredLength(request);
    if (length < 0 || length > static_cast<std::int64_t>(kBodyBytesMax)) {
      Answer(request, ErrorReply({Code::kInvalid, "send a Content-Length of at most 64 KiB"}));
      return;
    }
    if (length == 0) return Serve(request, "");
    request.extract_string(true).then([this, request](const pplx::task<std::string>& body) {
      try {
        Serve(request, body.get());
      } catch (const std::exception& error) {
        Answer(request, ErrorReply({Code::kInvalid, error.what()}));
      }
    });
  }

  void Serve(const http::http_request& request, const std::string& body) {
    AdminRequest parsed;
    parsed.method = request.method();
    try {
      const web::uri uri = request.relative_uri();
      for (const auto& part : web::uri::split_path(uri.path())) {
        parsed.path.push_back(web::uri::decode(part));
      }
      for (const auto& [name, value] : web::uri::split_query(uri.query())) {
        parsed.query[web::uri::decode(name)] = web::uri::decode(value);
      }
    } catch (const std::exception&) {
      Answer(request, ErrorReply({Code::kInvalid, "the path is not well formed"}));
      return;
    }
    if (!body.empty()) {
      auto json = ParseJson(body, kBodyBytesMax);
      if (!json) return Answer(request, ErrorReply(json.error()));
      parsed.body = *json;
    }
    Answer(request, handler_(parsed));
  }

  Handler handler_;
  http_listener listener_;
};

AdminServer::AdminServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

AdminServer::~AdminServer() { impl_->Close(); }

Result<std::unique_ptr<AdminServer>> AdminServer::Start(const index::Endpoint& listen,
                                                        Handler handler) {
  try {
    auto impl = std::make_unique<Impl>("http://" + ToString(listen), std::move(handler));
    impl->Open();
    return std::unique_ptr<AdminServer>(new AdminServer(std::move(impl)));
  } catch (const std::exception& error) {
    return Error{Code::kExhausted, "the status API cannot listen on " + ToString(listen) + ": " +
                                       error.what() +
                                       "; stop what listens there or set agent.admin"};
  }
}

}  // namespace shoal::agent
