// Feed: its neighbours, and what is done when time has passed.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "index/feed.h"

namespace shoal::index {
namespace {

// A member that appears is compared with by about so many of the others.
constexpr double kGreeters = 4;
// Draws for a random member that will do, before it is left to the next round.
constexpr int kDrawsMax = 32;
constexpr Duration kAnswerWait = std::chrono::seconds(10);
// Of one neighbour, whatever it names: a few times what a room may have.
constexpr std::size_t kKnowsMax = 4 * kFeedWritersMax;

}  // namespace

FeedFrame Feed::Whole() const {
  FeedFrame frame;
  frame.whole = true;
  frame.have = log_.Heads();
  return frame;
}

FeedFrame& Feed::FrameTo(const PeerId& to, FeedActions& actions) {
  for (auto& send : actions.sends) {
    if (send.to == to) return send.frame;
  }
  actions.sends.push_back({to, {}});
  return actions.sends.back().frame;
}

void Feed::Send(const PeerId& to, FeedFrame frame, FeedActions& actions) {
  ++counts_.frames;
  actions.sends.push_back({to, std::move(frame)});
}

void Feed::MakeLink(Time now, const PeerId& peer, bool pushed) {
  asked_.erase(peer);
  links_.emplace(peer, Link{.pushed = pushed, .since = now, .crossed = false, .knows = {}});
}

void Feed::Unlink(Time now, const PeerId& peer, Duration refused_for) {
  links_.erase(peer);
  asked_.erase(peer);
  if (refused_.size() >= limits_.members) return;
  refused_[peer] = now + refused_for;
  refused_end_ = std::min(refused_end_, now + refused_for);
}

void Feed::Learn(Link& link, const FeedName& name) {
  const auto it = link.knows.find(name.writer);
  if (it != link.knows.end()) {
    it->second = std::max(it->second, name.sequence);
  } else if (link.knows.size() < kKnowsMax) {
    link.knows.emplace(name.writer, name.sequence);
  }
}

// Refused for longer than one that would not have us.
bool Feed::HasLied(Time now, const PeerId& peer) const {
  const auto it = refused_.find(peer);
  return it != refused_.end() && it->second > now + limits_.full;
}

std::optional<PeerId> Feed::RandomMember(bool may_be_link) {
  if (members_.empty()) return std::nullopt;
  for (int draw = 0; draw < kDrawsMax; ++draw) {
    const PeerId& peer = members_.Draw(rng_);
    if (refused_.contains(peer) || asked_.contains(peer)) continue;
    if (may_be_link || !links_.contains(peer)) return peer;
  }
  return std::nullopt;
}

void Feed::AskForLink(Time now, const PeerId& peer, bool pushed, FeedActions& actions) {
  asked_[peer] = now;
  FeedFrame frame = Whole();
  frame.link = true;
  frame.prune = !pushed;
  Send(peer, std::move(frame), actions);
}

void Feed::TopUp(Time now, FeedActions& actions) {
  top_up_at_ = kNever;
  while (links_.size() + asked_.size() < limits_.links_wanted) {
    if (asks_.NextAt() > now) {
      top_up_at_ = asks_.NextAt();
      return;
    }
    const auto peer = RandomMember(false);
    if (!peer) return;
    asks_.Take(now, limits_.link_asks, limits_.link_ask);
    AskForLink(now, *peer, true, actions);
  }
}

void Feed::OnMember(Time now, const PeerId& peer, FeedActions& actions) {
  if (peer == key_.id() || members_.size() >= limits_.members) return;
  if (!members_.Add(peer)) return;
  if (round_at_ == Time{}) round_at_ = now + limits_.round;
  refused_.erase(peer);
  TopUp(now, actions);
  if (asked_.contains(peer) || links_.contains(peer)) return;
  // It was away, and may have what we lack; or the room was cut.
  if (rng_.Unit() * static_cast<double>(members_.size()) < kGreeters) {
    Send(peer, Whole(), actions);
  }
}

void Feed::OnMemberGone(Time now, const PeerId& peer, FeedActions& actions) {
  if (!members_.Remove(peer)) return;
  links_.erase(peer);
  asked_.erase(peer);
  refused_.erase(peer);
  TopUp(now, actions);
}

void Feed::OnSendFailed(Time now, const PeerId& to, FeedActions& actions) {
  if (!members_.contains(to)) return;
  Unlink(now, to, limits_.full);
  TopUp(now, actions);
}

void Feed::OnLinkWords(Time now, const PeerId& from, const FeedFrame& frame, FeedActions& actions) {
  const auto it = links_.find(from);
  const bool is_asking = frame.link && frame.whole;
  const bool crossed = it != links_.end() && !is_asking && std::exchange(it->second.crossed, false);
  if (frame.unlink) {
    if (crossed) return;
    Unlink(now, from, limits_.full);
    TopUp(now, actions);
    return;
  }
  if (it != links_.end()) {
    if (frame.prune) it->second.pushed = false;
    if (frame.graft) it->second.pushed = true;
    asked_.erase(from);
    if (is_asking) FrameTo(from, actions).link = true;  // it may have lost us
    return;
  }
  if (!frame.link) return;
  const bool is_answer = asked_.contains(from);
  // Whom we cannot dial is no neighbour: we could not tell it anything.
  if (!is_answer &&
      (!members_.contains(from) || links_.size() >= limits_.links_max || HasLied(now, from))) {
    FrameTo(from, actions).unlink = true;
    return;
  }
  refused_.erase(from);  // it would not have us then, and asks now
  MakeLink(now, from, !frame.prune);
  links_.at(from).crossed = is_answer && is_asking;
  if (is_answer && !is_asking) return;
  FeedFrame& answer = FrameTo(from, actions);
  answer.link = true;
  answer.prune = frame.prune;
}

void Feed::NameWhatIsNew(FeedActions& actions) {
  name_at_ = kNever;
  for (auto& [peer, link] : links_) {
    FeedFrame frame;
    for (const auto& writer : to_name_) {
      const FeedName name{writer, log_.Head(writer)};
      const auto knows = link.knows.find(writer);
      if (knows != link.knows.end() && knows->second >= name.sequence) continue;
      Learn(link, name);
      frame.have.push_back(name);
    }
    if (frame.have.empty()) continue;
    frame.link = true;
    Send(peer, std::move(frame), actions);
  }
  to_name_.clear();
}

void Feed::AskForMissing(Time now, FeedActions& actions) {
  for (auto it = missing_.begin(); it != missing_.end();) {
    Missing& missing = it->second;
    const bool is_here = missing.sequence <= log_.Head(it->first);
    const bool is_paced = log_.TakesAt(it->first) > now;
    if (is_here || is_paced || (missing.due <= now && missing.named_by.empty())) {
      it = missing_.erase(it);
      continue;
    }
    if (missing.due <= now) {
      const PeerId peer = missing.named_by.front();
      missing.named_by.pop_front();
      missing.due = now + limits_.graft_again;
      FeedFrame frame;
      const auto link = links_.find(peer);
      if (link != links_.end()) {
        frame.link = frame.graft = true;
        link->second.pushed = true;
      }
      frame.want.push_back({it->first, log_.Head(it->first)});
      Send(peer, std::move(frame), actions);
    }
    ++it;
  }
}

void Feed::Round(Time now, FeedActions& actions) {
  const auto wait = limits_.round.count();
  round_at_ = now + Duration(wait * 3 / 4 + static_cast<std::int64_t>(rng_.Below(
                                                static_cast<std::uint64_t>(wait / 2 + 1))));
  std::erase_if(asked_, [&](const auto& asked) { return now - asked.second > kAnswerWait; });
  // What ended is forgotten with its writer.
  for (auto& [peer, link] : links_) {
    std::erase_if(link.knows, [&](const auto& knows) { return log_.Head(knows.first) == 0; });
  }
  TopUp(now, actions);
  if (links_.size() > limits_.links_wanted + 2) {
    // The oldest of those that are only named to: the tree is left alone.
    auto oldest = links_.end();
    for (auto it = links_.begin(); it != links_.end(); ++it) {
      if (it->second.pushed) continue;
      if (oldest == links_.end() || it->second.since < oldest->second.since) oldest = it;
    }
    if (oldest != links_.end()) {
      FeedFrame frame;
      frame.unlink = true;
      const PeerId peer = oldest->first;
      Unlink(now, peer, limits_.full);
      Send(peer, std::move(frame), actions);
    }
  }
  const auto peer = RandomMember(true);
  if (!peer) return;
  if (links_.contains(*peer) || links_.size() >= limits_.links_max) {
    Send(*peer, Whole(), actions);
  } else {
    AskForLink(now, *peer, false, actions);
  }
}

void Feed::OnWritersChanged(WallTime wall, FeedActions& actions) {
  log_.Keep(
      [&](const FeedMessage& message) {
        const auto until = ports_.may_write(message.writer(), message.membership());
        return until.ok() && *until > wall;
      },
      actions.changes);
}

void Feed::OnDeadline(Time now, WallTime wall, FeedActions& actions) {
  if (log_.NextRelease() <= now || sweep_at_ <= now) {
    sweep_at_ = now + kSweepEvery;
    const std::size_t before = actions.changes.given.size();
    log_.OnTime(now, wall, actions.changes);
    PassOn(now, before, nullptr, actions);
  }
  if (name_at_ <= now) NameWhatIsNew(actions);
  AskForMissing(now, actions);
  if (refused_end_ <= now) {
    refused_end_ = kNever;
    std::erase_if(refused_, [&](const auto& entry) {
      if (entry.second > now) refused_end_ = std::min(refused_end_, entry.second);
      return entry.second <= now;
    });
    TopUp(now, actions);
  }
  if (top_up_at_ <= now) TopUp(now, actions);
  if (round_at_ <= now && !members_.empty()) Round(now, actions);
}

Time Feed::NextDeadline() const {
  Time next = std::min(name_at_, log_.NextRelease());
  for (const auto& [writer, missing] : missing_) next = std::min(next, missing.due);
  if (!members_.empty()) next = std::min(next, round_at_);
  if (log_.writers() > 0) next = std::min(next, sweep_at_);
  return std::min({next, refused_end_, top_up_at_});
}

std::vector<PeerId> Feed::Links() const {
  std::vector<PeerId> peers;
  for (const auto& [peer, link] : links_) peers.push_back(peer);
  return peers;
}

std::size_t Feed::pushed_links() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(links_, [](const auto& entry) { return entry.second.pushed; }));
}

void Feed::CheckInvariants() const {
  log_.CheckInvariants();
  members_.CheckInvariants();
  SHOAL_CHECK(members_.size() <= limits_.members);
  SHOAL_CHECK(links_.size() <= limits_.links_max + limits_.links_wanted);
  SHOAL_CHECK(missing_.size() <= limits_.missing);
  for (const auto& [peer, link] : links_) SHOAL_CHECK(members_.contains(peer));
  for (const auto& [peer, until] : refused_) SHOAL_CHECK(refused_end_ <= until);
  for (const auto& [peer, missing] : missing_) SHOAL_CHECK(missing.named_by.size() <= kNamedByMax);
}

}  // namespace shoal::index
