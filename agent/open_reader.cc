#include "agent/open_reader.h"

#include "agent/asio_loop.h"  // <utility> before Asio

#include <spdlog/spdlog.h>

#include <optional>
#include <string>
#include <utility>

#include "agent/foreign_network.h"
#include "fetch/transport/http_client.h"
#include "fetch/transport/peer_client.h"
#include "index/dial_bound.h"
#include "index/memory_catalog.h"
#include "index/net/io_thread.h"
#include "index/peer_index.h"
#include "index/query.h"
#include "index/rendezvous_messages.h"
#include "index/roster.h"

namespace shoal::agent {
namespace {

using index::RendezvousService;

constexpr int kRecordsAtOnce = 1000;
constexpr Duration kAskAgain = std::chrono::seconds(5);  // after the service had no answer

}  // namespace

class OpenReader::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(const index::SigningKey& key, RendezvousService& service,
       std::unique_ptr<fetch::HttpClient> http)
      : service_(service),
        roster_({.sync_interval = kReadEvery, .syncs_max = kReadsMax}, key.id(),
                {std::string(index::kOpenRoom)}, Rng(index::RandomSeed())),
        catalog_(key.id(), kImagesOfPeerMax),
        bound_({}),
        finder_(index::RandomSeed(), [] { return index::SteadyNow(); }),
        http_(std::move(http)),
        client_(std::make_unique<fetch::PeerClient>(*http_)) {
    catalog_.Watch([this](const std::vector<index::ImageChange>& changes) {
      for (const auto& change : changes) {
        holdings_ -= change.before ? 1 : 0;
        holdings_ += change.after ? 1 : 0;
      }
      finder_.OnPeers(changes);
    });
  }

  void Start() {
    loop_.Start();
    loop_.Post([this] { AskForPeers(); });
  }
  void Stop() {
    loop_.Ask([this] { return stopped_ = true; });
    http_.reset();  // its calls end, and post to the loop
    loop_.Stop();
  }

  [[nodiscard]] const ImageFinder& finder() const { return finder_; }
  [[nodiscard]] Counts CountAll() {
    return loop_.Ask([this] { return Counts{roster_.alive_count(), holdings_, refused_}; });
  }

 private:
  // Asks our own service as an agent does: a page of records, then what is new.
  void AskForPeers() {
    if (stopped_) return;
    RendezvousService::Call call;
    call.method = "GET";
    call.target = "/v1/discover?namespace=" + index::EscapeQuery(index::RoomKey(index::kOpenRoom)) +
                  "&limit=" + std::to_string(kRecordsAtOnce) +
                  "&wait_ms=" + std::to_string(index::kDiscoverWaitMsMax) +
                  "&cookie=" + index::EscapeQuery(cookie_);
    service_.Handle(std::move(call), [weak = weak_from_this()](RendezvousService::Reply reply) {
      const auto self = weak.lock();
      if (self == nullptr) return;
      // The loop is ours: what it runs needs no share of us.
      self->loop_.Post(
          [self = self.get(), reply = std::move(reply)] { self->OnPeers(reply.json); });
    });
  }

  void OnPeers(const std::string& json) {
    if (stopped_) return;
    const auto answer = index::DecodeAnswer(json);
    if (!answer || !answer->error.ok()) {
      cookie_.clear();
      return loop_.After(kAskAgain, [this] { AskForPeers(); });
    }
    cookie_ = answer->cookie;
    index::RosterActions actions;
    for (const auto& record : answer->records) {
      if (auto taken = roster_.OnRecord(loop_.Now(), loop_.Wall(), record, actions); !taken) {
        spdlog::debug("record of {}: {}", record.id().Short(), taken.error().text);
      }
    }
    Perform(actions);
    AskForPeers();
  }

  void Perform(const index::RosterActions& actions) {
    for (const auto& action : actions) {
      if (const auto* sync = std::get_if<index::SyncWith>(&action)) Read(sync->peer);
      if (const auto* gone = std::get_if<index::PeerGone>(&action)) Forget(gone->peer);
    }
    Schedule();
  }

  void Forget(const PeerId& peer) {
    if (auto forgot = catalog_.Forget(peer); !forgot) spdlog::warn("{}", forgot.error().text);
  }

