#include "index/rendezvous/rendezvous_index.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/rng.h"
#include "index/keyfile/pin_file.h"
#include "index/net/gate.h"
#include "index/rendezvous/server_link.h"
#include "index/rendezvous/swarm_asker.h"

namespace shoal::index {
namespace {

constexpr int kDiscoverLimit = 500;  // records an answer: at most 2 MiB
// Between an answer and the next question: a room where much happens is asked 20 times a second.
constexpr Duration kPollPause = std::chrono::milliseconds(50);
constexpr int kResolveLimit = 64;  // more holders of one blob never help one pull

}  // namespace

struct RendezvousIndex::Face {
  OnRecord on_record;
  PeerIndexStatus status;
};

class RendezvousIndex::Impl : public std::enable_shared_from_this<RendezvousIndex::Impl> {
 public:
  Impl(Options options, IoThread& io, Executor& loop, const SigningKey& key,
       OwnCertificate certificate, std::unique_ptr<PinFile> pins, std::weak_ptr<Face> face)
      : options_(std::move(options)),
        context_(io.context()),
        gate_(std::make_shared<Gate>(io)),
        loop_(loop),
        key_(key),
        certificate_(std::move(certificate)),
        pins_(std::move(pins)),
        face_(std::move(face)),
        timer_(io.context()),
        poll_timer_(io.context()),
        rng_(RandomSeed()) {}

  Status Open() {
    for (const auto& text : options_.urls) {
      auto url = ParseServerUrl(text);
      if (!url) return url.error();
      // The configuration's word is above what was remembered.
      if (!url->pin) url->pin = pins_->Find(url->target);
      servers_.push_back(
          std::make_unique<ServerLink>(*url, options_.pin_file, certificate_, options_.patience));
    }
    if (servers_.empty()) {
      return Error{Code::kInvalid,
                   "index.rendezvous names no server; add one like "
                   "\"https://host:7383\" or take \"rendezvous\" out of index.use"};
    }
    asker_ = std::make_shared<SwarmAsker>(SwarmAsker::Ports{
        context_,
        [this](SwarmRequest request, const ServerLink::OnAnswer& done) {
          return SendSwarm(std::move(request), done);
        },
        [this](std::vector<SignedRecord> records, std::function<void()> answers) {
          ToLoop([records = std::move(records), answers = std::move(answers)](Face& face) {
            for (const auto& record : records) face.on_record(record);
            answers();
          });
        }});
    return Ok();
  }

