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
#include "index/rendezvous/server_session.h"
#include "index/server_choice.h"

namespace shoal::index {
namespace {

// A server that was away is asked whether it is back on time, though nothing else happens.
constexpr Duration kDeadlineMin = std::chrono::milliseconds(1);

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
        deadline_timer_(io.context()),
        rng_(RandomSeed()) {}

  Status Open() {
    std::vector<std::string> targets;
    for (const auto& text : options_.urls) {
      auto url = ParseServerUrl(text);
      if (!url) return url.error();
      const bool is_pinned = url->pin.has_value();
      // The configuration's word is above what was remembered.
      if (!url->pin) url->pin = pins_->Find(url->target);
      if (std::ranges::count(targets, url->target) != 0) continue;
      targets.push_back(url->target);
      servers_.push_back({.is_pinned = is_pinned});
      servers_.back().session =
          MakeSession(servers_.size() - 1,
                      std::make_unique<ServerLink>(
                          *url, options_.pin_file, certificate_, options_.patience,
                          std::min<Duration>(options_.sync_interval,
                                             std::chrono::milliseconds(kDiscoverWaitMsMax))));
    }
    if (servers_.empty()) {
      return Error{Code::kInvalid,
                   "index.rendezvous names no server; add one like "
                   "\"https://host:7383\" or take \"rendezvous\" out of index.use"};
    }
    choice_.emplace(targets, ServerChoice::Limits{}, Rng(rng_.Next()));
    for (auto& server : servers_) server.session->Start();
    return Ok();
  }

  void Tick() {
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      if (choice_->InUse(i)) servers_[i].session->Tick();
    }
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
    deadline_timer_.cancel();
    for (auto& server : servers_) server.session->Stop();
    servers_.clear();
    resolving_.clear();
  }

