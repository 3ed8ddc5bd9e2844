#include "agent/discovery.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace shoal::agent {
namespace {

constexpr Duration kRecordLife = std::chrono::minutes(5);
// News of our inventory: soon enough for a pull a second later, seldom enough for a busy host.
constexpr Duration kNewsSpacing = std::chrono::milliseconds(250);
// Peers asked directly whether they hold a blob that no index knows: a catalog may be a sync old.
constexpr std::size_t kProbedMax = 16;
constexpr std::size_t kRecordsPassedOnMax = 100;

}  // namespace

Discovery::Discovery(Options options, index::SigningKey key, Ports ports, Rng rng)
    : options_(std::move(options)),
      key_(key),
      ports_(std::move(ports)),
      roster_(options_.roster, key_.id(), options_.rooms, Rng(rng.Next())),
      rng_(rng) {
  // Sequence numbers outlive restarts because the clock does.
  sequence_ = static_cast<std::uint64_t>(ports_.loop.Wall().time_since_epoch().count());
  index::Record record;
  record.key = key_.public_key();
  record.name = options_.name;
  record.endpoints = options_.endpoints;
  record.rooms = options_.rooms;
  record.sequence = sequence_;
  record.expires = ports_.loop.Wall() + kRecordLife;
  self_ = index::SignedRecord::Sign(record, key_);
}

void Discovery::Add(std::unique_ptr<index::PeerIndex> peer_index) {
  indexes_.push_back(std::move(peer_index));
}

void Discovery::AddStatic(std::unique_ptr<index::StaticIndex> fixed) {
  static_ = fixed.get();
  Add(std::move(fixed));
}

void Discovery::Start() {
  if (options_.rooms.empty()) return;
  Renew();
  Schedule();
}

void Discovery::Renew() {
  index::Record record = self_->record();
  sequence_ = std::max(sequence_ + 1,
                       static_cast<std::uint64_t>(ports_.loop.Wall().time_since_epoch().count()));
  record.sequence = sequence_;
  record.expires = ports_.loop.Wall() + kRecordLife;
  self_ = index::SignedRecord::Sign(record, key_);
  Advertise();
  ports_.loop.After(kRecordLife / 2, [this] { Renew(); });
}

void Discovery::Advertise() {
  for (const auto& peer_index : indexes_) {
    peer_index->Advertise(*self_, ports_.inventory.epoch(), ports_.inventory.head());
  }
}

void Discovery::OnInventoryChanged() {
  if (options_.rooms.empty() || news_pending_) return;
  news_pending_ = true;
  const Time now = ports_.loop.Now();
  const Duration wait = std::max(Duration(0), last_news_ + kNewsSpacing - now);
  ports_.loop.After(wait, [this] {
    news_pending_ = false;
    last_news_ = ports_.loop.Now();
    Advertise();
  });
}

void Discovery::OnRecord(const index::SignedRecord& record) {
  index::RosterActions actions;
  const auto taken = roster_.OnRecord(ports_.loop.Now(), ports_.loop.Wall(), record, actions);
  if (!taken) spdlog::debug("record of {}: {}", record.id().Short(), taken.error().text);
  Perform(actions);
}

void Discovery::OnEndpoint(const index::Endpoint& endpoint) {
  ports_.client.FetchRecord(endpoint, [this, endpoint](Result<index::SignedRecord> record) {
    ports_.loop.Post([this, endpoint, record = std::move(record)] {
      if (!record) {
        spdlog::debug("no record from {}: {}", ToString(endpoint), record.error().text);
        return;
      }
      if (static_ != nullptr) static_->Learnt(endpoint, *record);
      OnRecord(*record);
    });
  });
}

void Discovery::OnHead(const PeerId& peer, std::uint64_t epoch, std::uint64_t head) {
  index::RosterActions actions;
  roster_.OnHead(ports_.loop.Now(), peer, epoch, head, ports_.catalog.CursorOf(peer), actions);
  Perform(actions);
}

void Discovery::Perform(const index::RosterActions& actions) {
  for (const auto& action : actions) {
    if (const auto* sync = std::get_if<index::SyncWith>(&action)) {
      Sync(sync->peer);
    } else if (const auto* gone = std::get_if<index::PeerGone>(&action)) {
      const auto* view = roster_.Find(gone->peer);
      spdlog::info("peer {} ({}) is gone", view ? view->record.record().name : "",
                   gone->peer.Short());
      ports_.database.Post([this, peer = gone->peer] {
        if (auto forgot = ports_.catalog.Forget(peer); !forgot) {
          spdlog::warn("catalog: {}", forgot.error().text);
        }
      });
      ports_.on_peer_gone(gone->peer);
    } else if (const auto* appeared = std::get_if<index::PeerAppeared>(&action)) {
      const auto* view = roster_.Find(appeared->peer);
      spdlog::info("peer {} ({}) appeared", view ? view->record.record().name : "",
                   appeared->peer.Short());
      AskForPeers(appeared->peer);
      ports_.on_peer_appeared(appeared->peer);
    }
  }
  Schedule();
}