  void Tick() {
    tried_ = 0;
    Discover();
    Flush();
    const auto quarter = static_cast<std::uint64_t>(options_.sync_interval.count()) / 4;
    timer_.expires_after(options_.sync_interval - Duration(quarter) +
                         Duration(static_cast<std::int64_t>(rng_.Below(2 * quarter + 1))));
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->stopped_) self->Tick();
    });
  }

  void Stop() {
    stopped_ = true;
    gate_->Shut();  // requests under way end by themselves, some time
    timer_.cancel();
    poll_timer_.cancel();
    asker_->Stop();
    resolving_.clear();
    servers_.clear();
  }

  void OnSelf(const SignedRecord& self) {
    const bool is_first = !self_;
    std::set<Key> rooms;
    for (const auto& room : self.record().rooms) rooms.insert(RoomKey(room));
    for (const auto& room : rooms_) {
      if (!rooms.contains(room)) OnWithdraw(room);
    }
    rooms_ = std::move(rooms);
    self_ = self;
    for (const auto& room : rooms_) registered_[room] = std::nullopt;  // due now
    if (is_first) Discover();
    Flush();
  }

  void OnKey(const Key& key) {
    withdrawn_.erase(key);
    registered_.try_emplace(key, std::nullopt);
    Flush();
  }

  void OnWithdraw(const Key& key) {
    if (registered_.erase(key) != 0) withdrawn_.insert(key);
    Flush();
  }

  void OnAskSwarm(const SwarmAsk& ask, OnSwarm done) { asker_->Ask(ask, std::move(done)); }

  void OnResolve(const Key& key, Duration timeout, OnResolved done) {
    if (stopped_) return;
    const auto id = ++last_resolve_;
    auto& resolving = resolving_[id];
    resolving.done = std::move(done);
    resolving.timer = std::make_unique<boost::asio::steady_timer>(context_, timeout);
    resolving.timer->async_wait(
        [self = shared_from_this(), id](const boost::system::error_code& error) {
          if (!error) self->Resolved(id, {});
        });
    Server().Discover(
        key, kResolveLimit, "", Duration(0), OnIo([this, id](const Result<ServerAnswer>& answer) {
          if (!answer || !answer->error.ok()) return Resolved(id, {});
          auto records = answer->records;
          std::erase_if(records, [&](const SignedRecord& r) { return r.id() == key_.id(); });
          Resolved(id, std::move(records));
        }));
  }

 private:
  ServerLink& Server() { return *servers_[current_]; }

  struct Resolving {
    OnResolved done;
    std::unique_ptr<boost::asio::steady_timer> timer;
  };

  // Wraps a handler so that it runs on the io thread, unless we have stopped by then. A request
  // holds us weakly: it may end after the io thread, where our timers must not be destroyed.
  ServerLink::OnAnswer OnIo(std::function<void(const Result<ServerAnswer>&)> handler) {
    return [weak = weak_from_this(), gate = gate_,
            handler = std::move(handler)](Result<ServerAnswer> answer) {
      gate->Post([weak, handler, answer = std::move(answer)] {
        const auto self = weak.lock();
        if (self != nullptr && !self->stopped_) handler(answer);
      });
    };
  }

  bool SendSwarm(SwarmRequest request, const ServerLink::OnAnswer& done) {
    if (!self_ || !Server().id()) return false;
    last_swarm_sent_ms_ = std::max(last_swarm_sent_ms_ + 1, ToUnixMs(WallNow()));
    request.record = std::make_shared<const SignedRecord>(*self_);
    request.sent_ms = last_swarm_sent_ms_;
    Server().AskSwarm(EncodeSwarmRequest(request, *Server().id(), key_),
                      OnIo([this, done, life = life_](const Result<ServerAnswer>& answer) {
                        done(answer);
                        if (!answer) Fail(answer.error().text, life);
                      }));
    return true;
  }

  // The first to come, answer or timeout, counts.
  void Resolved(std::uint64_t id, std::vector<SignedRecord> records) {
    const auto it = resolving_.find(id);
    if (it == resolving_.end()) return;
    ToLoop([done = std::move(it->second.done), records = std::move(records)](Face&) {
      done(records);
    });
    resolving_.erase(it);
  }

  void ToLoop(std::function<void(Face&)> work) {
    loop_.Post([weak = face_, work = std::move(work)] {
      if (const auto face = weak.lock()) work(*face);
    });
  }

  // Asks the next of our rooms, one after the other.
  void Discover() {
    if (discovering_ || stopped_ || !self_) return;
    discovering_ = true;
    to_ask_.assign(rooms_.begin(), rooms_.end());
    DiscoverNext(Duration(0));
  }

  // wait  for news; none the first time, so that a dead server is found soon.
  void DiscoverNext(Duration wait) {
    if (to_ask_.empty()) {
      discovering_ = false;
      if (rooms_.size() == 1) AskAgain();
      return;
    }
    const Key room = to_ask_.back();
    Server().Discover(room, kDiscoverLimit, cookies_[room], wait,
                      OnIo([this, room, life = life_](const Result<ServerAnswer>& answer) {
                        OnDiscovered(room, life, answer);
                      }));
  }

  void OnDiscovered(const Key& room, int life, const Result<ServerAnswer>& answer) {
    if (life != life_) return;  // another server is in use by now
    if (!answer) return Fail(answer.error().text, life);
    if (answer->error.status == RendezvousStatus::kInvalidCookie && !cookies_[room].empty()) {
      Forgotten();
      return DiscoverNext(Duration(0));
    }
    if (!answer->error.ok()) return Fail(Trouble(answer->error), life);
    Trust();
    cookies_[room] = answer->cookie;
    ToLoop([records = answer->records, self = key_.id()](Face& face) {
      for (const auto& record : records) {
        if (record.id() != self) face.on_record(record);
      }
    });
    // A full page is followed by another.
    if (answer->given < kDiscoverLimit) to_ask_.pop_back();
    Report(true, "");
    Flush();
    DiscoverNext(Duration(0));
  }

  // With one room: its next news, at once.
  void AskAgain() {
    discovering_ = true;
    poll_timer_.expires_after(kPollPause);
    poll_timer_.async_wait(
        [self = shared_from_this(), life = life_](const boost::system::error_code& error) {
          if (error || self->stopped_ || life != self->life_) return;
          self->to_ask_.assign(self->rooms_.begin(), self->rooms_.end());
          self->DiscoverNext(self->options_.sync_interval);
        });
  }

  // Registers what is due, then takes back what is withdrawn; one request at a time, so that
  // `sent` arrives in order.
  void Flush() {
    if (flushing_ || stopped_ || !self_ || !Server().id()) return;
    Registrations::Request request{{}, *self_, {}, 0};
    auto verb = RendezvousVerb::kRegister;
    const Time now = SteadyNow();
    // Rooms first: they are few, and their record serves all.
    for (const bool rooms : {true, false}) {
      if (!request.namespaces.empty()) break;
      request.ttl = rooms ? options_.ttl : options_.blob_ttl;
      for (const auto& [key, due] : registered_) {
        if (request.namespaces.size() == kNamespacesPerRequestMax) break;
        if (rooms_.contains(key) == rooms && (!due || now >= *due))
          request.namespaces.push_back(key);
      }
    }
    if (request.namespaces.empty()) {
      verb = RendezvousVerb::kUnregister;
      request.ttl = std::nullopt;
      for (const auto& key : withdrawn_) {
        if (request.namespaces.size() == kNamespacesPerRequestMax) break;
        request.namespaces.push_back(key);
      }
    }
    if (request.namespaces.empty()) return;
    flushing_ = true;
    last_sent_ms_ = std::max(last_sent_ms_ + 1, ToUnixMs(WallNow()));
    request.sent_ms = last_sent_ms_;
    Server().Change(verb, EncodeRequest(verb, request, *Server().id(), key_),
                    OnIo([this, verb, names = request.namespaces, due = DueAfter(now, request.ttl),
                          life = life_,
                          sequence = self_->record().sequence](const Result<ServerAnswer>& answer) {
                      OnChanged(verb, names, due, life, sequence, answer);
                    }));
  }

  // At half of the TTL, give or take a tenth of it, so that hosts that came together part.
  Time DueAfter(Time now, std::optional<Duration> ttl) {
    const auto tenth = ttl.value_or(Duration(0)) / 10;
    return now + 4 * tenth +
           Duration(static_cast<std::int64_t>(
               rng_.Below(static_cast<std::uint64_t>(2 * tenth.count()) + 1)));
  }

  void OnChanged(RendezvousVerb verb, const std::vector<Key>& names, Time due, int life,
                 std::uint64_t sequence, const Result<ServerAnswer>& answer) {
    if (life != life_) return;
    flushing_ = false;
    if (!answer) return Fail(answer.error().text, life);
    if (!answer->error.ok()) return Fail(Trouble(answer->error), life);
    for (const auto& name : names) {
      if (verb == RendezvousVerb::kUnregister) {
        withdrawn_.erase(name);
      } else if (const auto it = registered_.find(name); it != registered_.end()) {
        // The record may have changed meanwhile.
        if (!rooms_.contains(name) || sequence == self_->record().sequence) it->second = due;
      }
    }
    Report(true, "");
    Flush();
  }

  std::string Trouble(const RendezvousError& error) {
    return "index server " + Server().target() + ": " + std::string(ToString(error.status)) +
           (error.text.empty() ? "" : ": " + error.text);
  }

  // Keeps the identity that was met first.
  void Trust() {
    const auto id = Server().id();
    if (!id || !trusted_.insert(Server().target()).second) return;
    if (std::ranges::any_of(options_.urls, [&](const std::string& url) {
          return url.starts_with(Server().target() + "#");
        })) {
      return;
    }
    if (auto kept = pins_->Remember(Server().target(), *id); !kept) {
      spdlog::warn("index server {}: its identity is not remembered: {}", Server().target(),
                   kept.error().text);
    }
  }

  // The server began anew: nothing of ours is there.
  void Forgotten() {
    cookies_.clear();
    withdrawn_.clear();
    asker_->ForgetKnown();
    for (auto& [key, due] : registered_) due = std::nullopt;
  }

  void Fail(const std::string& text, int life) {
    if (life != life_) return;
    Report(false, text);
    ++life_;
    discovering_ = false;
    flushing_ = false;
    Forgotten();
    current_ = (current_ + 1) % servers_.size();
    // Each server once; then the next tick tries again.
    if (++tried_ < servers_.size()) Discover();
  }

  void Report(bool ok, const std::string& text) {
    if (reported_ok_ == ok && reported_text_ == text) return;
    if (!ok) spdlog::warn("{}", text);
    reported_ok_ = ok;
    reported_text_ = text;
    ToLoop([ok, text, target = Server().target()](Face& face) {
      face.status.ok = ok;
      face.status.text = text;
      face.status.target = target;
    });
  }

  Options options_;
  boost::asio::io_context& context_;
  std::shared_ptr<Gate> gate_;  // to our thread; owners: we, and requests under way
  Executor& loop_;
  SigningKey key_;
  OwnCertificate certificate_;
  std::unique_ptr<PinFile> pins_;
  std::weak_ptr<Face> face_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer poll_timer_;
  Rng rng_;
  std::vector<std::unique_ptr<ServerLink>> servers_;
  std::size_t current_ = 0;
  std::size_t tried_ = 0;  // servers that failed since the last tick
  int life_ = 0;           // grows with each change of server; answers of earlier ones are dropped
  std::set<std::string> trusted_;

  std::optional<SignedRecord> self_;
  std::set<Key> rooms_;
  std::map<Key, std::optional<Time>> registered_;  // what we want there, and when it is due again
  std::set<Key> withdrawn_;
  std::map<Key, std::string> cookies_;
  std::vector<Key> to_ask_;
  bool discovering_ = false;
  bool flushing_ = false;
  bool stopped_ = false;
  std::int64_t last_sent_ms_ = 0;
  std::int64_t last_swarm_sent_ms_ = 0;
  std::shared_ptr<SwarmAsker> asker_;  // owners: we; its timers hold it weakly
  std::map<std::uint64_t, Resolving> resolving_;
  std::uint64_t last_resolve_ = 0;
  std::optional<bool> reported_ok_;
  std::string reported_text_;
};

