// IndexWorld: what hosts with a roster ask of others, and what they are told.
#include <algorithm>
#include <chrono>
#include <utility>

#include "tests/sim/index_world.h"
#include "tests/sim/made_keys.h"

namespace shoal::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Of a large room a feed knows so many.
constexpr std::uint64_t kFeedMembers = 200;

}  // namespace

void IndexWorld::Sync(std::uint32_t whole, std::uint32_t other) {
  Whole& it = wholes_[whole];
  const auto* view = it.roster->Find(hosts_[other].key.id());
  const bool first = view->state == index::PeerState::kNew && view->failures == 0;
  const bool there = is_alive(other);
  // A connection is there when it was asked lately.
  const bool kept = view->last_heard != Time{} && engine_.now() - view->last_heard < kKept;
  Count(Sent::kKeys, 1, (there ? kAskBytes : 0) + (kept ? 0 : kConnectBytes));
  if (first && there) {
    Count(Sent::kIntroduction, 1, kAskBytes + 2 * kRecordBytes);
    if (IsWhole(hosts_[other].place)) {
      Plan(engine_.now() + Delay(),
           {.note = Note::kRecord, .whole = hosts_[other].place, .host = other, .other = it.host});
    }
  }
  Plan(engine_.now() + (there ? Delay() : kNoAnswer),
       {.note = there ? Note::kSynced : Note::kSyncFailed,
        .whole = whole,
        .host = it.host,
        .other = other});
}

void IndexWorld::OnLiving(std::uint32_t whole, const PeerId& peer) {
  Whole& it = wholes_[whole];
  const std::uint32_t other = number(peer);
  index::GossipActions asks;
  it.gossip->OnMember(engine_.now(), peer, asks);
  Do(whole, asks);
  TellFeeds(whole, other, true);
  const Host& self = hosts_[it.host];
  if (self.late && !it.complete && it.roster->known_count() * 10 >= living_.size() * 9) {
    it.complete = true;
    newcomers_know_.push_back(engine_.now() - self.born);
  }
  if (hosts_[other].late && ++known_by_[other] == (wholes_.size() * 9 + 9) / 10) {
    newcomers_known_.push_back(engine_.now() - hosts_[other].born);
  }
}

void IndexWorld::OnGone(std::uint32_t whole, const PeerId& peer) {
  const std::uint32_t other = number(peer);
  wholes_[whole].gossip->OnMemberGone(peer);
  TellFeeds(whole, other, false);
  if (!is_alive(other) && !is_invented(other) && ++missed_by_[other] == (wholes_.size() + 1) / 2) {
    deaths_noticed_.push_back(engine_.now() - hosts_[other].died);
  }
}

void IndexWorld::TellFeeds(std::uint32_t whole, std::uint32_t member, bool lives) {
  const auto tell = [&](std::uint32_t host) {
    if (!IsMember(host, member)) return;
    if (lives) {
      feeds_.Meet(host, member);
    } else {
      feeds_.OnMemberGone(host, member);
    }
  };
  tell(wholes_[whole].host);
  for (const std::uint32_t place : followers_[whole]) {
    if (running_[place] != kNobody) tell(running_[place]);
  }
}

bool IndexWorld::IsMember(std::uint32_t host, std::uint32_t member) const {
  if (host == member) return false;
  if (options_.hosts <= 2 * kFeedMembers) return true;
  // Each knows the other, or neither does: who is not known is refused as a neighbour.
  return Mix(std::min(host, member), std::max(host, member)) % options_.hosts < kFeedMembers;
}

index::Gossip::View IndexWorld::ViewOf(std::uint32_t whole) const {
  const Whole& it = wholes_[whole];
  return {1,
          [this, &it] {
            std::vector<index::PeerName> own{index::PeerNameOf(hosts_[it.host].key.id())};
            it.roster->ForEachHeard(engine_.now(), Duration::max(), [&](const auto& view) {
              own.push_back(index::PeerNameOf(view.record.id()));
            });
            std::ranges::sort(own);
            return own;
          },
          [this, &it](index::PeerName name, bool all) {
            if (name == index::PeerNameOf(hosts_[it.host].key.id())) return true;
            const auto* view = it.roster->FindByName(name);
            return view != nullptr && (all || view->state != index::PeerState::kGone);
          }};
}

