#include "index/rendezvous/rendezvous_service.h"

#include "index/net/io_thread.h"  // <utility> before Asio

#include <openssl/rand.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <span>
#include <thread>
#include <utility>

#include "base/check.h"
#include "index/net/gate.h"
#include "index/net/zstd_codec.h"
#include "index/query.h"
#include "index/rendezvous/federation_client.h"
#include "index/rendezvous/record_cache.h"
#include "index/rendezvous/registration_store.h"
#include "index/rendezvous_messages.h"
#include "index/waiters.h"

namespace shoal::index {
namespace {

using Respond = RendezvousService::Respond;

// About 2 KiB each. Who is not kept is only verified again.
constexpr std::size_t kRecordsKept = 20'000;
// Below this zstd gains less than its frame costs.
constexpr std::size_t kPackFrom = 256;
// While there is something to be swept.
constexpr Duration kSweepPause = std::chrono::milliseconds(10);
const std::string kLogName = "log";  // for whom waits for it; no namespace of an agent's
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

// Servers that wait for our log; some ask again before an earlier question has ended.
constexpr std::size_t kLogWaitersMax = 4 * kFederatedMax;
// Between news of our log and telling it: docs/FEDERATION.md.
constexpr Duration kLogPause = std::chrono::milliseconds(50);

class RendezvousService::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const Options& options, const SigningKey& key, std::unique_ptr<RegistrationStore> store)
      : key_(key),
        id_(key.id()),
        store_(std::move(store)),
        registrations_(options.limits, store_->secret(), store_->epoch()),
        federation_(options.federation, id_, registrations_, Rng(RandomSeed())),
        swarms_(options.swarms),
        waiters_({kWaitersMax, kNewsPause, kPausePerWaiter}),
        log_waiters_({kLogWaitersMax, kLogPause, Duration(0)}),
        records_(std::make_shared<RecordCache>(kRecordsKept)),
        io_(std::make_unique<IoThread>("shoal-rdv")),
        gate_(std::make_shared<Gate>(*io_)),
        timer_(std::make_unique<boost::asio::steady_timer>(io_->context())) {}

  // Before Load.
  Status Federate(const Options& options) {
    if (options.federate.empty()) return Ok();
    auto pins = PinFile::Open(options.pin_file);
    if (!pins) return pins.error();
    auto certificate = OwnCertificate::Make(key_);
    if (!certificate) return certificate.error();
    const auto on_answer = [this](const std::function<void(Federation::Out&)>& take) {
      if (stopped_) return;
      Federation::Out out;
      take(out);
      Do(out);
    };
    client_ = std::make_unique<FederationClient>(
        *certificate, *std::move(pins), options.pin_file,
        FederationClient::Ports{
            gate_, records_,
            [this, on_answer](const auto& ask, const auto& pages) {
              on_answer(
                  [&](auto& out) { federation_.OnPages(SteadyNow(), WallNow(), ask, pages, out); });
            },
            [this, on_answer](const auto& ask, const PeerId& met, const auto& lines) {
              on_answer([&](auto& out) {
                client_->Trust(ask.to, met);
                federation_.OnServers(SteadyNow(), ask, met, lines, out);
              });
            },
            [this, on_answer](const auto& ask, const std::string& text) {
              spdlog::debug("federation: {}", text);
              on_answer([&](auto&) { federation_.OnFailed(SteadyNow(), ask, text); });
            }});
    for (const auto& url : options.federate) {
      auto known = client_->Known(url);
      if (!known) return known.error();
      federation_.AddListed(known->target, known->pin);
    }
    return Ok();
  }

  Status Load() {
    const Time now = SteadyNow();
    const WallTime wall = WallNow();
    auto loaded = store_->Load({
        .expect = [this](std::size_t rows) { registrations_.ExpectRows(rows); },
        .read = [this](std::string_view key,
                       std::string_view value) { return registrations_.Read(key, value); },
        .load = [&](std::span<const Registrations::ReadRow> rows,
                    auto& useless) { return LoadRows(now, wall, rows, useless); },
    });
    if (!loaded) return loaded;
    registrations_.Loaded([](const auto& one, const auto& other) {
      std::thread beside(other);
      one();
      beside.join();
    });
    federation_.Loaded(now, wall);
    KeepRows();
    return Ok();
  }

  Status LoadRows(Time now, WallTime wall, std::span<const Registrations::ReadRow> rows,
                  std::vector<std::string_view>& useless) {
    const auto is_copy = [](const Registrations::ReadRow& row) { return row.key.starts_with('s'); };
    while (!rows.empty()) {
      if (is_copy(rows.front())) {
        const auto used = federation_.Load(rows.front().key, rows.front().value);
        if (!used) return used.error();
        if (!*used) useless.push_back(rows.front().key);
        rows = rows.subspan(1);
        continue;
      }
      const auto end = std::ranges::find_if(rows, is_copy);
      const auto ours = rows.first(static_cast<std::size_t>(end - rows.begin()));
      if (auto loaded = registrations_.Load(now, wall, ours, useless); !loaded) return loaded;
      rows = rows.subspan(ours.size());
    }
    return Ok();
  }

