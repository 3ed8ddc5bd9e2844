#include "agent/discovery.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "index/beacon.h"

namespace shoal::agent {
namespace {

// News of our inventory: soon enough for a pull a second later, seldom enough for a busy host.
constexpr Duration kNewsSpacing = std::chrono::milliseconds(250);
// Peers asked directly whether they hold a blob that no index knows: a catalog may be a sync old.
constexpr std::size_t kProbedMax = 16;
// Records of peers that share no room with us, at most 4 KiB each: for when we join one, as a LAN
// tells of each record once.
constexpr std::size_t kStrangersMax = 1000;
// Members show each other anew that they are in so often, and so compare their revocations.
constexpr Duration kMeetEvery = std::chrono::seconds(60);
// A peer that did not let us in, or could not be met, is not asked again sooner.
constexpr Duration kMeetAgain = std::chrono::seconds(2);
// A new revocation is passed on at once to so many members, who do the same: all know within a few
// rounds, and each hears it a few times. Who was missed hears it at its next sync.
constexpr std::size_t kToldAtOnce = 8;
// How soon a membership that has run out is noticed in the catalog. The gate itself knows at once.
constexpr Duration kWatchEvery = std::chrono::seconds(10);
// Of an envelope: the rest of a beacon has some 250 bytes.
constexpr std::size_t kBeaconRecordMax = index::kBeaconBytesMax - 300;

}  // namespace

Discovery::Discovery(Options options, index::SigningKey key, Ports ports, Rng rng)
    : options_(std::move(options)),
      key_(key),
      ports_(std::move(ports)),
      roster_(options_.roster, key_.id(), ports_.rooms.RecordRooms(), Rng(rng.Next())),
      passing_({ports_.loop, ports_.client, roster_, ports_.rooms,
                [this](const PeerId& peer) { return Dial(peer); },
                [this](const index::SignedRecord& record) { OnRecord(record); }},
               key_.id(), Rng(rng.Next())),
      rng_(rng) {
  // Sequence numbers outlive restarts because the clock does.
  sequence_ = static_cast<std::uint64_t>(ports_.loop.Wall().time_since_epoch().count());
  index::Record record;
  record.key = key_.public_key();
  record.name = options_.name;
  record.endpoints = options_.endpoints;
  record.rooms = ports_.rooms.RecordRooms();
  record.sequence = sequence_;
  record.expires = ports_.loop.Wall() + roster_.RecordLife();
  self_ = index::SignedRecord::Sign(record, key_);
}

void Discovery::Add(std::unique_ptr<index::PeerIndex> peer_index) {
  indexes_.push_back(std::move(peer_index));
  if (started_) {
    indexes_.back()->Advertise(*self_, ports_.inventory.epoch(), ports_.inventory.head());
  }
}

void Discovery::AddStatic(std::unique_ptr<index::StaticIndex> fixed) {
  statics_.push_back(fixed.get());
  Add(std::move(fixed));
}

void Discovery::Start() {
  if (started_ || self_->record().rooms.empty()) return;
  started_ = true;
  Renew();
  Watch();
  Schedule();
}

void Discovery::Renew() {
  Resign();
  ports_.loop.After(roster_.RecordLife() / 2, [this] { Renew(); });
}

void Discovery::Resign() {
  index::Record record = self_->record();
  record.relays = options_.relays;
  record.rooms = ports_.rooms.RecordRooms();
  sequence_ = std::max(sequence_ + 1,
                       static_cast<std::uint64_t>(ports_.loop.Wall().time_since_epoch().count()));
  record.sequence = sequence_;
  record.expires = ports_.loop.Wall() + roster_.RecordLife();
  self_ = index::SignedRecord::Sign(record, key_);
  Advertise();
}

void Discovery::Watch() {
  OnRoomsChanged();
  ports_.loop.After(kWatchEvery, [this] { Watch(); });
}

void Discovery::OnRoomsChanged() {
  index::RosterActions actions;
  auto rooms = ports_.rooms.RecordRooms();
  if (rooms != self_->record().rooms) {
    roster_.SetRooms(ports_.loop.Now(), std::move(rooms), actions);
    Resign();
    Start();
    for (const auto& [id, record] : std::exchange(strangers_, {})) OnRecord(record);
  }
  for (auto it = admitted_.begin(); it != admitted_.end();) {
    const PeerId peer = *it;
    if (ports_.rooms.RoomsOf(peer) != index::kNoRooms) {
      ++it;
      continue;
    }
    it = admitted_.erase(it);
    spdlog::info("peer {} is in no room with us any more", peer.Short());
    roster_.OnDenied(ports_.loop.Now(), peer, actions);
  }
  std::erase_if(met_, [this](const auto& entry) {
    return !entry.second.under_way && roster_.Find(entry.first) == nullptr;
  });
  Perform(actions);
  TellOfRevocations();
}

void Discovery::TellOfRevocations() {
  if (told_revision_ == ports_.rooms.revision()) return;
  told_revision_ = ports_.rooms.revision();
  std::vector<PeerId> peers = roster_.Alive();
  std::erase_if(peers, [this](const PeerId& peer) { return !admitted_.contains(peer); });
  std::shuffle(peers.begin(), peers.end(), rng_);
  if (peers.size() > kToldAtOnce) peers.resize(kToldAtOnce);
  for (const PeerId& peer : peers) Meet(peer, MeetingsDue(peer), [] {});
}

void Discovery::OnAdmitted(const PeerId& peer) {
  roster_.OnHeard(ports_.loop.Now(), peer);
  Admit(peer);
  if (admitted_.contains(peer)) passing_.OnMember(peer);
  Schedule();
}

void Discovery::Admit(const PeerId& peer) {
  if (roster_.Find(peer) == nullptr || !admitted_.insert(peer).second) return;
  ports_.on_peer_appeared(peer);
}

std::vector<index::RoomId> Discovery::MeetingsDue(const PeerId& peer) const {
  std::vector<index::RoomId> due;
  const auto* view = roster_.Find(peer);
  if (view == nullptr) return due;
  const auto it = met_.find(peer);
  const Met met = it == met_.end() ? Met{} : it->second;
  if (met.under_way) return due;
  const Duration since = it == met_.end() ? Duration::max() : ports_.loop.Now() - met.at;
  const auto& ours = self_->record().rooms;
  for (const auto& name : view->record.record().rooms) {
    auto room = index::ParseRoomId(name);
    if (!room || std::ranges::find(ours, name) == ours.end()) continue;
    const bool is_out = met.refused || !ports_.rooms.IsInRoom(peer, name);
    if (is_out ? since >= kMeetAgain
               : since >= kMeetEvery || met.revision != ports_.rooms.revision()) {
      due.push_back(*room);
    }
  }
  return due;
}

void Discovery::Meet(const PeerId& peer, std::vector<index::RoomId> rooms,
                     std::function<void()> done) {
  const auto endpoint = Dial(peer);
  std::optional<std::string> question;
  while (!rooms.empty() && !(question = ports_.rooms.Question(rooms.back()))) rooms.pop_back();
  if (!endpoint || rooms.empty()) {
    if (const auto it = met_.find(peer); it != met_.end()) it->second.under_way = false;
    return done();
  }
  met_[peer] = {ports_.loop.Now(), ports_.rooms.revision(), false, true};
  const index::RoomId room = rooms.back();
  rooms.pop_back();
  auto ended = [this, peer, rooms = std::move(rooms), done = std::move(done)](bool reached) {
    ports_.loop.Post([this, peer, rooms, done, reached] {
      if (!reached) OnUnreachable(peer);
      Meet(peer, rooms, done);
    });
  };
  ports_.client.Meet(peer, *endpoint, room, *std::move(question),
                     [this, peer, room, ended = std::move(ended)](Result<std::string> answer) {
                       if (!answer) {
                         spdlog::debug("meeting {}: {}", peer.Short(), answer.error().text);
                         return ended(answer.error().code == Code::kDenied);
                       }
                       ports_.database.Post([this, peer, room, ended, answer = *std::move(answer)] {
                         auto in = ports_.rooms.OnAnswer(peer, room, answer);
                         if (!in) spdlog::debug("meeting {}: {}", peer.Short(), in.error().text);
                         ended(true);
                       });
                     });
}

std::vector<PeerId> Discovery::Askable(std::vector<PeerId> peers, const Digest& digest) {
  std::erase_if(peers, [&](const PeerId& peer) {
    if (ports_.rooms.MayShare(peer, digest)) return IsBanned(peer);
    if (auto due = MeetingsDue(peer); !due.empty()) Meet(peer, std::move(due), [] {});
    return true;
  });
  return peers;
}

std::optional<index::Key> Discovery::KeyOf(const Digest& digest) const {
  const auto name = ports_.rooms.SwarmDigest(ports_.rooms.SwarmRoom(digest), digest);
  if (!name) return std::nullopt;
  return index::BlobKey(*name);
}

void Discovery::Advertise() {
  for (const auto& peer_index : indexes_) {
    peer_index->Advertise(*self_, ports_.inventory.epoch(), ports_.inventory.head());
  }
}

void Discovery::OnInventoryChanged() {
  if (!started_ || news_pending_) return;
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
  if (!taken) {
    spdlog::debug("record of {}: {}", record.id().Short(), taken.error().text);
    if (taken.error().code == Code::kDenied) {
      if (strangers_.size() >= kStrangersMax) strangers_.erase(strangers_.begin());
      strangers_.insert_or_assign(record.id(), record);
    }
  }
  Perform(actions);
}

void Discovery::OnEndpoint(const index::Endpoint& endpoint, std::optional<PeerId> peer) {
  ports_.client.FetchRecord(
      endpoint, self_->envelope(),
      [this, endpoint](Result<index::SignedRecord> record) {
        ports_.loop.Post([this, endpoint, record = std::move(record)] {
          if (!record) {
            spdlog::debug("no record from {}: {}", ToString(endpoint), record.error().text);
            return;
          }
          for (auto* fixed : statics_) fixed->Learnt(endpoint, *record);
          OnRecord(*record);
        });
      },
      peer);
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
      admitted_.erase(gone->peer);
      passing_.OnMemberGone(gone->peer);
      ports_.on_peer_gone(gone->peer);
    } else if (const auto* renew = std::get_if<index::Renew>(&action)) {
      // As long as an index tells of it we never come here; when all are away, peers still know
      // each other.
      if (const auto endpoint = Dial(renew->peer)) {
        OnEndpoint(*endpoint, endpoint->relay ? std::optional(renew->peer) : std::nullopt);
      }
    } else if (const auto* appeared = std::get_if<index::PeerAppeared>(&action)) {
      const auto* view = roster_.Find(appeared->peer);
      spdlog::info("peer {} ({}) appeared", view ? view->record.record().name : "",
                   appeared->peer.Short());
      // With others than those of the open room the next sync begins with a meeting.
      if (ports_.rooms.RoomsOf(appeared->peer) != index::kNoRooms) Admit(appeared->peer);
    }
  }
  Schedule();
}

