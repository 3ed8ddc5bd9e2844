#include "fetch/transport/http_session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <exception>

#include "fetch/transport/data_loop.h"
#include "fetch/transport/http_head.h"

namespace shoal::fetch {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Parser = http::request_parser<http::string_body>;

constexpr auto kUseTask = asio::use_awaitable_t<asio::io_context::executor_type>();
constexpr std::size_t kReadBytes = 4096;       // a request's head fits
constexpr std::size_t kTargetBytesMax = 8192;  // http_server.h
constexpr Duration kLinger = std::chrono::seconds(1);
constexpr std::size_t kLingerBytesMax = 64 << 10;

int StatusOf(const error_code& error) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return 431;
  if (error == http::error::body_limit) return 413;
  return 400;
}

const char* SentenceOf(int status) {
  switch (status) {
    case 408:
      return "the request took too long to arrive";
    case 413:
      return "the request's body is too large";
    case 414:
      return "the request's target is too long";
    case 431:
      return "the request's headers are too large";
    case 503:
      return "too many connections; try again later";
    default:
      return "the request is not well-formed HTTP/1.1";
  }
}

}  // namespace

struct HttpSession::Request {
  HttpRequest request;
  bool keep_alive = false;
};

HttpSession::HttpSession(DataLoop& loop, int fd, std::string remote, bool refused)
    : loop_(loop),
      socket_(loop.context()),
      timer_(loop.context()),
      wake_(loop.context()),
      remote_(std::move(remote)),
      refused_(refused) {
  error_code ignored;
  // The address family only matters to calls that we do not make.
  socket_.assign(asio::ip::tcp::v4(), fd, ignored);
  if (const auto most = limits().unsent_max) {
    const auto bytes = static_cast<int>(most->count());
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
  }
  if (loop.shared().tls) {
    channel_ = MakeTlsChannel(loop.shared().tls.get(), fd, loop.scratch());
  } else {
    channel_ = MakePlainChannel(fd);
  }
}

HttpSession::~HttpSession() = default;

const HttpServer::Limits& HttpSession::limits() const { return loop_.shared().options.limits; }

void HttpSession::Start() {
  asio::co_spawn(
      loop_.context(), [self = shared_from_this()] { return self->Run(); }, asio::detached);
}

void HttpSession::FinishSoon() {
  finishing_ = true;
  error_code ignored;
  if (idle_) socket_.cancel(ignored);
}

void HttpSession::Cut() {
  cut_ = true;
  error_code ignored;
  socket_.cancel(ignored);
  wake_.cancel();
}

HttpSession::Task<void> HttpSession::Run() {
  const auto self = shared_from_this();
  if (channel_ && refused_) {
    if (!loop_.shared().tls) co_await Refuse(503);
  } else if (channel_ && co_await Handshake()) {
    bool more = true;
    while (more) more = co_await ServeOne();
  }
  ended_ = true;
  if (!given_) co_await Linger();
  error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  loop_.Remove(this, refused_);
}

HttpSession::Task<bool> HttpSession::Handshake() {
  const auto deadline = Clock::now() + limits().header_time;
  while (true) {
    const Io io = channel_->Handshake();
    if (io.want == Io::Want::kNothing) co_return true;
    if (io.want != Io::Want::kRead && io.want != Io::Want::kWrite) {
      spdlog::debug("{}: no TLS session with {}: the client is no peer, or hung up",
                    loop_.shared().options.name, remote_);
      channel_->SayGoodbye();
      co_return false;
    }
    if (!co_await WaitFor(io.want, deadline)) co_return false;
  }
}

HttpSession::Task<bool> HttpSession::WaitForFirstByte() {
  if (finishing_) co_return false;
  in_.shrink_to_fit();
  idle_ = true;
  const bool ready =
      channel_->HasPending() || co_await WaitFor(Io::Want::kRead, Clock::now() + limits().idle);
  idle_ = false;
  co_return ready;
}