  void Begin() {
    io_->Post([self = shared_from_this()] { self->OnTimer(); });
  }

  void Stop() {
    gate_->Shut();
    io_->Run([this] {
      stopped_ = true;
      timer_.reset();
      client_.reset();
      // What waits is answered as it is.
      waiters_.OnDeadline(SteadyNow() + std::chrono::hours(1));
      log_waiters_.OnDeadline(SteadyNow() + std::chrono::hours(1));
    });
    io_.reset();
    store_.reset();  // commits what waits, and answers
  }

  void Handle(const Call& call, Respond respond) {
    const std::string_view path = PathOf(call.target);
    if (call.method == "GET" && path == "/v1/discover") return OnDiscover(call, respond);
    if (call.method == "GET" && path == "/v1/log") return OnLog(call, respond);
    if (call.method == "GET" && path == "/v1/servers") {
      return OnThread(respond, [this, respond] {
        respond({200, EncodeServers(federation_.Servers(WallNow()))});
      });
    }
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
      counts = {registrations_.peer_count(),
                registrations_.size(),
                registrations_.namespace_count(),
                waiters_.size(),
                swarms_.blob_count(),
                0,
                federation_.left_out()};
      for (const Owner owner : registrations_.copies()) {
        counts.copied += registrations_.CountOf(owner);
      }
    });
    return counts;
  }

  [[nodiscard]] std::vector<Server> AllServers() {
    std::vector<Server> out;
    io_->Run([&] {
      for (auto& line : federation_.Servers(WallNow())) {
        auto trouble = federation_.TroubleOf(line.id);
        out.push_back({std::move(line), std::move(trouble)});
      }
    });
    return out;
  }

  [[nodiscard]] std::vector<Peer> SomePeers(std::uint64_t after, std::size_t limit) {
    std::vector<Peer> out;
    io_->Run([&] {
      for (auto& shown : registrations_.Peers(after, limit)) {
        const auto server = federation_.IdOf(shown.owner);
        out.push_back({std::move(shown), server});
      }
    });
    return out;
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
    auto decoded = DecodeRequest(call.body, verb, id_, records_->Reader(), call.peer);
    if (!decoded.error.ok()) return Fail(respond, decoded.error);
    OnThread(respond, [this, verb, respond, request = std::move(decoded.request.front())] {
      verb == RendezvousVerb::kRegister ? Register(request, respond) : Unregister(request, respond);
    });
  }

  void OnSwarm(const Call& call, const Respond& respond) {
    auto decoded = DecodeSwarmRequest(call.body, id_, records_->Reader(), call.peer);
    if (!decoded.error.ok()) return Fail(respond, decoded.error);
    OnThread(respond, [this, respond, request = std::move(decoded.request.front())] {
      SwarmReply reply;
      const auto error = swarms_.OnRequest(SteadyNow(), WallNow(), request, reply);
      if (!error.ok()) return Fail(respond, error);
      respond({200, EncodeSwarmReply(reply)});
    });
  }

  void OnLog(const Call& call, const Respond& respond) {
    auto query = ParseLogQuery(call.target);
    const auto whose =
        query && !query->server.empty() ? ParsePeerId(query->server) : Result<PeerId>(id_);
    if (!query || !whose) {
      const Error& error = query ? whose.error() : query.error();
      return Fail(respond, {RendezvousStatus::kInvalidCookie, error.text});
    }
    OnThread(respond, [this, respond, query = *query, whose = *whose, peer = call.peer,
                       takes_zstd = call.takes_zstd] {
      if (!peer || !federation_.IsMember(*peer)) {
        federation_.OnStranger(SteadyNow());
        Schedule();
        return Fail(respond, {RendezvousStatus::kNotAuthorized,
                              "this server does not federate with yours; name yours in its "
                              "rendezvous.federate"});
      }
      const auto pages = [respond, takes_zstd](const std::vector<PagePtr>& some) {
        std::string json = EncodePages(some);
        const bool is_packed = takes_zstd && json.size() >= kPackFrom;
        respond({200, is_packed ? Compress(json) : std::move(json), is_packed});
      };
      if (whose != id_) return pages(federation_.Pages(whose, query.epoch, query.after));
      TellLog(query, pages);
    });
  }

  void OnThread(const Respond& respond, std::function<void()> work) {
    const bool posted =
        gate_->Post([self = shared_from_this(), work = std::move(work)] { work(); });
    if (!posted) Fail(respond, kStopping);
  }

  // On the service's thread from here on.
  using TellPages = std::function<void(const std::vector<PagePtr>&)>;
  void TellLog(const LogQuery& query, const TellPages& tell) {
    const Time now = SteadyNow();
    if (registrations_.HasLog(query.epoch, query.after)) {
      return tell(
          {SignPage(registrations_.Log(now, WallNow(), query.epoch, query.after, {}), key_)});
    }
    DiscoverQuery wait;
    wait.name = kLogName;
    wait.wait_ms = query.wait_ms;
    const bool waits = query.wait_ms > 0 && !stopped_ &&
                       log_waiters_.Add(now, wait, [this, query, tell](const DiscoverQuery&) {
                         LogQuery at_once = query;
                         at_once.wait_ms = 0;
                         TellLog(at_once, tell);
                       });
    if (!waits) return tell({});
    Schedule();
  }

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
    OnNews(now, taken.news);
    if (taken.error.ok()) log_waiters_.OnNews(now, kLogName);
    Schedule();
    Keep(taken.error, EncodeRegistered(taken.ttl), respond);
  }

  void Unregister(const Registrations::Request& request, const Respond& respond) {
    const Time now = SteadyNow();
    const auto error = registrations_.Unregister(now, WallNow(), request);
    if (error.ok()) log_waiters_.OnNews(now, kLogName);
    Schedule();
    Keep(error, EncodeError({}), respond);
  }

  void OnNews(Time now, const std::vector<std::string>& names) {
    for (const auto& name : names) waiters_.OnNews(now, name);
    if (!names.empty()) waiters_.OnNews(now, "");
  }

  // What a question to another server, or its answer, has led to.
  void Do(const Federation::Out& out) {
    OnNews(SteadyNow(), out.news);
    KeepRows();
    client_->Do(out);
    Schedule();
  }

  std::vector<Row> TakeRows() {
    auto rows = registrations_.TakeRows();
    std::ranges::move(federation_.TakeRows(), std::back_inserter(rows));
    return rows;
  }
  void KeepRows() {
    auto rows = TakeRows();
    if (rows.empty()) return;
    store_->Append(std::move(rows), [weak = weak_from_this(), gate = gate_](const Status& kept) {
      if (kept) return;
      gate->Post([weak] {
        if (const auto self = weak.lock()) self->federation_.OnNotKept(SteadyNow());
      });
    });
  }

  // Answers when what has changed is on disk.
  void Keep(const RendezvousError& error, std::string json, const Respond& respond) {
    auto rows = TakeRows();  // of what expired, though there be an error
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
    const Time due = std::min({waiters_.NextDeadline(), log_waiters_.NextDeadline(),
                               client_ == nullptr ? kNever : federation_.NextDeadline(),
                               is_sweeping_ ? now + kSweepPause : kNever});
    const Time next = std::clamp(due, now, now + kTick);
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
    log_waiters_.OnDeadline(now);
    registrations_.OnDeadline(now);
    is_sweeping_ = registrations_.Sweep(now, WallNow());
    if (client_ == nullptr) {
      KeepRows();
      return Schedule();
    }
    Federation::Out out;
    federation_.OnDeadline(now, WallNow(), out);
    Do(out);
  }

  SigningKey key_;
  PeerId id_;
  std::unique_ptr<RegistrationStore> store_;
  Registrations registrations_;
  Federation federation_;
  SwarmDesk swarms_;
  Waiters waiters_;
  Waiters log_waiters_;
  std::shared_ptr<RecordCache> records_;  // owners: we, and questions to other servers under way
  std::unique_ptr<IoThread> io_;
  std::shared_ptr<Gate> gate_;                // likewise
  std::unique_ptr<FederationClient> client_;  // null: we do not federate
  std::unique_ptr<boost::asio::steady_timer> timer_;
  Time scheduled_{};
  bool is_sweeping_ = false;
  bool stopped_ = false;
};

Result<std::unique_ptr<RendezvousService>> RendezvousService::Start(Options options,
                                                                    const SigningKey& key) {
  auto store =
      RegistrationStore::Open({.dir = options.dir,
                               .map_max = options.map_max,
                               .fresh_secret = FreshSecret(),
                               .fresh_epoch = static_cast<std::uint64_t>(ToUnixMs(WallNow()))});
  if (!store) return store.error();
  auto impl = std::make_shared<Impl>(options, key, *std::move(store));
  if (auto federated = impl->Federate(options); !federated) return federated.error();
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

std::vector<RendezvousService::Server> RendezvousService::servers() const {
  return impl_->AllServers();
}

std::vector<RendezvousService::Peer> RendezvousService::peers(std::uint64_t after,
                                                              std::size_t limit) const {
  return impl_->SomePeers(after, limit);
}

}  // namespace shoal::index