  void OnSelf(const SignedRecord& self) {
    if (stopped_) return;
    std::set<Key> rooms;
    for (const auto& room : self.record().rooms) rooms.insert(RoomKey(room));
    for (const auto& room : rooms_) {
      if (!rooms.contains(room)) OnWithdraw(room);
    }
    rooms_ = std::move(rooms);
    self_ = self;
    for (const auto& room : rooms_) keys_.try_emplace(room, std::nullopt);
    Assign();
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      if (choice_->InUse(i)) servers_[i].session->OnSelf();
    }
  }

  void OnKey(const Key& key) {
    if (stopped_) return;
    AssignOne(*keys_.try_emplace(key, std::nullopt).first);
  }

  void OnWithdraw(const Key& key) {
    const auto it = keys_.find(key);
    if (it == keys_.end() || stopped_) return;
    if (it->second) servers_[*it->second].session->Withdraw(key);
    keys_.erase(it);
  }

  void OnAskSwarm(const SwarmAsk& ask, OnSwarm done) {
    if (stopped_) return;
    // All who take part in a swarm ask the same server, which so has one lead.
    if (const auto server = choice_->Of(BlobKey(ask.digest))) {
      return servers_[*server].session->AskSwarm(ask, std::move(done));
    }
    ToLoop([done = std::move(done)](Face&) { done(std::nullopt); });
  }

  void OnResolve(const Key& key, Duration timeout, OnResolved done) {
    if (stopped_) return;
    const auto server = choice_->Of(key);
    if (!server) return ToLoop([done = std::move(done)](Face&) { done({}); });
    const auto id = ++last_resolve_;
    auto& resolving = resolving_[id];
    resolving.done = std::move(done);
    resolving.timer = std::make_unique<boost::asio::steady_timer>(context_, timeout);
    resolving.timer->async_wait(
        [self = shared_from_this(), id](const boost::system::error_code& error) {
          if (!error) self->Resolved(id, {});
        });
    servers_[*server].session->Resolve(
        key, [weak = weak_from_this(), id](std::vector<SignedRecord> records) {
          if (const auto self = weak.lock()) self->Resolved(id, std::move(records));
        });
  }

 private:
  struct Server {
    std::shared_ptr<ServerSession> session;  // owners: we, and its handlers under way
    bool is_pinned = false;                  // by the configuration
    bool is_trusted = false;                 // its identity is kept
    std::string trouble = "connecting";      // "" while it works
  };
  struct Resolving {
    OnResolved done;
    std::unique_ptr<boost::asio::steady_timer> timer;
  };

  std::shared_ptr<ServerSession> MakeSession(std::size_t server, std::unique_ptr<ServerLink> link) {
    ServerSession::Ports ports{
        context_,
        gate_,
        key_,
        [this]() -> const std::optional<SignedRecord>& { return self_; },
        [this](std::vector<SignedRecord> records) {
          ToLoop([records = std::move(records)](Face& face) {
            for (const auto& record : records) face.on_record(record);
          });
        },
        [this](std::vector<SignedRecord> records, std::function<void()> answers) {
          ToLoop([records = std::move(records), answers = std::move(answers)](Face& face) {
            for (const auto& record : records) face.on_record(record);
            answers();
          });
        },
        [this, server] { OnWorks(server); },
        [this, server](const std::string& text) { OnFailed(server, text); }};
    return std::make_shared<ServerSession>(
        std::move(link),
        ServerSession::Options{options_.sync_interval, options_.ttl, options_.blob_ttl},
        std::move(ports), Rng(rng_.Next()));
  }

  void OnWorks(std::size_t server) {
    Trust(servers_[server]);
    servers_[server].trouble.clear();
    if (choice_->OnAnswered(SteadyNow(), server)) Assign();
    Report();
    Schedule();
  }

  void OnFailed(std::size_t server, const std::string& text) {
    if (servers_[server].trouble != text) spdlog::warn("{}", text);
    servers_[server].trouble = text;
    if (choice_->OnFailed(SteadyNow(), server)) Assign();
    Report();
    Schedule();
  }

  // Gives each key to its server.
  void Assign() {
    for (auto& key : keys_) AssignOne(key);
  }

  void AssignOne(std::pair<const Key, std::optional<std::size_t>>& entry) {
    auto& [key, at] = entry;
    const auto to = choice_->Of(key);
    if (at == to) return;
    const bool is_room = rooms_.contains(key);
    if (at) {
      // Who has not moved yet is to find us in the room still, until the registration ends.
      if (is_room || !choice_->InUse(*at)) {
        servers_[*at].session->Leave(key);
      } else {
        servers_[*at].session->Withdraw(key);
      }
    }
    at = to;
    if (to) servers_[*to].session->Add(key, is_room);
  }

  void Schedule() {
    const Time next = choice_->NextDeadline();
    if (next == scheduled_) return;
    scheduled_ = next;
    deadline_timer_.cancel();
    if (next == kNever) return;
    deadline_timer_.expires_after(std::max(next - SteadyNow(), kDeadlineMin));
    deadline_timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->stopped_) self->OnDeadline();
    });
  }

  void OnDeadline() {
    scheduled_ = kNever;
    const auto due = choice_->OnDeadline(SteadyNow());
    if (due.changed) Assign();
    for (const auto server : due.to_ask) servers_[server].session->Probe();
    Report();
    Schedule();
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

  // Keeps the identity that was met first.
  void Trust(Server& server) {
    const auto& link = server.session->link();
    const auto id = link.id();
    if (!id || server.is_trusted) return;
    server.is_trusted = true;
    if (server.is_pinned) return;
    if (auto kept = pins_->Remember(link.target(), *id); !kept) {
      spdlog::warn("index server {}: its identity is not remembered: {}", link.target(),
                   kept.error().text);
    }
  }

  // Of one server its URL and its trouble; of several how many work, and the trouble of the first
  // that does not.
  void Report() {
    std::size_t used = 0;
    std::string target;
    std::string trouble;
    for (std::size_t i = 0; i < servers_.size(); ++i) {
      if (choice_->InUse(i) && servers_[i].trouble.empty()) ++used;
      if (trouble.empty()) trouble = servers_[i].trouble;
      target += (target.empty() ? "" : ", ") + servers_[i].session->link().target();
    }
    if (servers_.size() > 1 && !trouble.empty()) {
      trouble = std::to_string(used) + " of " + std::to_string(servers_.size()) +
                " servers work; " + trouble;
    }
    if (reported_used_ == used && reported_text_ == trouble) return;
    reported_used_ = used;
    reported_text_ = trouble;
    ToLoop([ok = used > 0, trouble, target](Face& face) {
      face.status.ok = ok;
      face.status.text = trouble;
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
  boost::asio::steady_timer deadline_timer_;
  Time scheduled_ = kNever;
  Rng rng_;
  std::optional<ServerChoice> choice_;
  std::vector<Server> servers_;

  std::optional<SignedRecord> self_;
  std::set<Key> rooms_;
  std::map<Key, std::optional<std::size_t>> keys_;  // rooms and others, and the server of each
  bool stopped_ = false;
  std::map<std::uint64_t, Resolving> resolving_;
  std::uint64_t last_resolve_ = 0;
  std::optional<std::size_t> reported_used_;
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
