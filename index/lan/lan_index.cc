#include "index/lan/lan_index.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <optional>

#include "index/beacon.h"
#include "index/lan/multicast_socket.h"

namespace shoal::index {
namespace {

// Datagrams read in a row before other work of the thread gets its turn.
constexpr int kReadsInARow = 64;

}  // namespace

struct LanIndex::Face {
  OnRecord on_record;
  OnHead on_head;
  PeerIndexStatus status;
};

class LanIndex::Impl : public std::enable_shared_from_this<LanIndex::Impl> {
 public:
  Impl(const Options& options, IoThread& io, Executor& loop, const SigningKey& key,
       MulticastSocket socket, std::weak_ptr<Face> face)
      : options_(options),
        loop_(loop),
        face_(std::move(face)),
        socket_(std::move(socket)),
        wait_(io.context(), socket_.fd()),
        timer_(io.context()),
        neighbours_({.interval = options.interval}, key, Rng(RandomSeed())) {}

  void Start() {
    Rescan();
    WaitForDatagrams();
    WaitForDeadline();
  }

  void Stop() {
    stopped_ = true;
    wait_.release();  // the socket closes it
    timer_.cancel();
  }

  void OnSelf(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) {
    neighbours_.OnSelf(SteadyNow(), self, epoch, head);
    WaitForDeadline();
  }

 private:
  void WaitForDatagrams() {
    wait_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       if (error || self->stopped_) return;
                       self->Read();
                       self->WaitForDatagrams();
                     });
  }

  void Read() {
    // One byte more than is allowed, to tell a longer datagram from a whole one.
    std::array<char, kBeaconBytesMax + 1> buffer;
    for (int i = 0; i < kReadsInARow; ++i) {
      const auto n = ::recv(socket_.fd(), buffer.data(), buffer.size(), 0);
      if (n < 0) return;
      Take({buffer.data(), static_cast<std::size_t>(n)});
    }
  }

  void Take(std::string_view datagram) {
    auto heard = neighbours_.OnDatagram(SteadyNow(), WallNow(), datagram);
    if (!heard) {
      if (heard.error().code != Code::kCancelled) spdlog::debug("{}", heard.error().text);
      return;
    }
    if (heard->beacon.hello) WaitForDeadline();
    loop_.Post([face = face_, heard = *std::move(heard)] {
      const auto live = face.lock();
      if (live == nullptr) return;
      const auto& beacon = heard.beacon;
      if (heard.is_record_new) live->on_record(beacon.record);
      live->on_head(beacon.record.id(), beacon.epoch, beacon.head);
    });
  }

  // The timer stands at the sooner of the next beacon and the next look at the interfaces.
  void WaitForDeadline() {
    timer_.expires_at(ToSteady(std::min(neighbours_.NextDeadline(), next_scan_)));
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error || self->stopped_) return;
      self->OnDeadline();
    });
  }

  void OnDeadline() {
    if (SteadyNow() >= next_scan_) Rescan();
    auto datagram = neighbours_.OnDeadline(SteadyNow(), WallNow());
    if (!datagram) {
      Report(false, datagram.error().text);
    } else if (datagram->has_value()) {
      if (socket_.Send(**datagram) > 0) {
        Report(true, "on " + socket_.InterfaceNames());
      } else {
        // Nobody heard our hello.
        neighbours_.OnNewNetwork(SteadyNow());
        Report(false, "no network interface to send on; looking again");
      }
    }
    WaitForDeadline();
  }

  void Rescan() {
    if (socket_.Rescan()) neighbours_.OnNewNetwork(SteadyNow());
    next_scan_ = SteadyNow() + options_.interval;
  }

  void Report(bool ok, const std::string& text) {
    if (ok == reported_ok_ && text == reported_text_) return;
    if (!ok) spdlog::warn("LAN index: {}", text);
    reported_ok_ = ok;
    reported_text_ = text;
    loop_.Post([face = face_, ok, text] {
      if (const auto live = face.lock()) {
        live->status.ok = ok;
        live->status.text = text;
      }
    });
  }

  Options options_;
  Executor& loop_;
  std::weak_ptr<Face> face_;
  MulticastSocket socket_;
  boost::asio::posix::stream_descriptor wait_;
  boost::asio::steady_timer timer_;
  Neighbours neighbours_;
  Time next_scan_;
  std::optional<bool> reported_ok_;
  std::string reported_text_;
  bool stopped_ = false;
};

Result<std::unique_ptr<LanIndex>> LanIndex::Start(Options options, IoThread& io, Executor& loop,
                                                  const SigningKey& key, OnRecord on_record,
                                                  OnHead on_head) {
  auto socket = MulticastSocket::Open(options.group);
  if (!socket) return socket.error();
  auto face = std::make_shared<Face>(
      Face{std::move(on_record),
           std::move(on_head),
           {"lan", ToString(options.group), false, "looking for a network interface"}});
  auto impl = std::make_shared<Impl>(options, io, loop, key, *std::move(socket), face);
  io.Post([impl] { impl->Start(); });
  return std::unique_ptr<LanIndex>(new LanIndex(io, loop, std::move(face), std::move(impl)));
}

LanIndex::LanIndex(IoThread& io, Executor& loop, std::shared_ptr<Face> face,
                   std::shared_ptr<Impl> impl)
    : io_(io), loop_(loop), face_(std::move(face)), impl_(std::move(impl)) {}

LanIndex::~LanIndex() {
  // The sockets and timers end where they live; then no handler is left.
  io_.Run([&] {
    impl_->Stop();
    impl_.reset();
  });
}

void LanIndex::Advertise(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) {
  io_.Post([impl = impl_, self, epoch, head] { impl->OnSelf(self, epoch, head); });
}

void LanIndex::AdvertiseKey(const Key&) {}
void LanIndex::Withdraw(const Key&) {}

void LanIndex::Resolve(const Key&, Duration, OnResolved done) {
  loop_.Post([done = std::move(done)] { done({}); });
}

PeerIndexStatus LanIndex::status() const { return face_->status; }

}  // namespace shoal::index
