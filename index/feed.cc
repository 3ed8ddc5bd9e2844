#include "index/feed.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "index/membership.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::size_t kNamedByMax = 4;
// A member that appears is compared with by about so many of the others.
constexpr double kGreeters = 4;
// Draws for a random member that will do, before it is left to the next round.
constexpr int kDrawsMax = 32;
// How often what has ended is looked for.
constexpr Duration kSweepEvery = std::chrono::seconds(5);
constexpr Duration kAnswerWait = std::chrono::seconds(10);
// Of one neighbour, whatever it names: a few times what a room may have.
constexpr std::size_t kKnowsMax = 4 * kFeedWritersMax;

}  // namespace

Feed::Feed(FeedLimits limits, std::string room, SigningKey key, Ports ports, Rng rng)
    : limits_(limits),
      room_(std::move(room)),
      key_(key),
      ports_(std::move(ports)),
      rng_(rng),
      log_(limits.log) {}

// --- neighbours ---

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
  links_.emplace(peer, Link{pushed, now, {}});
}

void Feed::Unlink(Time now, const PeerId& peer, Duration refused_for) {
  links_.erase(peer);
  asked_.erase(peer);
  if (refused_.size() < limits_.members) refused_[peer] = now + refused_for;
}

void Feed::Learn(Link& link, const FeedName& name) {
  const auto it = link.knows.find(name.writer);
  if (it != link.knows.end()) {
    it->second = std::max(it->second, name.sequence);
  } else if (link.knows.size() < kKnowsMax) {
    link.knows.emplace(name.writer, name.sequence);
  }
}

bool Feed::IsRefused(Time now, const PeerId& peer) const {
  const auto it = refused_.find(peer);
  return it != refused_.end() && it->second > now;
}

