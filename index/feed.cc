#include "index/feed.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "index/membership.h"
#include "index/record.h"

namespace shoal::index {

Feed::Feed(FeedLimits limits, std::string room, SigningKey key, Ports ports, Rng rng)
    : limits_(limits),
      room_(std::move(room)),
      key_(key),
      ports_(std::move(ports)),
      rng_(rng),
      log_(limits.log) {}

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
  if (!IsFeedNumber(word.sequence, word.written)) {
    return Error{Code::kCorrupt, "the message has a number that its writer did not have"};
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
  auto sequence = NextFeedNumber(wall, log_.Head(key_.id()));
  if (!sequence) return sequence.error();
  // Only when the clock was put forward: others would have it wait.
  if (const Duration wait = log_.TakesAt(key_.id()) - now; wait > Duration(0)) {
    return TooMuchSaid(wait);
  }
  word.sequence = *sequence;
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
    // It waits for its turn; a later comparing brings it.
    if (log_.TakesAt(name.writer) > now) continue;
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
  if (HasLied(now, from)) return;
  OnLinkWords(now, from, frame, actions);
  const bool news = OnMessages(now, wall, from, frame, actions);
  OnNames(now, from, frame, actions);
  // Each time something must have come, so that this ends.
  if (frame.more && news) Send(from, Whole(), actions);
}

}  // namespace shoal::index
