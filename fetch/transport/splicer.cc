#include "fetch/transport/splicer.h"

#include <array>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <csignal>
#include <thread>
#include <unordered_map>
#include <vector>

#include <pthread.h>

#include "fetch/transport/relay_dial.h"
#include "fetch/transport/splicer_asio.h"

namespace shoal::fetch {

namespace asio = boost::asio;
using boost::system::error_code;

namespace splice {

Task<bool> WaitFor(Socket& socket, Io::Want want, const bool& over) {
  if (over) co_return false;
  error_code error;
  co_await socket.async_wait(want == Io::Want::kWrite ? Socket::wait_write : Socket::wait_read,
                             asio::redirect_error(kUseTask, error));
  co_return !error && !over;
}

Task<bool> Put(Socket& socket, Channel& channel, std::string_view bytes, const bool& over) {
  bool flushing = bytes.empty();
  while (true) {
    const std::array<std::string_view, 1> texts = {bytes};
    const Io io = flushing ? channel.Flush() : channel.Write(texts, false);
    if (io.want == Io::Want::kNothing) {
      if (flushing) co_return true;
      bytes.remove_prefix(io.bytes);
      flushing = bytes.empty();
    } else if (io.want == Io::Want::kRead || io.want == Io::Want::kWrite) {
      if (!co_await WaitFor(socket, io.want, over)) co_return false;
    } else {
      co_return false;
    }
  }
}

namespace {

constexpr std::size_t kBufferBytes = 64 << 10;
constexpr std::size_t kScratchBytes = 64 << 10;
// How often a circuit is looked at that may be idle.
constexpr int kIdleLooks = 4;

struct End {
  End(asio::io_context& context, std::unique_ptr<RawConnection> raw, std::span<std::byte> scratch)
      : socket(context), timer(context), early(std::move(raw->early)) {
    error_code ignored;
    // The address family only matters to calls that we do not make.
    socket.assign(asio::ip::tcp::v4(), raw->ReleaseFd(), ignored);
    channel = std::move(raw->channel);
    if (!channel) channel = MakePlainChannel(socket.native_handle());
    channel->MoveTo(scratch);
  }
  void Cancel() {
    error_code ignored;
    socket.cancel(ignored);
    timer.cancel();
  }
  void Close() {
    channel->SayGoodbye();
    error_code ignored;
    socket.shutdown(Socket::shutdown_send, ignored);
    socket.close(ignored);
  }

  Socket socket;
  Timer timer;  // of the rate limit, for what is read here
  std::unique_ptr<Channel> channel;
  std::string early;
};

// Two ends and what is carried between them. Lives on the splicer's thread.
class Circuit : public std::enable_shared_from_this<Circuit> {
 public:
  Circuit(asio::io_context& context, std::span<std::byte> scratch, const Splicer::Options& options,
          std::atomic<std::int64_t>& bytes, std::unique_ptr<RawConnection> one,
          std::unique_ptr<RawConnection> other, std::function<void()> done)
      : context_(context),
        options_(options),
        bytes_(bytes),
        one_(context, std::move(one), scratch),
        other_(context, std::move(other), scratch),
        idle_(context),
        done_(std::move(done)) {}

  void Start() {
    last_ = Clock::now();
    for (const bool forth : {true, false}) {
      asio::co_spawn(
          context_,
          [self = shared_from_this(), forth] {
            return self->Carry(forth ? self->one_ : self->other_,
                               forth ? self->other_ : self->one_);
          },
          asio::detached);
    }
    WatchIdle();
  }

  // Ends soon: both directions see it, and what was taken in by then is lost.
  void Cut() {
    over_ = true;
    one_.Cancel();
    other_.Cancel();
    idle_.cancel();
  }

 private:
  Task<void> Carry(End& from, End& to) {
    const auto self = shared_from_this();
    if (!from.early.empty() && !co_await Put(to.socket, *to.channel, from.early, over_)) Cut();
    std::vector<char> buffer;
    while (!over_) {
      buffer.resize(kBufferBytes);
      const Io io = from.channel->Read(buffer);
      if (io.want == Io::Want::kRead || io.want == Io::Want::kWrite) {
        std::vector<char>().swap(buffer);  // many wait, few carry
        if (!co_await WaitFor(from.socket, io.want, over_)) break;
        continue;
      }
      if (io.want != Io::Want::kNothing) break;
      last_ = Clock::now();
      bytes_.fetch_add(static_cast<std::int64_t>(io.bytes), std::memory_order_relaxed);
      if (!co_await AwaitTurn(from, io.bytes)) break;
      if (!co_await Put(to.socket, *to.channel, {buffer.data(), io.bytes}, over_)) break;
      last_ = Clock::now();
    }
    Cut();
    if (++ended_ == 2) Finish();
  }