void Discovery::AskForPeers(const PeerId& peer) {
  const auto endpoint = Dial(peer);
  if (!endpoint) return;
  ports_.client.FetchPeers(peer, *endpoint,
                           [this](Result<std::vector<index::SignedRecord>> records) {
                             if (!records) return;
                             ports_.loop.Post([this, records = std::move(*records)] {
                               for (const auto& record : records) OnRecord(record);
                             });
                           });
}

void Discovery::Sync(const PeerId& peer) {
  const auto endpoint = Dial(peer);
  if (!endpoint) {
    OnKeys(peer, Error{Code::kRetryLater, "it cannot be dialled now"});
    return;
  }
  const index::PeerCursor held = ports_.catalog.CursorOf(peer);
  ports_.client.FetchKeys(
      peer, *endpoint, held.epoch, held.cursor, [this, peer, held](Result<index::KeysPage> page) {
        ports_.database.Post([this, peer, held, page = std::move(page)]() mutable {
          // A quiet peer costs no write.
          if (page && (page->reset || page->epoch != held.epoch || page->cursor != held.cursor)) {
            if (auto applied = ports_.catalog.Apply(peer, *page); !applied) page = applied.error();
          }
          ports_.loop.Post(
              [this, peer, page = std::move(page)]() mutable { OnKeys(peer, std::move(page)); });
        });
      });
}

void Discovery::OnKeys(const PeerId& peer, Result<index::KeysPage> page) {
  index::RosterActions actions;
  if (page) {
    roster_.OnSynced(ports_.loop.Now(), peer, page->more, actions);
    if (!page->changes.empty() && ports_.on_catalog_changed) ports_.on_catalog_changed();
  } else {
    spdlog::debug("sync with {}: {}", peer.Short(), page.error().text);
    OnUnreachable(peer);
    roster_.OnSyncFailed(ports_.loop.Now(), peer, actions);
  }
  Perform(actions);
}

void Discovery::Schedule() {
  const Time next = roster_.NextDeadline();
  if (next == kNever || next >= scheduled_) return;
  scheduled_ = next;
  ports_.loop.After(std::max(next - ports_.loop.Now(), Duration(1000)), [this, next] {
    if (scheduled_ != next) return;
    scheduled_ = kNever;
    index::RosterActions actions;
    roster_.OnDeadline(ports_.loop.Now(), ports_.loop.Wall(), actions);
    Perform(actions);
  });
}

bool Discovery::IsBanned(const PeerId& peer) const {
  const auto it = banned_.find(peer);
  return it != banned_.end() && it->second.until > ports_.loop.Now();
}

std::vector<PeerId> Discovery::HoldersOf(const Digest& digest) const {
  std::vector<PeerId> peers;
  for (const auto& holder : ports_.catalog.HoldersOf(digest)) {
    const auto* view = roster_.Find(holder.peer);
    if (view == nullptr || view->state == index::PeerState::kGone || IsBanned(holder.peer)) {
      continue;
    }
    peers.push_back(holder.peer);
  }
  return peers;
}

void Discovery::Resolve(const Digest& digest, std::function<void(std::vector<PeerId>)> some,
                        std::function<void()> done) {
  if (options_.rooms.empty()) return done();
  std::vector<PeerId> probed = Living();
  std::shuffle(probed.begin(), probed.end(), rng_);
  if (probed.size() > kProbedMax) probed.resize(kProbedMax);
  if (!probed.empty()) some(std::move(probed));
  ResolveInIndexes(digest, std::move(some), std::move(done));
}

void Discovery::ResolveInIndexes(const Digest& digest,
                                 std::function<void(std::vector<PeerId>)> some,
                                 std::function<void()> done) {
  auto left = std::make_shared<std::size_t>(indexes_.size());
  if (*left == 0) return done();
  for (const auto& peer_index : indexes_) {
    peer_index->Resolve(index::BlobKey(digest), options_.resolve_timeout,
                        [this, left, some, done](const std::vector<index::SignedRecord>& records) {
                          std::vector<PeerId> found;
                          for (const auto& record : records) {
                            if (record.id() == key_.id()) continue;
                            OnRecord(record);
                            if (roster_.Find(record.id()) != nullptr && !IsBanned(record.id())) {
                              found.push_back(record.id());
                            }
                          }
                          if (!found.empty()) some(std::move(found));
                          if (--*left == 0) done();
                        });
  }
}