Result<std::unique_ptr<RendezvousIndex>> RendezvousIndex::Start(Options options, IoThread& io,
                                                                Executor& loop,
                                                                const SigningKey& key,
                                                                OnRecord on_record) {
  auto pins = PinFile::Open(options.pin_file);
  if (!pins) return pins.error();
  auto certificate = OwnCertificate::Make(key);
  if (!certificate) return certificate.error();
  auto face = std::make_shared<Face>(
      Face{std::move(on_record),
           {"rendezvous", options.urls.empty() ? "" : options.urls.front(), false, "connecting"}});
  auto impl = std::make_shared<Impl>(std::move(options), io, loop, key, *certificate,
                                     *std::move(pins), face);
  if (auto opened = impl->Open(); !opened) return opened.error();
  io.Post([impl] { impl->Tick(); });
  return std::unique_ptr<RendezvousIndex>(
      new RendezvousIndex(io, std::move(face), std::move(impl)));
}

RendezvousIndex::RendezvousIndex(IoThread& io, std::shared_ptr<Face> face,
                                 std::shared_ptr<Impl> impl)
    : io_(io), face_(std::move(face)), impl_(std::move(impl)) {}

RendezvousIndex::~RendezvousIndex() {
  io_.Run([&] {
    impl_->Stop();
    impl_.reset();
  });
}

void RendezvousIndex::Advertise(const SignedRecord& self, std::uint64_t, std::uint64_t) {
  io_.Post([impl = impl_, self] { impl->OnSelf(self); });
}

void RendezvousIndex::AdvertiseKey(const Key& key) {
  io_.Post([impl = impl_, key] { impl->OnKey(key); });
}

void RendezvousIndex::Withdraw(const Key& key) {
  io_.Post([impl = impl_, key] { impl->OnWithdraw(key); });
}

void RendezvousIndex::Resolve(const Key& key, Duration timeout, OnResolved done) {
  io_.Post([impl = impl_, key, timeout, done = std::move(done)] {
    impl->OnResolve(key, timeout, done);
  });
}

void RendezvousIndex::AskSwarm(const SwarmAsk& ask, OnSwarm done) {
  io_.Post([impl = impl_, ask, done = std::move(done)] { impl->OnAskSwarm(ask, done); });
}

PeerIndexStatus RendezvousIndex::status() const { return face_->status; }

}  // namespace shoal::index
