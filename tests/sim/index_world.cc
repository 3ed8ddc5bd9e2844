#include "tests/sim/index_world.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "tests/sim/made_keys.h"

namespace shoal::sim {
namespace {

using index::PeerState;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kRoundTripMin = milliseconds(1);
constexpr std::uint64_t kRoundTripSpreadUs = 3000;
constexpr Duration kStartSpread = seconds(60);

index::SignedRecord Sign(const index::SigningKey& key, WallTime now, Duration life) {
  index::Record record;
  record.key = key.public_key();
  record.name = "host";
  record.endpoints = {{"10.0.0.1", 7381}};
  record.rooms = {"open"};
  record.sequence = static_cast<std::uint64_t>(now.time_since_epoch().count());
  record.expires = now + life;
  return index::SignedRecord::Sign(record, key);
}

}  // namespace

std::string_view ToString(Sent kind) {
  constexpr std::array<std::string_view, kSentKinds> kNames = {
      "keys", "introductions", "renewals", "fresh names", "all names", "records"};
  return kNames[static_cast<std::size_t>(kind)];
}

IndexWorld::IndexWorld(const IndexRoomOptions& options)
    : options_(options),
      rng_(options.seed),
      feeds_(engine_, Rng(rng_.Next()), [this](std::uint32_t host) { return is_alive(host); }),
      running_(options.hosts, kNobody) {
  const std::uint32_t all = options_.hosts;
  const std::uint32_t whole =
      options_.whole > 0 ? std::min(options_.whole, all) : (all <= 1000 ? all : 400);
  wholes_.resize(whole);
  lasting_ = std::max(1U, whole / 10);
  followers_.resize(whole);
  for (std::uint32_t place = whole; place < all; ++place) {
    followers_[place % lasting_].push_back(place);
  }
  for (std::uint32_t host = 0; host < kInvented; ++host) {
    hosts_.push_back({KeyOf(host), all, {}, Time{}, std::nullopt, {}, false, false});
    hosts_.back().record = Sign(hosts_.back().key, Wall(), std::chrono::hours(72));
    hosts_.back().renew_at = kNever;
    AddName(host);
    feeds_.Remove(host);
  }
  for (std::uint32_t place = 0; place < all; ++place) {
    const auto after = static_cast<std::int64_t>(
        place == 0 ? 0 : rng_.Below(static_cast<std::uint64_t>(kStartSpread.count())));
    Plan(engine_.now() + seconds(1) + Duration(after), {.note = Note::kBirth, .other = place});
  }
}

WallTime IndexWorld::Wall() const {
  return FromUnixMs(1'790'000'000'000) + engine_.now().time_since_epoch();
}

Duration IndexWorld::Delay() {
  return kRoundTripMin + Duration(static_cast<std::int64_t>(rng_.Below(kRoundTripSpreadUs)));
}

void IndexWorld::Plan(Time at, Message message) {
  engine_.At(at, EventKind::kMessage, messages_.Add(std::move(message)));
}

void IndexWorld::Count(Sent kind, std::uint64_t messages, std::uint64_t bytes) {
  counts_.messages[static_cast<std::size_t>(kind)] += messages;
  counts_.bytes[static_cast<std::size_t>(kind)] += bytes;
}

Duration IndexWorld::NoticeBound() const {
  const index::RosterLimits limits;
  const Duration paced =
      std::max(limits.sync_interval, Duration(seconds(1)) * options_.hosts / limits.paced);
  return paced * 5 / 4 + limits.sync_interval * 5 / 2 + kNoAnswer * index::kSyncFailuresMax +
         seconds(1);
}

// --- hosts ---

void IndexWorld::Birth(std::uint32_t place, bool late) {
  const auto host = static_cast<std::uint32_t>(hosts_.size());
  hosts_.push_back({KeyOf(host), place, engine_.now(), kNever, std::nullopt, {}, false, late});
  Host& it = hosts_.back();
  it.liar = !IsWhole(place) && rng_.Unit() < options_.liars;
  AddName(host);
  running_[place] = host;
  // It is given the endpoint of any one member.
  const bool first = living_.empty();
  const std::uint32_t member = first ? 0 : living_[rng_.Below(living_.size())];
  living_.push_back(host);
  if (!IsWhole(place)) {
    // A real one has met as many within some seconds: each that it asks learns of it.
    for (const std::uint32_t known : living_) {
      if (IsMember(host, known)) feeds_.Meet(host, known);
    }
    if (!first && IsWhole(hosts_[member].place)) {
      OnRecord(hosts_[member].place, RecordOf(host));
    }
  }
  // Those that a real one asks tell others of it, whether they have a roster here or not.
  Introduce(host, 0);
  if (!IsWhole(place)) return;
  Whole& whole = wholes_[place];
  whole = {};
  whole.host = host;
  const PeerId self = it.key.id();
  whole.roster = std::make_unique<index::Roster>(
      index::RosterLimits{}, self, std::vector<std::string>{"open"}, Rng(rng_.Next()));
  whole.gossip = std::make_unique<index::Gossip>(index::GossipLimits{}, self, Rng(rng_.Next()));
  if (first) return;
  if (IsWhole(hosts_[member].place)) OnRecord(hosts_[member].place, RecordOf(host));
  OnRecord(place, RecordOf(member));
}

void IndexWorld::AddName(std::uint32_t host) {
  const auto& key = hosts_[host].key;
  numbers_[key.id()] = host;
  names_[index::PeerNameOf(key.id())] = host;
  feeds_.Add(key);
}

void IndexWorld::Death(std::uint32_t host) {
  Host& it = hosts_[host];
  it.died = engine_.now();
  std::erase(living_, host);
  feeds_.Remove(host);
  ++deaths_;
  missed_by_[host] = 0;
  if (IsWhole(it.place)) {
    wholes_[it.place].roster.reset();
    wholes_[it.place].gossip.reset();
  }
  Birth(it.place, true);
}

const index::SignedRecord& IndexWorld::RecordOf(std::uint32_t host) {
  Host& it = hosts_[host];
  if (!it.record || engine_.now() >= it.renew_at) {
    // The first one is made before anybody is known.
    Duration life = index::kRecordLifeMin;
    if (it.record) {
      const std::uint32_t speaker = IsWhole(it.place) ? it.place : it.place % lasting_;
      if (wholes_[speaker].roster) life = wholes_[speaker].roster->RecordLife();
    }
    it.record = Sign(it.key, Wall(), life);
    it.renew_at = engine_.now() + life / 2;
  }
  return *it.record;
}

void IndexWorld::Introduce(std::uint32_t host, std::uint32_t turn) {
  const auto count = static_cast<std::uint32_t>(wholes_.size());
  if (!is_alive(host) || turn == count) return;
  // Each in an order of its own, as fast as a roster tries those that are new to it.
  const auto place = static_cast<std::uint32_t>((Mix(host, 1) + turn) % count);
  if (turn > 0 && wholes_[place].roster) OnRecord(place, RecordOf(host));
  const auto gap =
      Duration(seconds(1)) * options_.hosts / index::RosterLimits{}.others_per_second / count * 2;
  Plan(engine_.now() + milliseconds(turn == 0 ? 1000 : 0) +
           Duration(
               static_cast<std::int64_t>(rng_.Below(static_cast<std::uint64_t>(gap.count()) + 1))),
       {.note = Note::kIntroduce, .host = host, .other = turn + 1});
}

void IndexWorld::Churn(Duration time) {
  const double deaths =
      options_.churn * options_.hosts * static_cast<double>(time.count()) / 3600e6;
  for (long i = 0; i < std::lround(deaths); ++i) {
    const auto place = lasting_ + static_cast<std::uint32_t>(rng_.Below(options_.hosts - lasting_));
    const auto at = rng_.Below(static_cast<std::uint64_t>(time.count()));
    Plan(engine_.now() + Duration(static_cast<std::int64_t>(at)),
         {.note = Note::kDeath, .other = place});
  }
  for (int i = 0; i < options_.messages; ++i) {
    Plan(engine_.now() + time / options_.messages * i, {.note = Note::kSay});
  }
}

// --- what happens ---

void IndexWorld::RunUntil(Time end) {
  while (engine_.next_at() <= end) {
    const Event event = engine_.Pop();
    switch (event.kind) {
      case EventKind::kMessage: {
        const Message message = std::move(messages_[event.a]);
        messages_.Free(event.a);
        Take(message);
        break;
      }
      case EventKind::kDeadline:
        OnDue(event.a);
        break;
      case EventKind::kFlow:
        feeds_.OnArrived(event.a);
        break;
      case EventKind::kHashed:
        feeds_.OnLost(event.a);
        break;
      case EventKind::kPoll:
        feeds_.OnDue(event.a);
        break;
      default:
        SHOAL_CHECK(false);
    }
  }
}

void IndexWorld::Say() {
  for (int draw = 0; draw < 100; ++draw) {
    const std::uint32_t host = living_[rng_.Below(living_.size())];
    if (engine_.now() - hosts_[host].born < seconds(60)) continue;
    return feeds_.Say(host);
  }
}

void IndexWorld::Take(const Message& message) {
  switch (message.note) {
    case Note::kBirth:
      return Birth(message.other, false);
    case Note::kDeath:
      return Death(running_[message.other]);
    case Note::kSay:
      return Say();
    case Note::kIntroduce:
      return Introduce(message.host, message.other);
    default:
      break;
  }
  // For a host with a roster, if it is still there.
  Whole& whole = wholes_[message.whole];
  if (!whole.roster || whole.host != message.host) return;
  const PeerId peer = hosts_[message.other].key.id();
  index::RosterActions actions;
  index::GossipActions asks;
  switch (message.note) {
    case Note::kSynced: {
      const auto* view = whole.roster->Find(peer);
      const bool new_here = view != nullptr && view->state != PeerState::kAlive;
      whole.roster->OnSynced(engine_.now(), peer, false, actions);
      if (new_here) OnLiving(message.whole, peer);
      break;
    }
    case Note::kSyncFailed:
      whole.roster->OnSyncFailed(engine_.now(), peer, actions);
      break;
    case Note::kRecord:
      OnRecord(message.whole, RecordOf(message.other));
      break;
    case Note::kNames:
      TakeNames(message, asks);
      break;
    case Note::kRecords:
      TakeRecords(message, asks);
      break;
    case Note::kAskFailed:
      whole.gossip->OnFailed(engine_.now(), peer);
      break;
    default:
      SHOAL_CHECK(false);
  }
  Do(message.whole, actions);
  Do(message.whole, asks);
}

void IndexWorld::OnRecord(std::uint32_t whole, const index::SignedRecord& record) {
  if (!wholes_[whole].roster) return;
  index::RosterActions actions;
  (void)wholes_[whole].roster->OnRecord(engine_.now(), Wall(), record, actions);
  Do(whole, actions);
}

void IndexWorld::OnDue(std::uint32_t whole) {
  Whole& it = wholes_[whole];
  if (!it.roster || it.due != engine_.now()) return;
  it.due = kNever;
  index::RosterActions actions;
  it.roster->OnDeadline(engine_.now(), Wall(), actions);
  index::GossipActions asks;
  it.gossip->OnDeadline(engine_.now(), asks);
  Do(whole, actions);
  Do(whole, asks);
}

void IndexWorld::Wake(std::uint32_t whole) {
  Whole& it = wholes_[whole];
  it.known_max = std::max(it.known_max, it.roster->known_count());
  const Time next = std::max(std::min(it.roster->NextDeadline(), it.gossip->NextDeadline()),
                             engine_.now() + milliseconds(1));
  if (next >= it.due || next == kNever) return;
  it.due = next;
  engine_.At(next, EventKind::kDeadline, whole);
}

void IndexWorld::Do(std::uint32_t whole, const index::RosterActions& actions) {
  for (const auto& action : actions) {
    if (const auto* sync = std::get_if<index::SyncWith>(&action)) {
      Sync(whole, number(sync->peer));
    } else if (const auto* gone = std::get_if<index::PeerGone>(&action)) {
      OnGone(whole, gone->peer);
    } else if (const auto* renew = std::get_if<index::Renew>(&action)) {
      const std::uint32_t other = number(renew->peer);
      Count(Sent::kRenewal, 1, kAskBytes + kRecordBytes);
      if (is_alive(other)) {
        Plan(engine_.now() + Delay(),
             {.note = Note::kRecord, .whole = whole, .host = wholes_[whole].host, .other = other});
      }
    }
  }
  Wake(whole);
}

}  // namespace shoal::sim