std::vector<PeerId> Discovery::Living() const {
  std::vector<PeerId> peers = roster_.Alive();
  std::erase_if(peers, [this](const PeerId& peer) { return IsBanned(peer); });
  return peers;
}

void Discovery::AskServers(const index::SwarmAsk& ask,
                           std::function<void(std::optional<index::SwarmAnswer>)> done) {
  // One kind of index has servers; the others say at once that they have none.
  auto left = std::make_shared<std::size_t>(indexes_.size());
  if (*left == 0) return done(std::nullopt);
  for (const auto& peer_index : indexes_) {
    peer_index->AskSwarm(ask, [left, done](std::optional<index::SwarmAnswer> answer) {
      if (*left == 0) return;  // another one has answered
      *left = answer ? 0 : *left - 1;
      if (*left == 0) done(std::move(answer));
    });
  }
}

void Discovery::AskSwarm(const PeerId& peer, const index::SwarmAsk& ask,
                         std::function<void(std::optional<index::SwarmAnswer>)> done) {
  const auto endpoint = Dial(peer);
  if (!endpoint) return done(std::nullopt);
  ports_.client.AskSwarm(peer, *endpoint, ask,
                         [this, done = std::move(done)](Result<index::SwarmAnswer> answer) {
                           ports_.loop.Post([done, answer = std::move(answer)] {
                             done(answer ? std::optional(*answer) : std::nullopt);
                           });
                         });
}

std::optional<index::Endpoint> Discovery::Dial(const PeerId& peer) const {
  const auto* view = roster_.Find(peer);
  if (view == nullptr || IsBanned(peer)) return std::nullopt;
  const auto& endpoints = view->record.record().endpoints;
  if (endpoints.empty()) return std::nullopt;
  const auto choice = endpoint_choice_.find(peer);
  return endpoints[choice == endpoint_choice_.end() ? 0 : choice->second % endpoints.size()];
}

void Discovery::OnUnreachable(const PeerId& peer) {
  const auto* view = roster_.Find(peer);
  if (view != nullptr && view->record.record().endpoints.size() > 1) ++endpoint_choice_[peer];
}

void Discovery::Ban(const PeerId& peer, Duration duration, const std::string& reason) {
  const auto* view = roster_.Find(peer);
  spdlog::warn("peer {} ({}) is banned for {} s: {}", view ? view->record.record().name : "",
               peer.Short(), std::chrono::duration_cast<std::chrono::seconds>(duration).count(),
               reason);
  const Time now = ports_.loop.Now();
  std::erase_if(banned_, [now](const auto& entry) { return entry.second.until <= now; });
  banned_[peer] = {now + duration, ports_.loop.Wall() + duration, reason};
}

std::optional<WallTime> Discovery::BannedUntil(const PeerId& peer) const {
  if (!IsBanned(peer)) return std::nullopt;
  return banned_.at(peer).wall;
}

void Discovery::OnTransfer(const Digest& digest, bool begins) {
  if (options_.rooms.empty()) return;
  for (const auto& peer_index : indexes_) {
    if (begins) {
      peer_index->AdvertiseKey(index::BlobKey(digest));
    } else {
      peer_index->Withdraw(index::BlobKey(digest));
    }
  }
}

std::vector<std::string> Discovery::RecordsToPassOn() const {
  std::vector<std::string> envelopes;
  const Time now = ports_.loop.Now();
  const WallTime wall = ports_.loop.Wall();
  for (const auto& view : roster_.Peers()) {
    if (view.state != index::PeerState::kAlive || view.last_heard == Time{}) continue;
    if (now - view.last_heard > options_.roster.sync_interval * 2) continue;
    if (view.record.record().expires <= wall) continue;
    envelopes.push_back(view.record.envelope());
    if (envelopes.size() == kRecordsPassedOnMax) break;
  }
  return envelopes;
}

std::vector<index::PeerIndexStatus> Discovery::IndexStatus() const {
  std::vector<index::PeerIndexStatus> statuses;
  for (const auto& peer_index : indexes_) statuses.push_back(peer_index->status());
  return statuses;
}

}  // namespace shoal::agent
