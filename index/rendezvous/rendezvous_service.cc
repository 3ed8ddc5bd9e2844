#include "index/rendezvous/rendezvous_service.h"

#include "index/net/io_thread.h"  // <utility> before Asio

#include <openssl/rand.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <utility>

#include "base/check.h"
#include "index/net/gate.h"
#include "index/query.h"
#include "index/rendezvous/record_cache.h"
#include "index/rendezvous/registration_store.h"
#include "index/rendezvous_messages.h"
#include "index/waiters.h"

namespace shoal::index {
namespace {

using Respond = RendezvousService::Respond;

// About 2 KiB each. Who is not kept is only verified again.
constexpr std::size_t kRecordsKept = 20'000;
// How often what expires is looked for, at most.
constexpr Duration kTick = std::chrono::seconds(1);

int ToHttp(RendezvousStatus status) {
  switch (status) {
    case RendezvousStatus::kOk:
      return 200;
    case RendezvousStatus::kNotAuthorized:
      return 403;
    case RendezvousStatus::kUnavailable:
      return 503;
    case RendezvousStatus::kInternalError:
      return 500;
    default:
      return 400;
  }
}

void Fail(const Respond& respond, const RendezvousError& error) {
  respond({ToHttp(error.status), EncodeError(error)});
}

const RendezvousError kStopping{RendezvousStatus::kUnavailable, "the index server is stopping"};

CookieSecret FreshSecret() {
  CookieSecret secret{};
  SHOAL_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(secret.data()),
                         static_cast<int>(secret.size())) == 1);
  return secret;
}

}  // namespace