HttpSession::Task<int> HttpSession::ReadRequest(Request& request) {
  if (in_.size() == 0 && !co_await WaitForFirstByte()) co_return -1;
  const auto deadline = Clock::now() + limits().header_time;
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(limits().header_bytes_max));
  parser.body_limit(limits().body_bytes_max);
  bool head_seen = false;
  bool starved = in_.size() == 0;
  while (!parser.is_done()) {
    if (starved) {
      const auto space = in_.prepare(kReadBytes);
      const Io io = channel_->Read({static_cast<char*>(space.data()), space.size()});
      if (io.want == Io::Want::kNothing) {
        in_.commit(io.bytes);
      } else if (io.want == Io::Want::kRead || io.want == Io::Want::kWrite) {
        if (!co_await WaitFor(io.want, deadline)) co_return expired_ && !cut_ ? 408 : -1;
        continue;
      } else {
        co_return -1;
      }
    }
    error_code error;
    in_.consume(parser.put(in_.data(), error));
    if (error && error != http::error::need_more) co_return StatusOf(error);
    starved = error == http::error::need_more || in_.size() == 0;
    if (!head_seen && parser.is_header_done()) {
      head_seen = true;
      if (parser.get().target().size() > kTargetBytesMax) co_return 414;
      parser.eager(true);
      starved = in_.size() == 0;
      const auto expect = parser.get()[http::field::expect];
      if (!parser.is_done() && boost::beast::iequals(expect, "100-continue")) {
        const std::array<std::string_view, 1> go_on = {"HTTP/1.1 100 Continue\r\n\r\n"};
        static_cast<void>(channel_->Write(go_on, false));  // 25 bytes: taken whole, or never
      }
    }
  }
  auto& message = parser.get();
  request.keep_alive = message.version() >= 11 && parser.keep_alive();
  request.request.method = std::string(message.method_string());
  request.request.target = std::string(message.target());
  for (const auto& field : message) {
    request.request.headers.emplace_back(field.name_string(), field.value());
  }
  request.request.body = std::move(message.body());
  request.request.remote = remote_;
  request.request.peer = channel_->peer();
  co_return 0;
}

HttpSession::Task<std::optional<HttpReply>> HttpSession::Ask(Request& request) {
  auto slot = std::make_shared<ReplySlot>(loop_.mailbox(), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Wake();
  });
  struct Abandoner {
    std::shared_ptr<ReplySlot> slot;
    ~Abandoner() { slot->Abandon(); }
  } const abandoner{slot};
  woken_ = false;
  try {
    loop_.shared().handler(std::move(request.request), slot->MakeResponder());
  } catch (const std::exception& e) {
    spdlog::error("{}: the handler failed on a request of {}: {}", loop_.shared().options.name,
                  remote_, e.what());
  }
  while (true) {
    if (auto reply = slot->Take()) co_return reply;
    // How long an answer may take is bounded by whoever makes it.
    if (!co_await WaitForWake(Clock::time_point::max())) co_return std::nullopt;
  }
}

HttpSession::Task<bool> HttpSession::Refuse(int status) {
  expired_ = false;
  const auto& refusal = loop_.shared().options.refusal;
  HttpReply reply =
      refusal ? refusal(status, SentenceOf(status)) : ErrorReply(status, SentenceOf(status));
  co_await Send(reply, false, false);
  co_return false;
}

HttpSession::Task<bool> HttpSession::ServeOne() {
  Request request;
  const int status = co_await ReadRequest(request);
  if (status > 0) co_return co_await Refuse(status);
  if (status < 0) co_return false;
  const bool head_only = request.request.method == "HEAD";
  std::optional<HttpReply> reply = co_await Ask(request);
  if (!reply) co_return false;
  if (reply->take) {
    co_await HandOver(*reply);
    co_return false;
  }
  const bool keep_alive = request.keep_alive && !finishing_;
  const bool whole = co_await Send(*reply, head_only, keep_alive);
  co_return whole&& keep_alive && !cut_;
}

HttpSession::Task<void> HttpSession::HandOver(HttpReply& reply) {
  const std::array<std::string_view, 1> head = {"HTTP/1.1 200 OK\r\n\r\n"};
  while (true) {
    const Io io = channel_->Write(head, false);  // 19 bytes: taken whole, or not at all
    if (io.want == Io::Want::kNothing) break;
    if (io.want != Io::Want::kWrite && io.want != Io::Want::kRead) co_return;
    if (!co_await WaitFor(io.want, Clock::now() + limits().send_stall)) co_return;
  }
  if (!co_await Flush()) co_return;
  ended_ = given_ = true;  // before what watches the client hears that it is cancelled
  error_code error;
  const int fd = socket_.release(error);
  if (error) co_return;
  const auto* early = static_cast<const char*>(in_.data().data());
  reply.take(std::make_unique<RawConnection>(fd, std::move(channel_),
                                             std::string(early, in_.data().size())));
}

