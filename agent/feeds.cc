#include "agent/feeds.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace shoal::agent {
namespace {

void AddUp(index::FeedCounts& sum, const index::FeedCounts& counts) {
  sum.given += counts.given;
  sum.copies += counts.copies;
  sum.refused += counts.refused;
  sum.frames += counts.frames;
}

}  // namespace

Feeds::Feeds(index::SigningKey key, Ports ports, Rng rng)
    : key_(key), ports_(std::move(ports)), rng_(rng) {}

const index::Feed* Feeds::Find(const std::string& room) const {
  const auto it = rooms_.find(room);
  return it == rooms_.end() ? nullptr : it->second.feed.get();
}

std::vector<PeerId> Feeds::Members(const std::string& room) const {
  const auto it = rooms_.find(room);
  return it == rooms_.end() ? std::vector<PeerId>() : it->second.members;
}

index::FeedCounts Feeds::Counts() const {
  index::FeedCounts sum = ended_;
  for (const auto& [name, room] : rooms_) AddUp(sum, room.feed->counts());
  return sum;
}

std::size_t Feeds::Standing() const {
  std::size_t count = 0;
  for (const auto& [name, room] : rooms_) count += room.feed->log().size();
  return count;
}

// --- rooms and members ---

void Feeds::LookSoon() {
  if (look_pending_ || stopped_) return;
  look_pending_ = true;
  ports_.loop.After(kLookSpacing, [this] {
    look_pending_ = false;
    Look();
  });
}

void Feeds::Look() {
  if (stopped_) return;
  const auto names = ports_.rooms.RecordRooms();
  std::erase_if(rooms_, [&](const auto& entry) {
    if (std::ranges::find(names, entry.first) != names.end()) return false;
    AddUp(ended_, entry.second.feed->counts());
    return true;
  });
  const auto living = ports_.living();
  for (const auto& name : names) {
    if (!rooms_.contains(name)) OpenRoom(name);
    Reconcile(name, rooms_.at(name), living);
  }
  std::erase_if(
      lanes_, [](const auto& lane) { return !lane.second.under_way && lane.second.queue.empty(); });
}

void Feeds::Start() {
  Look();
  if (!stopped_) ports_.loop.After(kLookEvery, [this] { Start(); });
}

void Feeds::OpenRoom(const std::string& name) {
  index::Feed::Ports ports{[this, name](const PeerId& writer, std::string_view membership) {
                             return ports_.rooms.MayWrite(name, writer, membership);
                           },
                           [this, name] { return ports_.rooms.OwnMembership(name); }};
  auto& room = rooms_[name];
  room.feed = std::make_unique<index::Feed>(index::FeedLimits{}, name, key_, std::move(ports),
                                            Rng(rng_.Next()));
  index::FeedActions actions;
  room.feed->Load(ports_.loop.Now(), ports_.loop.Wall(), ports_.table.Load(name), actions);
  Carry(name, std::move(actions));
}

void Feeds::Reconcile(const std::string& name, Room& room, const std::vector<PeerId>& living) {
  std::vector<PeerId> members;
  for (const PeerId& peer : living) {
    if (ports_.rooms.IsInRoom(peer, name)) members.push_back(peer);
  }
  std::ranges::sort(members);
  std::vector<PeerId> gone;
  std::vector<PeerId> came;
  std::ranges::set_difference(room.members, members, std::back_inserter(gone));
  std::ranges::set_difference(members, room.members, std::back_inserter(came));
  room.members = std::move(members);
  index::FeedActions actions;
  for (const PeerId& peer : gone) room.feed->OnMemberGone(ports_.loop.Now(), peer, actions);
  for (const PeerId& peer : came) room.feed->OnMember(ports_.loop.Now(), peer, actions);
  Carry(name, std::move(actions));
}

void Feeds::OnRoomsChanged() {
  for (auto& [name, room] : rooms_) {
    index::FeedActions actions;
    room.feed->OnWritersChanged(ports_.loop.Wall(), actions);
    Carry(name, std::move(actions));
  }
  LookSoon();
}

// --- messages ---

Result<index::FeedFrame> Feeds::OnFrame(const PeerId& from, const std::string& room,
                                        const index::FeedFrame& frame) {
  const auto it = rooms_.find(room);
  if (it == rooms_.end() || !ports_.rooms.IsInRoom(from, room)) {
    return Error{Code::kDenied, "you share no room with this peer"};
  }
  index::FeedActions actions;
  it->second.feed->OnFrame(ports_.loop.Now(), ports_.loop.Wall(), from, frame, actions);
  // What goes back goes with the answer, as far as it is one frame.
  index::FeedFrame answer;
  const auto back = std::ranges::find(actions.sends, from, &index::FeedSend::to);
  if (back != actions.sends.end()) {
    answer = std::move(back->frame);
    actions.sends.erase(back);
  }
  Carry(room, std::move(actions));
  return answer;
}

