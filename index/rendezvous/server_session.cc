#include "index/rendezvous/server_session.h"

#include <algorithm>
#include <utility>

namespace shoal::index {
namespace {

constexpr int kDiscoverLimit = 500;  // records an answer: at most 2 MiB
// Between an answer and the next question: a room where much happens is asked 20 times a second.
constexpr Duration kPollPause = std::chrono::milliseconds(50);
constexpr int kResolveLimit = 64;  // more holders of one blob never help one pull

}  // namespace

ServerSession::ServerSession(std::unique_ptr<ServerLink> link, Options options, Ports ports,
                             Rng rng)
    : link_(std::move(link)),
      options_(options),
      ports_(std::move(ports)),
      rng_(rng),
      poll_timer_(ports_.context) {}

void ServerSession::Start() {
  asker_ = std::make_shared<SwarmAsker>(SwarmAsker::Ports{
      ports_.context,
      [weak = weak_from_this()](SwarmRequest request, const ServerLink::OnAnswer& done) {
        const auto self = weak.lock();
        return self != nullptr && self->SendSwarm(std::move(request), done);
      },
      ports_.deliver});
}

void ServerSession::Stop() {
  stopped_ = true;
  poll_timer_.cancel();
  asker_->Stop();
  link_.reset();
}

// Wraps a handler so that it runs on the io thread, unless we have stopped by then. A request holds
// us weakly: it may end after the io thread, where our timers must not be destroyed.
ServerLink::OnAnswer ServerSession::OnIo(std::function<void(const Result<ServerAnswer>&)> handler) {
  return [weak = weak_from_this(), gate = ports_.gate,
          handler = std::move(handler)](Result<ServerAnswer> answer) {
    gate->Post([weak, handler, answer = std::move(answer)] {
      const auto self = weak.lock();
      if (self != nullptr && !self->stopped_) handler(answer);
    });
  };
}

void ServerSession::Add(const Key& key, bool is_room) {
  withdrawn_.erase(key);
  registered_.try_emplace(key, Registered{is_room, std::nullopt});
  if (is_room) Discover();
  Flush();
}

void ServerSession::Withdraw(const Key& key) {
  if (registered_.erase(key) != 0) withdrawn_.insert(key);
  cookies_.erase(key);
  Flush();
}

void ServerSession::Leave(const Key& key) {
  registered_.erase(key);
  cookies_.erase(key);
}

void ServerSession::OnSelf() {
  for (auto& [key, state] : registered_) {
    if (state.is_room) state.due = std::nullopt;
  }
  Discover();
  Flush();
}

void ServerSession::Tick() {
  Discover();
  Flush();
  // Without a room nobody waits there: that it is away would be noticed by the next pull only.
  if (Rooms().empty() && link_->id()) Probe();
}

void ServerSession::Probe() {
  link_->Discover("", 1, "", Duration(0),
                  OnIo([this, life = life_](const Result<ServerAnswer>& answer) {
                    if (!answer) return Fail(answer.error().text, life);
                    if (!answer->error.ok()) return Fail(Trouble(answer->error), life);
                    ports_.on_works();
                  }));
}

void ServerSession::Resolve(const Key& key, std::function<void(std::vector<SignedRecord>)> done) {
  link_->Discover(
      key, kResolveLimit, "", Duration(0),
      OnIo([this, life = life_, done = std::move(done)](const Result<ServerAnswer>& answer) {
        if (!answer || !answer->error.ok()) {
          done({});
          if (!answer) Fail(answer.error().text, life);
          return;
        }
        auto records = answer->records;
        std::erase_if(records,
                      [&](const SignedRecord& record) { return record.id() == ports_.key.id(); });
        done(std::move(records));
      }));
}

bool ServerSession::SendSwarm(SwarmRequest request, const ServerLink::OnAnswer& done) {
  if (stopped_ || !ports_.self() || !link_->id()) return false;
  last_swarm_sent_ms_ = std::max(last_swarm_sent_ms_ + 1, ToUnixMs(WallNow()));
  request.record = std::make_shared<const SignedRecord>(*ports_.self());
  request.sent_ms = last_swarm_sent_ms_;
  link_->AskSwarm(EncodeSwarmRequest(request, *link_->id(), ports_.key),
                  OnIo([this, done, life = life_](const Result<ServerAnswer>& answer) {
                    done(answer);
                    if (!answer) Fail(answer.error().text, life);
                  }));
  return true;
}

std::vector<Key> ServerSession::Rooms() const {
  std::vector<Key> rooms;
  for (const auto& [key, state] : registered_) {
    if (state.is_room) rooms.push_back(key);
  }
  return rooms;
}

// Asks the next of our rooms, one after the other.
void ServerSession::Discover() {
  if (discovering_ || stopped_ || !ports_.self()) return;
  to_ask_ = Rooms();
  if (to_ask_.empty() && link_->id()) return;
  discovering_ = true;
  DiscoverNext(Duration(0));
}

// wait  for news; none the first time, so that a dead server is found soon.
void ServerSession::DiscoverNext(Duration wait) {
  while (!to_ask_.empty() && !registered_.contains(to_ask_.back())) to_ask_.pop_back();
  if (to_ask_.empty() && link_->id()) {
    discovering_ = false;
    if (Rooms().size() == 1) AskAgain();
    return;
  }
  // Without a room here: the server's id must be known before anything can be registered.
  const Key room = to_ask_.empty() ? Key() : to_ask_.back();
  const int limit = room.empty() ? 1 : kDiscoverLimit;
  const std::string cookie = room.empty() ? "" : cookies_[room];
  link_->Discover(room, limit, cookie, wait,
                  OnIo([this, room, life = life_](const Result<ServerAnswer>& answer) {
                    OnDiscovered(room, life, answer);
                  }));
}

void ServerSession::OnDiscovered(const Key& room, int life, const Result<ServerAnswer>& answer) {
  if (life != life_) return;  // it has failed meanwhile
  if (!answer) return Fail(answer.error().text, life);
  if (answer->error.status == RendezvousStatus::kInvalidCookie && !cookies_[room].empty()) {
    Forgotten();
    return DiscoverNext(Duration(0));
  }
  if (!answer->error.ok()) return Fail(Trouble(answer->error), life);
  ports_.on_works();
  if (!room.empty()) {
    if (registered_.contains(room)) cookies_[room] = answer->cookie;
    auto records = answer->records;
    std::erase_if(records,
                  [&](const SignedRecord& record) { return record.id() == ports_.key.id(); });
    if (!records.empty()) ports_.on_records(std::move(records));
    // A full page is followed by another.
    if (answer->given < kDiscoverLimit && !to_ask_.empty()) to_ask_.pop_back();
  }
  Flush();
  DiscoverNext(Duration(0));
}

// With one room: its next news, at once.
void ServerSession::AskAgain() {
  discovering_ = true;
  poll_timer_.expires_after(kPollPause);
  poll_timer_.async_wait(
      [weak = weak_from_this(), life = life_](const boost::system::error_code& error) {
        const auto self = weak.lock();
        if (error || self == nullptr || self->stopped_ || life != self->life_) return;
        self->to_ask_ = self->Rooms();
        if (self->to_ask_.empty()) {
          self->discovering_ = false;
          return;
        }
        self->DiscoverNext(self->options_.sync_interval);
      });
}

// Registers what is due, then takes back what is withdrawn; one request at a time, so that `sent`
// arrives in order.
void ServerSession::Flush() {
  if (flushing_ || stopped_ || !ports_.self() || !link_->id()) return;
  Registrations::Request request{{}, *ports_.self(), {}, 0};
  auto verb = RendezvousVerb::kRegister;
  const Time now = SteadyNow();
  // Rooms first: they are few, and their record serves all.
  for (const bool rooms : {true, false}) {
    if (!request.namespaces.empty()) break;
    request.ttl = rooms ? options_.ttl : options_.blob_ttl;
    for (const auto& [key, state] : registered_) {
      if (request.namespaces.size() == kNamespacesPerRequestMax) break;
      if (state.is_room == rooms && (!state.due || now >= *state.due)) {
        request.namespaces.push_back(key);
      }
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
  link_->Change(
      verb, EncodeRequest(verb, request, *link_->id(), ports_.key),
      OnIo([this, verb, names = request.namespaces, due = DueAfter(now, request.ttl), life = life_,
            sequence = request.record.record().sequence](const Result<ServerAnswer>& answer) {
        OnChanged(verb, names, due, life, sequence, answer);
      }));
}

// At half of the TTL, give or take a tenth of it, so that hosts that came together part.
Time ServerSession::DueAfter(Time now, std::optional<Duration> ttl) {
  const auto tenth = ttl.value_or(Duration(0)) / 10;
  return now + 4 * tenth +
         Duration(static_cast<std::int64_t>(
             rng_.Below(static_cast<std::uint64_t>(2 * tenth.count()) + 1)));
}

void ServerSession::OnChanged(RendezvousVerb verb, const std::vector<Key>& names, Time due,
                              int life, std::uint64_t sequence,
                              const Result<ServerAnswer>& answer) {
  if (life != life_) return;
  flushing_ = false;
  if (!answer) return Fail(answer.error().text, life);
  if (!answer->error.ok()) return Fail(Trouble(answer->error), life);
  for (const auto& name : names) {
    if (verb == RendezvousVerb::kUnregister) {
      withdrawn_.erase(name);
    } else if (const auto it = registered_.find(name); it != registered_.end()) {
      // The record may have changed meanwhile.
      if (!it->second.is_room || sequence == ports_.self()->record().sequence) it->second.due = due;
    }
  }
  ports_.on_works();
  Flush();
}

std::string ServerSession::Trouble(const RendezvousError& error) const {
  return "index server " + link_->target() + ": " + std::string(ToString(error.status)) +
         (error.text.empty() ? "" : ": " + error.text);
}

// The server began anew: nothing of ours is there.
void ServerSession::Forgotten() {
  cookies_.clear();
  withdrawn_.clear();
  asker_->ForgetKnown();
  for (auto& [key, state] : registered_) state.due = std::nullopt;
}

void ServerSession::Fail(const std::string& text, int life) {
  if (life != life_) return;
  ++life_;
  discovering_ = false;
  flushing_ = false;
  Forgotten();
  ports_.on_failed(text);
}

}  // namespace shoal::index
