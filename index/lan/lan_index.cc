#include "index/lan/lan_index.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <list>
#include <map>
#include <optional>
#include <set>

#include "index/beacon.h"
#include "index/lan/multicast_socket.h"
#include "index/lan_asks.h"

namespace shoal::index {
namespace {

// Datagrams read in a row before other work of the thread gets its turn.
constexpr int kReadsInARow = 64;
// After the first answer to a question others come within the time that holders wait and this, for
// signing and verifying, or within kSettleMax, if they come at all.
constexpr Duration kSettle = std::chrono::microseconds(300);
constexpr Duration kSettleMax = std::chrono::milliseconds(1);

}  // namespace

struct LanIndex::Face {
  OnRecord on_record;
  OnHead on_head;
  Holds holds;
  PeerIndexStatus status;
};

class LanIndex::Impl : public std::enable_shared_from_this<LanIndex::Impl> {
 public:
  Impl(const Options& options, IoThread& io, Executor& loop, const SigningKey& key,
       std::vector<MulticastSocket> sockets, std::weak_ptr<Face> face)
      : options_(options),
        io_(io),
        loop_(loop),
        face_(std::move(face)),
        timer_(io.context()),
        answer_timer_(io.context()),
        neighbours_({.interval = options.interval}, key, Rng(RandomSeed())),
        asks_({}, key, Rng(RandomSeed())) {
    for (auto& socket : sockets) {
      sockets_.emplace_back(std::move(socket), io.context());
    }
  }

  void Start() {
    Rescan();
    for (auto& socket : sockets_) WaitForDatagrams(socket);
    WaitForDeadline();
  }

  void Stop() {
    stopped_ = true;
    for (auto& socket : sockets_) socket.wait.release();  // the socket closes it
    timer_.cancel();
    answer_timer_.cancel();
    resolving_.clear();
  }

  void OnResolve(const Key& key, Duration timeout, OnResolved done) {
    if (stopped_) return;
    const auto it = resolving_.find(key);
    if (it != resolving_.end()) {
      it->second.done.push_back(std::move(done));
      return;
    }
    std::optional<std::string> question;
    if (neighbours_.known() > 0) question = asks_.Ask(SteadyNow(), WallNow(), key);
    if (!question || Send(*question) == 0) {
      asks_.OnEnd(SteadyNow(), key);
      return Answer({std::move(done)}, {});
    }
    Resolving& resolving = resolving_.try_emplace(key).first->second;
    resolving.done.push_back(std::move(done));
    resolving.timer = std::make_unique<boost::asio::steady_timer>(io_.context());
    EndAfter(key, resolving, std::min(timeout, asks_.Patience(neighbours_.known())));
  }

  void OnSelf(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) {
    neighbours_.OnSelf(SteadyNow(), self, epoch, head);
    WaitForDeadline();
  }

 private:
  struct Socket {
    Socket(MulticastSocket of, boost::asio::io_context& context)
        : socket(std::move(of)), wait(context, socket.fd()) {}
    MulticastSocket socket;
    boost::asio::posix::stream_descriptor wait;
  };
  struct Resolving {
    std::vector<OnResolved> done;
    std::unique_ptr<boost::asio::steady_timer> timer;
    std::map<PeerId, SignedRecord> holders;
  };

  void WaitForDatagrams(Socket& socket) {
    socket.wait.async_wait(
        boost::asio::posix::stream_descriptor::wait_read,
        [self = shared_from_this(), &socket](const boost::system::error_code& error) {
          if (error || self->stopped_) return;
          self->Read(socket.socket);
          self->WaitForDatagrams(socket);
        });
  }

  void Read(const MulticastSocket& socket) {
    // One byte more than is allowed, to tell a longer datagram from a whole one.
    std::array<char, kBeaconBytesMax + 1> buffer;
    for (int i = 0; i < kReadsInARow; ++i) {
      const auto n = ::recv(socket.fd(), buffer.data(), buffer.size(), 0);
      if (n < 0) return;
      const std::string_view datagram(buffer.data(), static_cast<std::size_t>(n));
      if (IsAskOrAnswer(datagram)) {
        TakeAsk(datagram);
      } else {
        Take(datagram);
      }
    }
  }

  int Send(std::string_view datagram) {
    int sent = 0;
    for (auto& socket : sockets_) sent += socket.socket.Send(datagram);
    return sent;
  }