const IndexWorld::Whole* IndexWorld::Speaker(std::uint32_t asker, std::uint32_t asked) const {
  const std::uint32_t place = hosts_[asked].place;
  if (IsWhole(place)) return wholes_[place].roster ? &wholes_[place] : nullptr;
  // The same while one answer leads to the next question.
  const std::size_t count = wholes_.size();
  const std::size_t first = Mix(asked, wholes_[asker].host) % count;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t other = (first + i) % count;
    if (other != asker && wholes_[other].roster) return &wholes_[other];
  }
  return nullptr;
}

std::vector<index::PeerName> IndexWorld::NamesOf(std::uint32_t asker, std::uint32_t asked,
                                                 bool all) {
  std::vector<index::PeerName> names;
  if (const Whole* speaker = Speaker(asker, asked)) {
    speaker->roster->ForEachHeard(
        engine_.now(), all ? Duration::max() : index::kFresh,
        [&](const index::PeerView& view) { names.push_back(index::PeerNameOf(view.record.id())); });
  }
  if (hosts_[asked].liar) {
    wholes_[asker].liars_asked = true;
    for (std::uint32_t i = 0; i < kInvented; ++i) {
      names.push_back(index::PeerNameOf(hosts_[i].key.id()));
    }
  }
  std::ranges::sort(names);
  return names;
}

void IndexWorld::Do(std::uint32_t whole, const index::GossipActions& actions) {
  for (const auto& action : actions) {
    const PeerId peer = std::visit([](const auto& ask) { return ask.peer; }, action);
    Message answer{.whole = whole, .host = wholes_[whole].host, .other = number(peer)};
    const auto* names = std::get_if<index::AskNames>(&action);
    if (names != nullptr) {
      answer.note = Note::kNames;
      answer.all = names->whole;
    } else {
      answer.note = Note::kRecords;
      answer.names = std::get<index::AskRecords>(action).names;
    }
    const bool there = is_alive(answer.other);
    if (!there) answer.note = Note::kAskFailed;
    Plan(engine_.now() + (there ? Delay() : kNoAnswer), std::move(answer));
  }
  if (wholes_[whole].roster) Wake(whole);
}

// A base64 digit carries six bits.
void IndexWorld::TakeNames(const Message& message, index::GossipActions& asks) {
  const auto names = NamesOf(message.whole, message.other, message.all);
  Count(message.all ? Sent::kWhole : Sent::kFresh, 1,
        kConnectBytes + kAskBytes + names.size() * 8 * 4 / 3);
  wholes_[message.whole].gossip->OnNames(hosts_[message.other].key.id(), names,
                                         ViewOf(message.whole), asks);
}

void IndexWorld::TakeRecords(const Message& message, index::GossipActions& asks) {
  std::uint64_t given = 0;
  for (const index::PeerName name : message.names) {
    const std::uint32_t other = names_.at(name);
    const Whole* speaker = Speaker(message.whole, message.other);
    const auto* view = speaker ? speaker->roster->Find(hosts_[other].key.id()) : nullptr;
    if (view != nullptr) {
      const index::SignedRecord record = view->record;
      OnRecord(message.whole, record);
    } else if (is_invented(other) && hosts_[message.other].liar) {
      OnRecord(message.whole, *hosts_[other].record);
    } else {
      continue;
    }
    ++given;
  }
  Count(Sent::kRecords, 1, kAskBytes + message.names.size() * 11 + given * kRecordBytes);
  wholes_[message.whole].gossip->OnRecords(hosts_[message.other].key.id(), ViewOf(message.whole),
                                           asks);
}

void IndexWorld::CheckInvariants() const {
  for (const Whole& whole : wholes_) {
    if (!whole.roster) continue;
    whole.roster->CheckInvariants();
    whole.gossip->CheckInvariants();
  }
  feeds_.CheckInvariants();
}

}  // namespace shoal::sim