  // What came, came: it is the next read that waits, and with it whoever sends.
  Task<bool> AwaitTurn(End& from, std::size_t bytes) {
    if (options_.rate == nullptr) co_return !over_;
    const Time now = RateLimiter::Now();
    const Time until = options_.rate->Account(now, Bytes(static_cast<std::int64_t>(bytes)));
    if (until <= now) co_return !over_;
    from.timer.expires_after(until - now);
    error_code error;
    co_await from.timer.async_wait(asio::redirect_error(kUseTask, error));
    last_ = Clock::now();
    co_return !over_;
  }

  void WatchIdle() {
    idle_.expires_after(options_.idle / kIdleLooks);
    idle_.async_wait([weak = weak_from_this()](const error_code& error) {
      const auto self = weak.lock();
      if (error || !self || self->over_) return;
      if (Clock::now() - self->last_ >= self->options_.idle) return self->Cut();
      self->WatchIdle();
    });
  }

  void Finish() {
    one_.Close();
    other_.Close();
    done_();
  }

  asio::io_context& context_;
  const Splicer::Options& options_;
  std::atomic<std::int64_t>& bytes_;
  End one_;
  End other_;
  Timer idle_;
  std::function<void()> done_;
  Clock::time_point last_;
  bool over_ = false;
  int ended_ = 0;  // directions
};

}  // namespace
}  // namespace splice

class Splicer::Impl {
 public:
  explicit Impl(Options options) : options_(options) {
    thread_ = std::thread([this] {
      // As the data threads: what is sent to a closed socket is an error, not a signal.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
      context_.run();
    });
  }
  ~Impl() {
    work_.reset();
    context_.stop();
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Splice(std::uint64_t id, std::shared_ptr<RawConnection> one,
              std::shared_ptr<RawConnection> other, std::function<void()> done) {
    asio::post(context_, [this, id, one = std::move(one), other = std::move(other),
                          done = std::move(done)]() mutable {
      auto circuit =
          std::make_shared<splice::Circuit>(context_, scratch_, options_, bytes_, Owned(*one),
                                            Owned(*other), [this, id, done = std::move(done)] {
                                              circuits_.erase(id);
                                              done();
                                            });
      circuits_[id] = circuit;
      circuit->Start();
    });
  }

  void Cut(std::uint64_t id) {
    asio::post(context_, [this, id] {
      if (const auto it = circuits_.find(id); it != circuits_.end()) it->second->Cut();
    });
  }

  void Dial(const index::Endpoint& relay, std::shared_ptr<SSL_CTX> context, std::string target,
            Duration limit, Dialled done) {
    asio::post(context_, [this, relay, context = std::move(context), target = std::move(target),
                          limit, done = std::move(done)] {
      splice::DialRelay(context_, scratch_, relay, context, target, limit, done);
    });
  }

  [[nodiscard]] std::int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static std::unique_ptr<RawConnection> Owned(RawConnection& raw) {
    return std::make_unique<RawConnection>(raw.ReleaseFd(), std::move(raw.channel),
                                           std::move(raw.early));
  }

  const Options options_;
  std::atomic<std::int64_t> bytes_ = 0;
  std::vector<std::byte> scratch_ = std::vector<std::byte>(splice::kScratchBytes);
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  std::unordered_map<std::uint64_t, std::shared_ptr<splice::Circuit>> circuits_;  // on the thread
  std::thread thread_;
};

Splicer::Splicer(Options options) : impl_(std::make_unique<Impl>(options)) {}
Splicer::~Splicer() = default;

void Splicer::Splice(std::uint64_t id, std::unique_ptr<RawConnection> one,
                     std::unique_ptr<RawConnection> other, std::function<void()> done) {
  impl_->Splice(id, std::move(one), std::move(other), std::move(done));
}
void Splicer::Cut(std::uint64_t id) { impl_->Cut(id); }
void Splicer::Dial(const index::Endpoint& relay, std::shared_ptr<SSL_CTX> context,
                   std::string target, Duration limit, Dialled done) {
  impl_->Dial(relay, std::move(context), std::move(target), limit, std::move(done));
}
std::int64_t Splicer::bytes() const { return impl_->bytes(); }

}  // namespace shoal::fetch