  void TakeAsk(std::string_view datagram) {
    auto heard = asks_.OnDatagram(SteadyNow(), datagram, [this](const PeerId& peer) {
      return neighbours_.Find(WallNow(), peer) != nullptr;
    });
    if (!heard) {
      if (heard.error().code != Code::kCancelled) spdlog::debug("{}", heard.error().text);
      return;
    }
    if (const auto* question = std::get_if<LanQuestion>(&*heard)) {
      loop_.Post([self = weak_from_this(), &io = io_, face = face_, question = *question] {
        const auto live = face.lock();
        // While the face lives, so does the io thread.
        if (live == nullptr || !live->holds(question.asker, question.key)) return;
        io.Post([self, question] {
          const auto impl = self.lock();
          if (impl == nullptr || impl->stopped_) return;
          impl->asks_.OnHolds(SteadyNow(), question, impl->neighbours_.known());
          impl->AnswerWhatIsDue();
        });
      });
      return;
    }
    const auto& answer = std::get<LanAnswer>(*heard);
    const auto it = resolving_.find(answer.key);
    const auto* record = neighbours_.Find(WallNow(), answer.holder);
    if (it == resolving_.end() || record == nullptr) return;
    const bool is_first = it->second.holders.empty();
    it->second.holders.insert_or_assign(answer.holder, *record);
    if (it->second.holders.size() >= kAnswersEnough) return End(answer.key);
    if (!is_first) return;
    const Duration settle = std::min(kSettleMax, LanAsks::Spread(neighbours_.known()) + kSettle);
    EndAfter(answer.key, it->second, settle);
  }

  void AnswerWhatIsDue() {
    std::vector<std::string> answers;
    asks_.OnDeadline(SteadyNow(), answers);
    for (const auto& answer : answers) Send(answer);
    if (asks_.NextDeadline() == kNever) return;
    answer_timer_.expires_at(ToSteady(asks_.NextDeadline()));
    answer_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->stopped_) self->AnswerWhatIsDue();
    });
  }

  void EndAfter(const Key& key, Resolving& resolving, Duration wait) {
    resolving.timer->expires_after(wait);
    resolving.timer->async_wait(
        [self = shared_from_this(), key](const boost::system::error_code& error) {
          if (!error && !self->stopped_) self->End(key);
        });
  }

  void End(const Key& key) {
    asks_.OnEnd(SteadyNow(), key);
    const auto node = resolving_.extract(key);
    if (node.empty()) return;
    std::vector<SignedRecord> records;
    for (auto& [peer, record] : node.mapped().holders) records.push_back(std::move(record));
    Answer(node.mapped().done, std::move(records));
  }

  void Answer(std::vector<OnResolved> done, std::vector<SignedRecord> records) {
    loop_.Post([face = face_, done = std::move(done), records = std::move(records)] {
      if (face.lock() == nullptr) return;
      for (const auto& one : done) one(records);
    });
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
      if (Send(**datagram) > 0) {
        Report(true, "on " + InterfaceNames());
      } else {
        // Nobody heard our hello.
        neighbours_.OnNewNetwork(SteadyNow());
        Report(false, "no network interface to send on; looking again");
      }
    }
    WaitForDeadline();
  }

  // Of both kinds, each once.
  [[nodiscard]] std::string InterfaceNames() const {
    std::set<std::string> names;
    for (const auto& socket : sockets_) names.merge(socket.socket.InterfaceNames());
    std::string out;
    for (const auto& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
  }

  void Rescan() {
    bool is_new = false;
    for (auto& socket : sockets_) is_new = socket.socket.Rescan() || is_new;
    if (is_new) neighbours_.OnNewNetwork(SteadyNow());
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
  IoThread& io_;
  Executor& loop_;
  std::weak_ptr<Face> face_;
  std::list<Socket> sockets_;  // handlers refer to them
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer answer_timer_;
  Neighbours neighbours_;
  LanAsks asks_;
  std::map<Key, Resolving> resolving_;
  Time next_scan_;
  std::optional<bool> reported_ok_;
  std::string reported_text_;
  bool stopped_ = false;
};

Result<std::unique_ptr<LanIndex>> LanIndex::Start(const Options& options, IoThread& io,
                                                  Executor& loop, const SigningKey& key,
                                                  OnRecord on_record, OnHead on_head, Holds holds) {
  std::vector<MulticastSocket> sockets;
  std::string target;
  std::optional<Error> trouble;
  for (const auto& group : options.groups) {
    auto socket = MulticastSocket::Open(group);
    if (!socket && socket.error().code != Code::kUnsupported) return socket.error();
    if (!socket) {
      trouble = socket.error();
      continue;
    }
    sockets.push_back(*std::move(socket));
    target += (target.empty() ? "" : ", ") + ToString(group);
  }
  if (sockets.empty()) {
    return trouble.value_or(Error{Code::kInvalid, "LAN: lan.group and lan.group6 are both empty"});
  }
  auto face =
      std::make_shared<Face>(Face{std::move(on_record),
                                  std::move(on_head),
                                  std::move(holds),
                                  {"lan", target, false, "looking for a network interface"}});
  auto impl = std::make_shared<Impl>(options, io, loop, key, std::move(sockets), face);
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

void LanIndex::Resolve(const Key& key, Duration timeout, OnResolved done) {
  if (!key.starts_with("blob/")) {
    loop_.Post([done = std::move(done)] { done({}); });
    return;
  }
  io_.Post([impl = impl_, key, timeout, done = std::move(done)]() mutable {
    impl->OnResolve(key, timeout, std::move(done));
  });
}

PeerIndexStatus LanIndex::status() const { return face_->status; }

}  // namespace shoal::index
