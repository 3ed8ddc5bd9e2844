#include "fetch/transport/http_server.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/posix/basic_descriptor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>

#include "fetch/transport/channel.h"
#include "fetch/transport/data_loop.h"
#include "fetch/transport/listener.h"

namespace shoal::fetch {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr int kAcceptsMax = 64;  // in one turn of the thread
constexpr int kRefusedMax = 64;  // told at once that we are full; more are closed unheard
constexpr Duration kAcceptPause = std::chrono::milliseconds(100);  // without descriptors
constexpr Duration kCutTime = std::chrono::seconds(2);  // cut sessions need a turn of their loop

}  // namespace

class HttpServer::Impl {
 public:
  Impl(Options options, Handler handler, Listener listener)
      : endpoint_(std::move(listener.endpoint)), shared_(std::make_shared<ServerShared>()) {
    const int threads = std::max(1, options.threads);
    if (options.tls) shared_->tls = options.tls->ServerContext();
    shared_->options = std::move(options);
    shared_->handler = std::move(handler);
    for (int i = 0; i < threads; ++i) loops_.push_back(std::make_unique<DataLoop>(shared_));
    asio::io_context& context = loops_.front()->context();
    acceptor_.emplace(context, listener.fd);
    pause_.emplace(context);
    asio::post(context, [this] { AwaitClients(); });
  }

  ~Impl() { Stop(Duration(0)); }

  [[nodiscard]] const index::Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] int connections() const { return shared_->sessions.served(); }

  void Adopt(std::shared_ptr<RawConnection> connection, std::string remote) {
    // When the thread has stopped, the connection is closed with the message.
    asio::post(loops_.front()->context(),
               [this, connection = std::move(connection), remote = std::move(remote)]() mutable {
                 if (closed_) return;
                 Place({connection->ReleaseFd(), std::move(remote), false});
               });
  }

  void Stop(Duration grace) {
    if (stopped_) return;
    stopped_ = true;
    std::promise<void> closed;
    asio::post(loops_.front()->context(), [this, &closed] {
      closed_ = true;
      error_code ignored;
      acceptor_->close(ignored);
      pause_->cancel();
      closed.set_value();
    });
    closed.get_future().wait();
    for (const auto& loop : loops_) loop->EndSessions(false);
    if (!shared_->sessions.WaitForNone(grace)) {
      for (const auto& loop : loops_) loop->EndSessions(true);
      static_cast<void>(shared_->sessions.WaitForNone(kCutTime));
    }
    for (const auto& loop : loops_) loop->Join();
  }

 private:
  void AwaitClients() {
    acceptor_->async_wait(asio::posix::descriptor_base::wait_read, [this](const error_code& error) {
      if (!error && !closed_) TakeClients();
    });
  }

  void TakeClients() {
    for (int i = 0; i < kAcceptsMax; ++i) {
      Accepted accepted = AcceptOne(acceptor_->native_handle());
      if (accepted.out_of_descriptors) {
        PauseAccepting();
        return;
      }
      if (accepted.fd < 0) break;
      Place(std::move(accepted));
    }
    AwaitClients();
  }

  void Place(Accepted accepted) {
    const bool full = shared_->sessions.served() >= shared_->options.limits.connections_max;
    if (full && shared_->sessions.refused() >= kRefusedMax) {
      close(accepted.fd);
      return;
    }
    const auto& loop =
        *std::min_element(loops_.begin(), loops_.end(),
                          [](const auto& a, const auto& b) { return a->load() < b->load(); });
    loop->Adopt(accepted.fd, std::move(accepted.remote), full);
  }

  void PauseAccepting() {
    spdlog::warn("{}: too many open files, connections have to wait; raise LimitNOFILE",
                 shared_->options.name);
    pause_->expires_after(kAcceptPause);
    pause_->async_wait([this](const error_code& error) {
      if (!error && !closed_) AwaitClients();
    });
  }

  index::Endpoint endpoint_;
  std::shared_ptr<ServerShared> shared_;
  std::vector<std::unique_ptr<DataLoop>> loops_;
  // On the first loop's thread.
  std::optional<asio::posix::stream_descriptor> acceptor_;
  std::optional<asio::steady_timer> pause_;
  bool closed_ = false;
  bool stopped_ = false;
};

Result<std::unique_ptr<HttpServer>> HttpServer::Start(Options options, Handler handler) {
  auto listener = Listen(options.listen, options.name);
  if (!listener) return listener.error();
  return std::unique_ptr<HttpServer>(new HttpServer(
      std::make_unique<Impl>(std::move(options), std::move(handler), std::move(listener).value())));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;
index::Endpoint HttpServer::endpoint() const { return impl_->endpoint(); }
int HttpServer::connections() const { return impl_->connections(); }
void HttpServer::Adopt(std::unique_ptr<RawConnection> connection, std::string remote) {
  impl_->Adopt(std::move(connection), std::move(remote));
}
void HttpServer::Stop(Duration grace) { impl_->Stop(grace); }

}  // namespace shoal::fetch