Result<index::FeedName> Feeds::Publish(const std::string& room, const std::string& kind,
                                       const std::string& topic, const std::string& body,
                                       Duration life) {
  Look();  // who has just come is told too
  const auto it = rooms_.find(room);
  if (it == rooms_.end()) return Error{Code::kDenied, "this host is not in the room"};
  index::FeedActions actions;
  auto name = it->second.feed->Publish(ports_.loop.Now(), ports_.loop.Wall(), kind, topic, body,
                                       life, actions);
  Carry(room, std::move(actions));
  return name;
}

void Feeds::Carry(const std::string& name, index::FeedActions actions) {
  auto& changes = actions.changes;
  if (!changes.given.empty() || !changes.dropped.empty()) {
    ports_.database.Post([this, name, changes] {
      if (auto kept = ports_.table.Apply(name, changes.given, changes.dropped); !kept) {
        spdlog::warn("the feed of a room was not kept: {}", kept.error().text);
      }
    });
  }
  for (auto& send : actions.sends) {
    if (!send.frame.empty()) Queue(send.to, name, std::move(send.frame));
  }
  Schedule(name);
  for (const auto& message : changes.given) ports_.on_message(name, message);
}

void Feeds::Queue(const PeerId& to, const std::string& room, index::FeedFrame frame) {
  if (stopped_) return;
  Lane& lane = lanes_[to];
  if (lane.queue.size() >= kQueuedMax) {
    lane.queue.clear();
    // Not inside of whatever made the frame.
    ports_.loop.Post([this, to, room] { Failed(to, room); });
    return;
  }
  lane.queue.emplace_back(room, std::move(frame));
  SendNext(to);
}

void Feeds::SendNext(const PeerId& to) {
  Lane& lane = lanes_[to];
  if (lane.under_way || lane.queue.empty() || stopped_) return;
  lane.under_way = true;
  auto [room, frame] = std::move(lane.queue.front());
  lane.queue.pop_front();
  // It may have been taken out since.
  if (!ports_.rooms.IsInRoom(to, room)) {
    ports_.loop.Post([this, to, room = std::move(room)] {
      OnSent(to, room, Error{Code::kDenied, "it is not in the room any more"});
    });
    return;
  }
  ports_.send(to, room, frame, [this, to, room = room](Result<index::FeedFrame> answer) {
    ports_.loop.Post([this, to, room, answer = std::move(answer)]() mutable {
      OnSent(to, room, std::move(answer));
    });
  });
}

void Feeds::OnSent(const PeerId& to, const std::string& room, Result<index::FeedFrame> answer) {
  lanes_[to].under_way = false;
  if (answer) {
    const auto it = rooms_.find(room);
    if (it != rooms_.end() && ports_.rooms.IsInRoom(to, room)) {
      index::FeedActions actions;
      it->second.feed->OnFrame(ports_.loop.Now(), ports_.loop.Wall(), to, *answer, actions);
      Carry(room, std::move(actions));
    }
  } else {
    spdlog::debug("the feed to {}: {}", to.Short(), answer.error().text);
    Failed(to, room);
  }
  SendNext(to);
}

void Feeds::Failed(const PeerId& to, const std::string& room) {
  const auto it = rooms_.find(room);
  if (it == rooms_.end()) return;
  index::FeedActions actions;
  it->second.feed->OnSendFailed(ports_.loop.Now(), to, actions);
  Carry(room, std::move(actions));
}

void Feeds::Schedule(const std::string& name) {
  const auto it = rooms_.find(name);
  if (it == rooms_.end() || stopped_) return;
  const Time next = it->second.feed->NextDeadline();
  if (next == kNever || next >= it->second.scheduled) return;
  it->second.scheduled = next;
  const Duration wait = std::max(next - ports_.loop.Now(), Duration(1000));
  ports_.loop.After(wait, [this, name, next] {
    const auto room = rooms_.find(name);
    if (room == rooms_.end() || room->second.scheduled != next || stopped_) return;
    room->second.scheduled = kNever;
    index::FeedActions actions;
    room->second.feed->OnDeadline(ports_.loop.Now(), ports_.loop.Wall(), actions);
    Carry(name, std::move(actions));
  });
}

}  // namespace shoal::agent