// Drains what the client sent and waits briefly for its FIN: closing with bytes unread would send a
// RST, which can destroy the end of our answer on its way, and fails a containerd pull at once.
HttpSession::Task<void> HttpSession::Linger() {
  if (channel_) channel_->SayGoodbye();
  const int fd = socket_.native_handle();
  shutdown(fd, SHUT_WR);
  expired_ = false;
  const auto deadline = Clock::now() + kLinger;
  std::array<char, 2048> waste{};
  for (std::size_t drained = 0; drained < kLingerBytesMax;) {
    const ssize_t n = recv(fd, waste.data(), waste.size(), MSG_DONTWAIT);
    if (n == 0) break;
    if (n > 0) {
      drained += static_cast<std::size_t>(n);
    } else if (errno != EINTR) {
      if (errno != EAGAIN && errno != EWOULDBLOCK) break;
      if (!co_await WaitFor(Io::Want::kRead, deadline)) break;
    }
  }
}

HttpSession::Task<bool> HttpSession::WaitFor(Io::Want want, Clock::time_point deadline) {
  if (over()) co_return false;
  Guard(deadline);
  error_code error;
  co_await socket_.async_wait(want == Io::Want::kWrite ? Socket::wait_write : Socket::wait_read,
                              asio::redirect_error(kUseTask, error));
  Guard(Clock::time_point::max());
  co_return !error && !over();
}

HttpSession::Task<bool> HttpSession::WaitForWake(Clock::time_point deadline) {
  if (over()) co_return false;
  if (!woken_) {
    WatchClient();
    Guard(deadline);
    wake_.expires_at(Clock::time_point::max());
    error_code error;
    co_await wake_.async_wait(asio::redirect_error(kUseTask, error));
    Guard(Clock::time_point::max());
  }
  woken_ = false;
  co_return !over() && !gone_;
}

HttpSession::Task<bool> HttpSession::SleepUntil(Clock::time_point when) {
  while (!over() && Clock::now() < when) {
    wake_.expires_at(when);
    error_code error;
    co_await wake_.async_wait(asio::redirect_error(kUseTask, error));
  }
  co_return !over();
}

void HttpSession::Wake() {
  woken_ = true;
  wake_.cancel();
}

// The timer is only moved when a deadline comes nearer: most waits end long before theirs.
void HttpSession::Guard(Clock::time_point deadline) {
  deadline_ = deadline;
  if (deadline < armed_) ArmTimer(deadline);
}

void HttpSession::ArmTimer(Clock::time_point when) {
  armed_ = when;
  timer_.expires_at(when);
  timer_.async_wait([weak = weak_from_this()](const error_code& error) {
    if (error) return;
    if (const auto self = weak.lock()) self->OnTimer();
  });
}

void HttpSession::OnTimer() {
  armed_ = Clock::time_point::max();
  if (deadline_ == Clock::time_point::max()) return;
  if (Clock::now() < deadline_) {
    ArmTimer(deadline_);
    return;
  }
  expired_ = true;
  error_code ignored;
  socket_.cancel(ignored);
  wake_.cancel();
}

// A client that closed its side while we owe it an answer has given up. One that only sent its next
// request early is not watched any further.
void HttpSession::WatchClient() {
  if (watching_ || gone_) return;
  watching_ = true;
  socket_.async_wait(Socket::wait_read, [weak = weak_from_this()](const error_code& error) {
    const auto self = weak.lock();
    if (!self) return;
    self->watching_ = false;
    if (error || self->ended_) return;
    const Io io = self->channel_->Peek();
    if (io.want == Io::Want::kNothing) return;
    if (io.want == Io::Want::kRead) {
      self->WatchClient();
      return;
    }
    self->gone_ = true;
    self->Wake();
  });
}

}  // namespace shoal::fetch