std::optional<PeerId> Feed::RandomMember(bool may_be_link) {
  if (members_.empty()) return std::nullopt;
  for (int draw = 0; draw < kDrawsMax; ++draw) {
    const PeerId& peer = members_[rng_.Below(members_.size())];
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
  while (links_.size() + asked_.size() < limits_.links_wanted) {
    const auto peer = RandomMember(false);
    if (!peer) return;
    AskForLink(now, *peer, true, actions);
  }
}

void Feed::OnMember(Time now, const PeerId& peer, FeedActions& actions) {
  if (peer == key_.id() || members_.size() >= limits_.members) return;
  if (!places_.emplace(peer, members_.size()).second) return;
  members_.push_back(peer);
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
  const auto it = places_.find(peer);
  if (it == places_.end()) return;
  const std::size_t place = it->second;
  places_.erase(it);
  if (place + 1 != members_.size()) {
    members_[place] = members_.back();
    places_[members_[place]] = place;
  }
  members_.pop_back();
  links_.erase(peer);
  asked_.erase(peer);
  refused_.erase(peer);
  TopUp(now, actions);
}

void Feed::OnSendFailed(Time now, const PeerId& to, FeedActions& actions) {
  if (!places_.contains(to)) return;
  Unlink(now, to, limits_.full);
  TopUp(now, actions);
}

void Feed::OnLinkWords(Time now, const PeerId& from, const FeedFrame& frame, FeedActions& actions) {
  if (frame.unlink) {
    Unlink(now, from, limits_.full);
    TopUp(now, actions);
    return;
  }
  const auto it = links_.find(from);
  if (it != links_.end()) {
    if (frame.prune) it->second.pushed = false;
    if (frame.graft) it->second.pushed = true;
    asked_.erase(from);
    return;
  }
  if (!frame.link) return;
  const bool is_answer = asked_.contains(from);
  // Whom we cannot dial is no neighbour: we could not tell it anything.
  if (!is_answer &&
      (!places_.contains(from) || links_.size() >= limits_.links_max || IsRefused(now, from))) {
    FrameTo(from, actions).unlink = true;
    return;
  }
  MakeLink(now, from, !frame.prune);
  if (is_answer) return;
  FeedFrame& answer = FrameTo(from, actions);
  answer.link = true;
  answer.prune = frame.prune;
}

// --- messages ---

Result<FeedLog::Taken> Feed::Take(Time now, WallTime wall, const SharedFeedMessage& message,
                                  FeedActions& actions) {
  const FeedWord& word = message->word();
  if (log_.Knows(message->name())) return FeedLog::Taken::kKnown;
  if (word.room != room_) return Error{Code::kCorrupt, "the message is of another room"};
  if (word.expires <= wall) return Error{Code::kDenied, "the message has expired"};
  // A member whose own clock is right passes on nothing else.
  if (word.written > wall + kClockSkew) {
    return Error{Code::kDenied, "the message was written in the future"};
  }
  if (!message->IsSigned()) {
    return Error{Code::kCorrupt, "the message is not signed by its writer"};
  }
  auto until = ports_.may_write(message->writer(), message->membership());
  if (!until) return until.error();
  if (*until <= wall) return Error{Code::kDenied, "the writer's membership has ended"};
  return log_.Add(now, wall, message, std::min(word.expires, *until), actions.changes);
}

void Feed::Load(Time now, WallTime wall, const std::vector<std::string>& texts,
                FeedActions& actions) {
  sweep_at_ = now + kSweepEvery;
  std::vector<SharedFeedMessage> messages;
  for (const auto& text : texts) {
    auto read = FeedMessage::Read(text);
    if (read) messages.push_back(std::make_shared<const FeedMessage>(*std::move(read)));
  }
  // What is not here any more is not waited for.
  std::ranges::sort(messages, {}, [](const auto& message) { return message->name(); });
  for (const auto& message : messages) {
    auto taken = Take(now, wall, message, actions);
    if (!taken) actions.changes.dropped.push_back(message->name());
  }
  for (std::size_t i = 0; i <= limits_.log.held_of_writer; ++i) {
    log_.OnTime(now + kFeedGapWait * static_cast<int>(i + 1), wall, actions.changes);
  }
}

Result<FeedName> Feed::Publish(Time now, WallTime wall, const std::string& kind,
                               const std::string& topic, const std::string& body, Duration life,
                               FeedActions& actions) {
  const auto membership = ports_.membership();
  if (!membership) return Error{Code::kDenied, "this host is not in the room"};
  FeedWord word;
  word.room = room_;
  const auto clock = static_cast<std::uint64_t>(wall.time_since_epoch().count());
  word.sequence = std::max(clock, log_.Head(key_.id()) + 1);
  word.previous = log_.Previous(wall, key_.id(), topic);
  word.written = wall;
  word.expires = wall + life;
  word.kind = kind;
  word.topic = topic;
  word.body = body;
  auto message = FeedMessage::Sign(word, key_, *membership);
  if (!message) return message.error();
  const std::size_t before = actions.changes.given.size();
  auto taken = Take(now, wall, std::make_shared<const FeedMessage>(*std::move(message)), actions);
  if (!taken) return taken.error();
  SHOAL_CHECK(*taken == FeedLog::Taken::kGiven);
  PassOn(now, before, nullptr, actions);
  return FeedName{key_.id(), word.sequence};
}

void Feed::PassOn(Time now, std::size_t given_before, const PeerId* from, FeedActions& actions) {
  const auto& given = actions.changes.given;
  for (std::size_t i = given_before; i < given.size(); ++i) {
    const FeedName name = given[i]->name();
    ++counts_.given;
    for (auto& [peer, link] : links_) {
      if (from != nullptr && peer == *from) Learn(link, name);
      const auto knows = link.knows.find(name.writer);
      if (!link.pushed || (knows != link.knows.end() && knows->second >= name.sequence)) continue;
      Learn(link, name);
      FeedFrame push;
      push.link = push.push = true;
      push.messages.push_back(given[i]->text());
      Send(peer, std::move(push), actions);
    }
    if (const auto it = missing_.find(name.writer);
        it != missing_.end() && it->second.sequence <= name.sequence) {
      missing_.erase(it);
    }
    to_name_.insert(name.writer);
    name_at_ = std::min(name_at_, now + limits_.lazy_wait);
  }
}

bool Feed::OnMessages(Time now, WallTime wall, const PeerId& from, const FeedFrame& frame,
                      FeedActions& actions) {
  bool news = false;
  bool was_known = false;
  const std::size_t before = actions.changes.given.size();
  const auto link = links_.find(from);
  for (const auto& text : frame.messages) {
    ++counts_.copies;
    auto read = FeedMessage::Read(text);
    auto taken = Result<FeedLog::Taken>(FeedLog::Taken::kKnown);
    if (read) {
      const auto message = std::make_shared<const FeedMessage>(*std::move(read));
      const FeedName name = message->name();
      taken = Take(now, wall, message, actions);
      if (taken && link != links_.end()) Learn(link->second, name);
      if (taken && *taken == FeedLog::Taken::kHeld) {
        FrameTo(from, actions).want.push_back({name.writer, log_.Head(name.writer)});
      }
    } else {
      taken = Error{Code::kCorrupt, read.error().text};
    }
    if (!taken) {
      ++counts_.refused;
      if (taken.error().code != Code::kCorrupt) continue;
      PassOn(now, before, &from, actions);
      Unlink(now, from, limits_.refused);
      FrameTo(from, actions) = {};
      FrameTo(from, actions).unlink = true;
      TopUp(now, actions);
      return false;
    }
    (*taken == FeedLog::Taken::kKnown ? was_known : news) = true;
  }
  PassOn(now, before, &from, actions);
  if (frame.push && link != links_.end()) {
    if (news) link->second.pushed = true;
    if (was_known && !news) {
      link->second.pushed = false;
      FrameTo(from, actions).prune = true;
    }
  }
  return news;
}

// As much as fits into one frame.
void Feed::Answer(const PeerId& to, const FeedName& after, FeedFrame& frame, std::size_t& bytes) {
  const auto link = links_.find(to);
  for (const auto& message : log_.After(after)) {
    if (bytes + message->text().size() > kFeedFrameMessageBytesMax) {
      frame.more = true;
      return;
    }
    bytes += message->text().size();
    frame.messages.push_back(message->text());
    if (link != links_.end()) Learn(link->second, message->name());
  }
}

void Feed::OnNames(Time now, const PeerId& from, const FeedFrame& frame, FeedActions& actions) {
  std::size_t bytes = 0;
  FeedFrame answer;
  for (const auto& name : frame.want) Answer(from, name, answer, bytes);
  if (frame.whole) {
    std::map<PeerId, std::uint64_t> theirs;
    for (const auto& name : frame.have) theirs[name.writer] = name.sequence;
    for (const auto& head : log_.Heads()) {
      const auto it = theirs.find(head.writer);
      const std::uint64_t has = it == theirs.end() ? 0 : it->second;
      if (has < head.sequence) Answer(from, {head.writer, has}, answer, bytes);
    }
  }
  const auto link = links_.find(from);
  for (const auto& name : frame.have) {
    if (link != links_.end()) Learn(link->second, name);
    if (name.sequence <= log_.Head(name.writer)) continue;
    if (frame.whole) {
      answer.want.push_back({name.writer, log_.Head(name.writer)});
      continue;
    }
    // Pushed by somebody else it should be here soon.
    auto it = missing_.find(name.writer);
    if (it == missing_.end()) {
      if (missing_.size() >= limits_.missing) continue;
      it = missing_.emplace(name.writer, Missing{0, {}, now + limits_.graft_wait}).first;
    }
    it->second.sequence = std::max(it->second.sequence, name.sequence);
    auto& named_by = it->second.named_by;
    if (named_by.size() < kNamedByMax && std::ranges::find(named_by, from) == named_by.end()) {
      named_by.push_back(from);
    }
  }
  if (answer.empty()) return;
  FeedFrame& reply = FrameTo(from, actions);
  reply.more |= answer.more;
  reply.want.insert(reply.want.end(), answer.want.begin(), answer.want.end());
  reply.messages.insert(reply.messages.end(), answer.messages.begin(), answer.messages.end());
}

void Feed::OnFrame(Time now, WallTime wall, const PeerId& from, const FeedFrame& frame,
                   FeedActions& actions) {
  if (IsRefused(now, from) && refused_[from] > now + limits_.full) return;  // it lied
  OnLinkWords(now, from, frame, actions);
  const bool news = OnMessages(now, wall, from, frame, actions);
  OnNames(now, from, frame, actions);
  // Each time something must have come, so that this ends.
  if (frame.more && news) Send(from, Whole(), actions);
}

// --- time ---

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
    if (is_here || (missing.due <= now && missing.named_by.empty())) {
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
  if (log_.NextGap() <= now || sweep_at_ <= now) {
    sweep_at_ = now + kSweepEvery;
    const std::size_t before = actions.changes.given.size();
    log_.OnTime(now, wall, actions.changes);
    PassOn(now, before, nullptr, actions);
  }
  if (name_at_ <= now) NameWhatIsNew(actions);
  AskForMissing(now, actions);
  if (std::erase_if(refused_, [&](const auto& entry) { return entry.second <= now; }) > 0) {
    TopUp(now, actions);
  }
  if (round_at_ <= now && !members_.empty()) Round(now, actions);
}

Time Feed::NextDeadline() const {
  Time next = std::min(name_at_, log_.NextGap());
  for (const auto& [writer, missing] : missing_) next = std::min(next, missing.due);
  if (!members_.empty()) next = std::min(next, round_at_);
  if (log_.writers() > 0) next = std::min(next, sweep_at_);
  for (const auto& [peer, until] : refused_) next = std::min(next, until);
  return next;
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
  SHOAL_CHECK(members_.size() == places_.size() && members_.size() <= limits_.members);
  SHOAL_CHECK(links_.size() <= limits_.links_max + limits_.links_wanted);
  SHOAL_CHECK(missing_.size() <= limits_.missing);
  for (const auto& [peer, link] : links_) SHOAL_CHECK(places_.contains(peer));
  for (const auto& [peer, missing] : missing_) SHOAL_CHECK(missing.named_by.size() <= kNamedByMax);
}

}  // namespace shoal::index