// Whom we hear of from others may not have heard of us.
void Discovery::IntroduceTo(const PeerId& peer, const index::Endpoint& endpoint) {
  const auto* view = roster_.Find(peer);
  if (view == nullptr || view->state != index::PeerState::kNew || view->failures > 0) return;
  ports_.client.FetchRecord(
      endpoint, self_->envelope(),
      [this](Result<index::SignedRecord> record) {
        if (!record) return;
        ports_.loop.Post([this, record = std::move(*record)] { OnRecord(record); });
      },
      peer);
}

void Discovery::Sync(const PeerId& peer) {
  const auto endpoint = Dial(peer);
  if (!endpoint) {
    OnKeys(peer, Error{Code::kRetryLater, "it cannot be dialled now"});
    return;
  }
  IntroduceTo(peer, *endpoint);
  auto due = MeetingsDue(peer);
  if (due.empty()) return FetchKeys(peer);
  Meet(peer, std::move(due), [this, peer] { FetchKeys(peer); });
}

void Discovery::FetchKeys(const PeerId& peer) {
  const auto endpoint = Dial(peer);
  if (!endpoint || ports_.rooms.RoomsOf(peer) == index::kNoRooms) {
    OnKeys(peer, Error{Code::kDenied, "it has not shown to be in a room with us"});
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
  if (page && ports_.rooms.RoomsOf(peer) == index::kNoRooms) {
    // It was taken out meanwhile: nothing of it stays.
    page = Error{Code::kDenied, "it is in no room with us any more"};
    ports_.database.Post([this, peer] {
      if (auto forgot = ports_.catalog.Forget(peer); !forgot) {
        spdlog::warn("catalog: {}", forgot.error().text);
      }
    });
  }
  if (page) {
    roster_.OnSynced(ports_.loop.Now(), peer, page->more, actions);
    passing_.OnMember(peer);
    if (!page->changes.empty() && ports_.on_catalog_changed) ports_.on_catalog_changed();
  } else {
    spdlog::debug("sync with {}: {}", peer.Short(), page.error().text);
    if (page.error().code == Code::kDenied) {
      if (const auto it = met_.find(peer); it != met_.end()) it->second.refused = true;
    } else {
      OnUnreachable(peer);
    }
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
    if (!ports_.rooms.MayShare(holder.peer, digest)) continue;
    peers.push_back(holder.peer);
  }
  return peers;
}

void Discovery::Resolve(const Digest& digest, std::function<void(std::vector<PeerId>)> some,
                        std::function<void()> done) {
  if (ports_.rooms.RoomsOfBlob(digest) == index::kNoRooms) return done();
  std::vector<PeerId> probed = Living(digest);
  std::shuffle(probed.begin(), probed.end(), rng_);
  if (probed.size() > kProbedMax) probed.resize(kProbedMax);
  if (!probed.empty()) some(std::move(probed));
  ResolveInIndexes(digest, std::move(some),
                   [done = std::move(done)](const std::vector<IndexAnswer>&) { done(); });
}

void Discovery::ResolveInIndexes(const Digest& digest,
                                 std::function<void(std::vector<PeerId>)> some,
                                 std::function<void(std::vector<IndexAnswer>)> done) {
  const std::size_t asked = indexes_.size();
  auto answers = std::make_shared<std::vector<IndexAnswer>>();
  const auto key = KeyOf(digest);
  if (asked == 0 || !key) return done({});
  const Time begun = ports_.loop.Now();
  for (const auto& peer_index : indexes_) {
    peer_index->Resolve(*key, options_.resolve_timeout,
                        [this, digest, asked, answers, begun, kind = peer_index->status().kind,
                         some, done](const std::vector<index::SignedRecord>& records) {
                          const Duration took = ports_.loop.Now() - begun;
                          std::vector<PeerId> found;
                          for (const auto& record : records) {
                            if (record.id() == key_.id()) continue;
                            OnRecord(record);
                            if (roster_.Find(record.id()) != nullptr) found.push_back(record.id());
                          }
                          found = Askable(std::move(found), digest);
                          answers->push_back({kind, found.size(), took});
                          if (!found.empty()) some(std::move(found));
                          if (answers->size() == asked) done(std::move(*answers));
                        });
  }
}

std::vector<PeerId> Discovery::Living(const Digest& digest) const {
  return LivingIn(ports_.rooms.RoomsOfBlob(digest));
}

std::vector<PeerId> Discovery::LivingInSwarm(const Digest& digest) const {
  return LivingIn(ports_.rooms.SwarmBit(digest));
}

std::vector<PeerId> Discovery::LivingIn(index::RoomMask rooms) const {
  if (rooms == index::kNoRooms) return {};
  std::vector<PeerId> peers = roster_.Alive();
  std::erase_if(peers, [&](const PeerId& peer) {
    return IsBanned(peer) || (ports_.rooms.RoomsOf(peer) & rooms) == index::kNoRooms;
  });
  return peers;
}

void Discovery::AskServers(const index::SwarmAsk& ask,
                           std::function<void(std::optional<index::SwarmAnswer>)> done) {
  // One kind of index has servers; the others say at once that they have none.
  auto left = std::make_shared<std::size_t>(indexes_.size());
  const auto name = ports_.rooms.SwarmDigest(ports_.rooms.SwarmRoom(ask.digest), ask.digest);
  if (*left == 0 || !name) return done(std::nullopt);
  index::SwarmAsk blind = ask;
  blind.digest = *name;
  for (const auto& peer_index : indexes_) {
    peer_index->AskSwarm(
        blind, [this, digest = ask.digest, left, done](std::optional<index::SwarmAnswer> answer) {
          if (*left == 0) return;  // another one has answered
          *left = answer ? 0 : *left - 1;
          if (answer) answer->members = Askable(std::move(answer->members), digest);
          if (*left == 0) done(std::move(answer));
        });
  }
}

void Discovery::AskSwarm(const PeerId& peer, const index::SwarmAsk& ask,
                         std::function<void(std::optional<index::SwarmAnswer>)> done) {
  const auto endpoint = DialFor(peer, ask.digest);
  if (!endpoint) return done(std::nullopt);
  ports_.client.AskSwarm(
      peer, *endpoint, ports_.rooms.SwarmRoom(ask.digest), ask,
      [this, digest = ask.digest, done = std::move(done)](Result<index::SwarmAnswer> answer) {
        ports_.loop.Post([this, digest, done, answer = std::move(answer)]() mutable {
          if (!answer) return done(std::nullopt);
          answer->members = Askable(std::move(answer->members), digest);
          done(*std::move(answer));
        });
      });
}

std::optional<index::Endpoint> Discovery::Dial(const PeerId& peer) const {
  const auto* view = roster_.Find(peer);
  if (view == nullptr || IsBanned(peer)) return std::nullopt;
  const auto choice = dial_choices_.find(peer);
  return (choice == dial_choices_.end() ? DialChoice() : choice->second).Of(view->record.record());
}

std::optional<index::Endpoint> Discovery::DialFor(const PeerId& peer, const Digest& digest) const {
  return ports_.rooms.MayShare(peer, digest) ? Dial(peer) : std::nullopt;
}

void Discovery::OnUnreachable(const PeerId& peer) {
  const auto* view = roster_.Find(peer);
  if (view == nullptr || PlacesOf(view->record.record()) < 2) return;
  dial_choices_[peer].OnFailed(ports_.loop.Now());
}

std::vector<PeerId> Discovery::Reached() const {
  std::vector<PeerId> peers = LivingIn(index::kAllRooms);
  std::erase_if(peers, [this](const PeerId& peer) {
    const auto endpoint = Dial(peer);
    return !endpoint || endpoint->relay;
  });
  return peers;
}

void Discovery::SetRelays(std::vector<index::Endpoint> relays) {
  // A record that is full of endpoints and rooms names fewer: one, that a beacon still takes it, or
  // none, when no envelope would.
  index::Record record = self_->record();
  record.relays = std::move(relays);
  while (!record.relays.empty() &&
         (!index::Valid(record) ||
          (record.relays.size() > 1 &&
           index::SignedRecord::Sign(record, key_).envelope().size() > kBeaconRecordMax))) {
    record.relays.pop_back();
  }
  options_.relays = record.relays;
  Resign();
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
  if (begins) {
    const auto key = KeyOf(digest);
    if (!key || !keys_.emplace(digest, *key).second) return;
    for (const auto& peer_index : indexes_) peer_index->AdvertiseKey(*key);
    return;
  }
  const auto it = keys_.find(digest);
  if (it == keys_.end()) return;
  for (const auto& peer_index : indexes_) peer_index->Withdraw(it->second);
  keys_.erase(it);
}

std::vector<index::PeerIndexStatus> Discovery::IndexStatus() const {
  std::vector<index::PeerIndexStatus> statuses;
  for (const auto& peer_index : indexes_) statuses.push_back(peer_index->status());
  return statuses;
}

}  // namespace shoal::agent