class RendezvousService::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const Options& options, const PeerId& id, std::unique_ptr<RegistrationStore> store)
      : id_(id),
        store_(std::move(store)),
        registrations_(options.limits, store_->secret()),
        swarms_(options.swarms),
        waiters_({kWaitersMax, kNewsPause, kPausePerWaiter}),
        records_(kRecordsKept),
        io_(std::make_unique<IoThread>("shoal-rdv")),
        gate_(*io_),
        timer_(std::make_unique<boost::asio::steady_timer>(io_->context())) {}

  Status Load() {
    const Time now = SteadyNow();
    const WallTime wall = WallNow();
    auto loaded = store_->Load([&](std::string_view key, std::string_view value) {
      return registrations_.Load(now, wall, key, value);
    });
    if (!loaded) return loaded;
    registrations_.Loaded();
    store_->Append(registrations_.TakeRows(), {});
    return Ok();
  }

  void Begin() {
    io_->Post([self = shared_from_this()] { self->Schedule(); });
  }

  void Stop() {
    gate_.Shut();
    io_->Run([this] {
      stopped_ = true;
      timer_.reset();
      // What waits is answered as it is.
      waiters_.OnDeadline(SteadyNow() + std::chrono::hours(1));
    });
    io_.reset();
    store_.reset();  // commits what waits, and answers
  }

  void Handle(const Call& call, Respond respond) {
    const std::string_view path = PathOf(call.target);
    if (call.method == "GET" && path == "/v1/discover") return OnDiscover(call, respond);
    if (call.method == "POST" && path == "/v1/register") {
      return OnChange(call, RendezvousVerb::kRegister, respond);
    }
    if (call.method == "POST" && path == "/v1/unregister") {
      return OnChange(call, RendezvousVerb::kUnregister, respond);
    }
    if (call.method == "POST" && path == "/v1/swarm") return OnSwarm(call, respond);
    respond({404, R"({"status":"E_INTERNAL_ERROR","text":"no such path"})"});
  }

  [[nodiscard]] Counts CountAll() {
    Counts counts;
    io_->Run([&] {
      counts = {registrations_.peer_count(), registrations_.size(),
                registrations_.namespace_count(), waiters_.size(), swarms_.blob_count()};
    });
    return counts;
  }

 private:
  // Any thread, up to the next Post.
  void OnDiscover(const Call& call, const Respond& respond) {
    auto query = ParseDiscover(call.target);
    if (!query) {
      return Fail(respond, {RendezvousStatus::kInvalidNamespace, query.error().text});
    }
    OnThread(respond, [this, query = *std::move(query), respond] { Discover(query, respond); });
  }

  void OnChange(const Call& call, RendezvousVerb verb, const Respond& respond) {
    auto decoded = DecodeRequest(call.body, verb, id_, records_.Reader());
    if (!decoded.error.ok()) return Fail(respond, decoded.error);
    OnThread(respond, [this, verb, respond, request = std::move(decoded.request.front())] {
      verb == RendezvousVerb::kRegister ? Register(request, respond) : Unregister(request, respond);
    });
  }

  void OnSwarm(const Call& call, const Respond& respond) {
    auto decoded = DecodeSwarmRequest(call.body, id_, records_.Reader());
    if (!decoded.error.ok()) return Fail(respond, decoded.error);
    OnThread(respond, [this, respond, request = std::move(decoded.request.front())] {
      SwarmReply reply;
      const auto error = swarms_.OnRequest(SteadyNow(), WallNow(), request, reply);
      if (!error.ok()) return Fail(respond, error);
      respond({200, EncodeSwarmReply(reply)});
    });
  }

  void OnThread(const Respond& respond, std::function<void()> work) {
    const bool posted = gate_.Post([self = shared_from_this(), work = std::move(work)] { work(); });
    if (!posted) Fail(respond, kStopping);
  }

  // On the service's thread from here on.
  void Discover(const DiscoverQuery& query, const Respond& respond) {
    const Time now = SteadyNow();
    const auto answer =
        registrations_.Discover(now, WallNow(), query.name, query.limit, query.cookie);
    if (!answer.error.ok()) return Fail(respond, answer.error);
    if (answer.found.empty() && query.wait_ms > 0 && !stopped_) {
      const bool waits = waiters_.Add(now, query, [this, respond](const DiscoverQuery& waited) {
        DiscoverQuery at_once = waited;
        at_once.wait_ms = 0;
        Discover(at_once, respond);
      });
      if (waits) return Schedule();
    }
    respond({200, EncodeDiscovered(query.name, answer)});
  }

  void Register(const Registrations::Request& request, const Respond& respond) {
    const Time now = SteadyNow();
    const auto taken = registrations_.Register(now, WallNow(), request);
    for (const auto& name : taken.news) waiters_.OnNews(now, name);
    if (!taken.news.empty()) {
      waiters_.OnNews(now, "");
      Schedule();
    }
    Keep(taken.error, EncodeRegistered(taken.ttl), respond);
  }

  void Unregister(const Registrations::Request& request, const Respond& respond) {
    Keep(registrations_.Unregister(SteadyNow(), WallNow(), request), EncodeError({}), respond);
  }

  // Answers when what has changed is on disk.
  void Keep(const RendezvousError& error, std::string json, const Respond& respond) {
    auto rows = registrations_.TakeRows();  // of what expired, though there be an error
    if (!error.ok()) {
      if (!rows.empty()) store_->Append(std::move(rows), {});
      return Fail(respond, error);
    }
    store_->Append(std::move(rows), [json = std::move(json), respond](const Status& kept) {
      if (!kept) return Fail(respond, {RendezvousStatus::kUnavailable, kept.error().text});
      respond({200, json});
    });
  }

  void Schedule() {
    const Time now = SteadyNow();
    const Time next = std::min(std::max(waiters_.NextDeadline(), now), now + kTick);
    if (stopped_ || (scheduled_ > now && scheduled_ <= next)) return;
    scheduled_ = next;
    timer_->expires_at(ToSteady(next));
    timer_->async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self != nullptr) self->OnTimer();
    });
  }

  void OnTimer() {
    const Time now = SteadyNow();
    scheduled_ = Time{};
    waiters_.OnDeadline(now);
    registrations_.OnDeadline(now);
    if (auto rows = registrations_.TakeRows(); !rows.empty()) store_->Append(std::move(rows), {});
    Schedule();
  }

  PeerId id_;
  std::unique_ptr<RegistrationStore> store_;
  Registrations registrations_;
  SwarmDesk swarms_;
  Waiters waiters_;
  RecordCache records_;
  std::unique_ptr<IoThread> io_;
  Gate gate_;
  std::unique_ptr<boost::asio::steady_timer> timer_;
  Time scheduled_{};
  bool stopped_ = false;
};

Result<std::unique_ptr<RendezvousService>> RendezvousService::Start(Options options,
                                                                    const PeerId& id) {
  auto store = RegistrationStore::Open(
      {.dir = options.dir, .map_max = options.map_max, .fresh_secret = FreshSecret()});
  if (!store) return store.error();
  auto impl = std::make_shared<Impl>(options, id, *std::move(store));
  if (auto loaded = impl->Load(); !loaded) return loaded.error();
  impl->Begin();
  return std::unique_ptr<RendezvousService>(new RendezvousService(std::move(impl)));
}

RendezvousService::RendezvousService(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
RendezvousService::~RendezvousService() { impl_->Stop(); }

void RendezvousService::Handle(Call call, Respond respond) {
  impl_->Handle(call, std::move(respond));
}

RendezvousService::Counts RendezvousService::counts() const { return impl_->CountAll(); }

}  // namespace shoal::index
