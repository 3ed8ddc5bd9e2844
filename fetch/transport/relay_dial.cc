#include "fetch/transport/relay_dial.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <string>

namespace shoal::fetch::splice {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::size_t kHeadBytesMax = 8 << 10;
constexpr std::string_view kHeadEnd = "\r\n\r\n";

class RelayDial : public std::enable_shared_from_this<RelayDial> {
 public:
  RelayDial(asio::io_context& io, std::span<std::byte> scratch, index::Endpoint relay,
            std::shared_ptr<SSL_CTX> context, std::string target, Splicer::Dialled done)
      : io_(io),
        socket_(io),
        timer_(io),
        scratch_(scratch),
        relay_(std::move(relay)),
        context_(std::move(context)),
        target_(std::move(target)),
        done_(std::move(done)) {}

  void Start(Duration limit) {
    timer_.expires_after(limit);
    timer_.async_wait([weak = weak_from_this()](const error_code& error) {
      const auto self = weak.lock();
      if (error || !self) return;
      self->late_ = true;
      error_code ignored;
      self->socket_.close(ignored);
    });
    asio::co_spawn(
        io_, [self = shared_from_this()] { return self->Run(); }, asio::detached);
  }

 private:
  Task<void> Run() {
    const auto self = shared_from_this();
    const char* const what = co_await Reach();
    timer_.cancel();
    error_code error;
    if (what == nullptr && !late_) {
      const int fd = socket_.release(error);
      if (!error) {
        done_(std::make_unique<RawConnection>(fd, std::move(channel_), std::move(early_)));
        co_return;
      }
    }
    channel_.reset();
    socket_.close(error);
    done_(Error{Code::kRetryLater, "relay " + ToString(relay_) + ": " +
                                       (what == nullptr || late_ ? "too slow" : what)});
  }

  // Returns what went wrong; nullptr when nothing did.
  Task<const char*> Reach() {
    error_code error;
    asio::ip::basic_resolver<asio::ip::tcp, Executor> resolver(io_);
    const auto found = co_await resolver.async_resolve(relay_.host, std::to_string(relay_.port),
                                                       asio::redirect_error(kUseTask, error));
    if (error || late_) co_return "its name is not known";
    co_await asio::async_connect(socket_, found, asio::redirect_error(kUseTask, error));
    if (error || late_) co_return "no connection";
    socket_.non_blocking(true, error);
    socket_.set_option(asio::ip::tcp::no_delay(true), error);
    channel_ = MakeTlsChannel(context_.get(), socket_.native_handle(), scratch_, TlsSide::kDials);
    if (!channel_) co_return "no memory for TLS";
    while (true) {
      const Io io = channel_->Handshake();
      if (io.want == Io::Want::kNothing) break;
      if (io.want != Io::Want::kRead && io.want != Io::Want::kWrite) {
        co_return "whoever answers there is not that relay";
      }
      if (!co_await WaitFor(socket_, io.want, late_)) co_return "no TLS session";
    }
    const std::string request =
        "CONNECT " + target_ + " HTTP/1.1\r\nHost: " + target_ + std::string(kHeadEnd);
    if (!co_await Put(socket_, *channel_, request, late_)) co_return "it hung up";
    co_return co_await ReadHead();
  }

  Task<const char*> ReadHead() {
    std::string head;
    std::size_t end = std::string::npos;
    while ((end = head.find(kHeadEnd)) == std::string::npos) {
      char bytes[1024];
      const Io io = channel_->Read(bytes);
      if (io.want == Io::Want::kRead || io.want == Io::Want::kWrite) {
        if (!co_await WaitFor(socket_, io.want, late_)) co_return "no answer";
        continue;
      }
      if (io.want != Io::Want::kNothing) co_return "it hung up";
      head.append(bytes, io.bytes);
      if (head.size() > kHeadBytesMax) co_return "its answer is too long";
    }
    if (!head.starts_with("HTTP/1.1 200 ")) co_return "it refuses the circuit";
    early_ = head.substr(end + kHeadEnd.size());
    co_return nullptr;
  }

  asio::io_context& io_;
  Socket socket_;
  Timer timer_;
  std::span<std::byte> scratch_;
  const index::Endpoint relay_;
  const std::shared_ptr<SSL_CTX> context_;
  const std::string target_;
  const Splicer::Dialled done_;
  std::unique_ptr<Channel> channel_;
  std::string early_;
  bool late_ = false;
};

}  // namespace

void DialRelay(asio::io_context& io, std::span<std::byte> scratch, const index::Endpoint& relay,
               const std::shared_ptr<SSL_CTX>& context, const std::string& target, Duration limit,
               const Splicer::Dialled& done) {
  std::make_shared<RelayDial>(io, scratch, relay, context, target, done)->Start(limit);
}

}  // namespace shoal::fetch::splice
