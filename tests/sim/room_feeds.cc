#include "tests/sim/room_feeds.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace shoal::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// As in the feed's own simulation.
constexpr Duration kFrameDelayMin = std::chrono::microseconds(500);
constexpr std::uint64_t kFrameSpreadUs = 1500;
// Until a connection to a host that is gone is given up.
constexpr Duration kFrameLost = seconds(2);
// HTTP and TLS around a frame and its answer, on a connection that is there.
constexpr std::uint64_t kFrameHeadBytes = 500;

}  // namespace

WallTime RoomFeeds::Wall() const {
  return FromUnixMs(1'790'000'000'000) + engine_.now().time_since_epoch();
}

void RoomFeeds::Add(const index::SigningKey& key) {
  const index::Feed::Ports ports{
      [](const PeerId&, std::string_view) -> ::shoal::Result<WallTime> { return WallTime::max(); },
      [] { return std::string(); }};
  numbers_[key.id()] = static_cast<std::uint32_t>(ids_.size());
  ids_.push_back(key.id());
  due_.push_back(kNever);
  since_.push_back(engine_.now());
  feeds_.push_back(
      std::make_unique<index::Feed>(index::FeedLimits{}, "open", key, ports, Rng(rng_.Next())));
}

void RoomFeeds::Meet(std::uint32_t one, std::uint32_t other) {
  if (!feeds_[one] || !feeds_[other]) return;
  OnMember(other, one);
  OnMember(one, other);
}

void RoomFeeds::OnMember(std::uint32_t host, std::uint32_t member) {
  index::FeedActions actions;
  feeds_[host]->OnMember(engine_.now(), ids_[member], actions);
  Do(host, actions);
}

void RoomFeeds::OnMemberGone(std::uint32_t host, std::uint32_t member) {
  if (!feeds_[host]) return;
  index::FeedActions actions;
  feeds_[host]->OnMemberGone(engine_.now(), ids_[member], actions);
  Do(host, actions);
}

void RoomFeeds::Say(std::uint32_t host) {
  index::FeedActions actions;
  auto name =
      feeds_[host]->Publish(engine_.now(), Wall(), "test", "topic-" + std::to_string(said_.size()),
                            "{}", std::chrono::hours(24), actions);
  SHOAL_CHECK(name.ok());
  said_by_name_[*name] = said_.size();
  said_.push_back({*name, engine_.now(), std::vector<std::uint8_t>(ids_.size()), {}});
  Do(host, actions);
}

void RoomFeeds::Do(std::uint32_t host, index::FeedActions& actions) {
  for (const auto& message : actions.changes.given) {
    const auto it = said_by_name_.find(message->name());
    SHOAL_CHECK(it != said_by_name_.end());
    Said& said = said_[it->second];
    if (said.given.size() <= host) said.given.resize(ids_.size());
    ++said.given[host];
    if (since_[host] < said.at) said.delays.push_back(engine_.now() - said.at);
    engine_.Trace(host);
  }
  for (auto& send : actions.sends) {
    if (send.frame.empty()) continue;
    ++frames_;
    bytes_ += index::EncodeFeedFrame(send.frame).size() + kFrameHeadBytes;
    const std::uint32_t to = numbers_.at(send.to);
    const bool there = alive_(to);
    const std::uint32_t slot = in_flight_.Add(
        {host, to,
         there ? std::make_shared<const index::FeedFrame>(std::move(send.frame)) : nullptr});
    const auto spread = static_cast<std::int64_t>(rng_.Below(kFrameSpreadUs));
    if (there) {
      engine_.At(engine_.now() + kFrameDelayMin + Duration(spread), EventKind::kFlow, slot);
    } else {
      engine_.At(engine_.now() + kFrameLost, EventKind::kHashed, slot);
    }
  }
  const Time next = std::max(feeds_[host]->NextDeadline(), engine_.now() + milliseconds(1));
  if (next >= due_[host] || next == kNever) return;
  due_[host] = next;
  engine_.At(next, EventKind::kPoll, host);
}

void RoomFeeds::OnArrived(std::uint32_t slot) {
  const Frame frame = std::move(in_flight_[slot]);
  in_flight_.Free(slot);
  if (!feeds_[frame.to]) return;
  index::FeedActions actions;
  const auto before = feeds_[frame.to]->counts().copies;
  feeds_[frame.to]->OnFrame(engine_.now(), Wall(), ids_[frame.from], *frame.frame, actions);
  copies_ += feeds_[frame.to]->counts().copies - before;
  Do(frame.to, actions);
}

void RoomFeeds::OnLost(std::uint32_t slot) {
  const Frame frame = std::move(in_flight_[slot]);
  in_flight_.Free(slot);
  if (!feeds_[frame.from]) return;
  index::FeedActions actions;
  feeds_[frame.from]->OnSendFailed(engine_.now(), ids_[frame.to], actions);
  Do(frame.from, actions);
}

void RoomFeeds::OnDue(std::uint32_t host) {
  if (!feeds_[host] || due_[host] != engine_.now()) return;
  due_[host] = kNever;
  index::FeedActions actions;
  feeds_[host]->OnDeadline(engine_.now(), Wall(), actions);
  Do(host, actions);
}

void RoomFeeds::CheckInvariants() const {
  for (const auto& feed : feeds_) {
    if (feed) feed->CheckInvariants();
  }
}

}  // namespace shoal::sim