  void Read(const PeerId& peer) {
    if (stopped_) return;
    const auto* view = roster_.Find(peer);
    if (view == nullptr) return;
    const auto& endpoints = view->record.record().endpoints;
    // After a failure another one has its turn.
    const auto turn = static_cast<std::size_t>(view->failures);
    std::optional<std::string> network;
    if (!endpoints.empty()) network = NetworkToDial(endpoints[turn % endpoints.size()]);
    const Time now = loop_.Now();
    const auto verdict = network ? bound_.Ask(now, *network) : index::DialBound::Verdict::kNot;
    if (verdict == index::DialBound::Verdict::kLater) {
      // It keeps its place among those that are read, so others wait too.
      return loop_.After(bound_.NextSecond() - now, [this, peer] { Read(peer); });
    }
    if (verdict == index::DialBound::Verdict::kNot) {
      // Not from inside the roster's own event.
      return loop_.Post([this, peer] {
        OnPage(peer, Error{Code::kRetryLater, "it names no address that may be dialled now"});
      });
    }
    const auto held = catalog_.CursorOf(peer);
    client_->FetchKeys(peer, endpoints[turn % endpoints.size()], held.epoch, held.cursor,
                       [this, peer](Result<index::KeysPage> page) {
                         loop_.Post([this, peer, page = std::move(page)]() mutable {
                           OnPage(peer, std::move(page));
                         });
                       });
  }

  void OnPage(const PeerId& peer, Result<index::KeysPage> page) {
    if (stopped_ || roster_.Find(peer) == nullptr) return;
    Status taken = page.ok() ? Take(peer, *page) : Status(page.error());
    index::RosterActions actions;
    if (taken.ok()) {
      roster_.OnSynced(loop_.Now(), peer, page->more, actions);
    } else {
      spdlog::debug("reading {}: {}", peer.Short(), taken.error().text);
      roster_.OnSyncFailed(loop_.Now(), peer, actions);
    }
    Perform(actions);
  }

  Status Take(const PeerId& peer, index::KeysPage& page) {
    std::erase_if(page.changes, [](const index::KeyChange& change) {
      return !std::holds_alternative<index::ImageHolding>(change.holding);
    });
    if (holdings_ + page.changes.size() > kHoldingsMax) {
      ++refused_;
      return Error{Code::kExhausted, "the server knows as many images as it will"};
    }
    Status applied = catalog_.Apply(peer, page);
    if (!applied) ++refused_;
    return applied;
  }

  void Schedule() {
    const Time next = roster_.NextDeadline();
    if (next == kNever || next >= scheduled_) return;
    scheduled_ = next;
    loop_.After(std::max(next - loop_.Now(), Duration(1000)), [this, next] {
      if (scheduled_ != next || stopped_) return;
      scheduled_ = kNever;
      index::RosterActions actions;
      roster_.OnDeadline(loop_.Now(), loop_.Wall(), actions);
      Perform(actions);
    });
  }

  RendezvousService& service_;
  index::Roster roster_;
  index::MemoryCatalog catalog_;
  index::DialBound bound_;
  ImageFinder finder_;
  std::string cookie_;
  std::size_t holdings_ = 0;
  std::size_t refused_ = 0;
  Time scheduled_ = kNever;
  bool stopped_ = false;
  AsioLoop loop_;
  std::unique_ptr<fetch::HttpClient> http_;
  std::unique_ptr<fetch::PeerClient> client_;
};

Result<std::unique_ptr<OpenReader>> OpenReader::Start(const index::SigningKey& key,
                                                      RendezvousService& service) {
  auto identity = fetch::TlsIdentity::Make(key);
  if (!identity) return identity.error();
  fetch::HttpClient::Options options;
  options.threads = 1;
  options.identity = *identity;
  options.connections_per_peer_max = 1;
  options.connections_max = kReadsMax;
  options.user_agent = std::string("shoal/") + SHOAL_VERSION;
  auto http = fetch::HttpClient::Start(std::move(options));
  if (!http) return http.error();
  auto impl = std::make_shared<Impl>(key, service, *std::move(http));
  impl->Start();
  return std::unique_ptr<OpenReader>(new OpenReader(std::move(impl)));
}

OpenReader::~OpenReader() { impl_->Stop(); }

const ImageFinder& OpenReader::finder() const { return impl_->finder(); }
OpenReader::Counts OpenReader::counts() const { return impl_->CountAll(); }

}  // namespace shoal::agent
