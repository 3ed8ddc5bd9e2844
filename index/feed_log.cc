#include "index/feed_log.h"

#include <algorithm>

#include "base/check.h"
#include "index/membership.h"

namespace shoal::index {

bool FeedLog::Knows(const FeedName& name) const {
  const auto it = writers_.find(name.writer);
  return it != writers_.end() &&
         (name.sequence <= it->second.head || it->second.held.contains(name.sequence));
}

Result<FeedLog::Taken> FeedLog::Add(Time now, WallTime wall, const SharedFeedMessage& message,
                                    WallTime until, FeedChanges& changes) {
  if (Knows(message->name())) return Taken::kKnown;
  if (!writers_.contains(message->writer()) && writers_.size() >= limits_.writers &&
      !MakeRoom(wall)) {
    return Error{Code::kExhausted, "the feed of a room takes " + std::to_string(limits_.writers) +
                                       " writers at a time; wait until messages have ended"};
  }
  Writer& writer = writers_[message->writer()];
  // By the writer's word, not by ours: others may hold the message for so long.
  writer.until = std::max(writer.until, message->word().expires + kClockSkew);
  const std::uint64_t sequence = message->word().sequence;
  const bool waits = message->word().previous > writer.head;
  if (waits || writer.pace.NextAt() > now) {
    writer.held.emplace(sequence, Standing{message, until});
    if (waits) writer.gap = std::min(writer.gap, now + kFeedGapWait);
    if (writer.held.size() > limits_.held_of_writer) writer.held.erase(--writer.held.end());
    if (!writer.held.contains(sequence)) return Taken::kKnown;
    return waits ? Taken::kHeld : Taken::kPaced;
  }
  Give(now, writer, {message, until}, changes);
  Release(now, writer, changes);
  Trim(changes);
  return Taken::kGiven;
}

void FeedLog::Give(Time now, Writer& writer, Standing standing, FeedChanges& changes) {
  const SharedFeedMessage message = standing.message;
  const std::uint64_t sequence = message->word().sequence;
  SHOAL_CHECK(sequence > writer.head);
  writer.head = sequence;
  writer.pace.Take(now, limits_.messages_at_once, kFeedStretch);
  for (auto it = writer.standing.begin(); it != writer.standing.end();) {
    const auto next = std::next(it);
    if (it->second.message->word().topic == message->word().topic) Drop(writer, it, changes);
    it = next;
  }
  writer.standing.emplace(sequence, std::move(standing));
  writer.bytes += message->text().size();
  bytes_ += message->text().size();
  ++size_;
  changes.given.push_back(message);
  if (writer.standing.size() > limits_.messages_of_writer) {
    Drop(writer, writer.standing.begin(), changes);
  }
}

Time FeedLog::ReleaseAt(const Writer& writer) {
  if (writer.held.empty()) return kNever;
  const auto& [sequence, first] = *writer.held.begin();
  if (sequence <= writer.head) return Time{};
  const bool waits = first.message->word().previous > writer.head;
  return std::max(waits ? writer.gap : Time{}, writer.pace.NextAt());
}

void FeedLog::Release(Time now, Writer& writer, FeedChanges& changes) {
  while (!writer.held.empty()) {
    auto first = writer.held.begin();
    if (first->first > writer.head) {
      if (now < ReleaseAt(writer)) return;
      const bool waits = first->second.message->word().previous > writer.head;
      Give(now, writer, first->second, changes);
      // Whatever follows has its own time to wait.
      if (waits) writer.gap = now + kFeedGapWait;
    }
    writer.held.erase(first);
  }
  writer.gap = kNever;
}

void FeedLog::Drop(Writer& writer, std::map<std::uint64_t, Standing>::iterator it,
                   FeedChanges& changes) {
  const auto& message = *it->second.message;
  changes.dropped.push_back(message.name());
  writer.bytes -= message.text().size();
  bytes_ -= message.text().size();
  --size_;
  writer.standing.erase(it);
}

void FeedLog::Trim(FeedChanges& changes) {
  while (bytes_ > limits_.bytes) {
    const auto most = std::ranges::max_element(
        writers_, {}, [](const auto& entry) { return entry.second.bytes; });
    Drop(most->second, most->second.standing.begin(), changes);
  }
}

// For a new writer. Those of whom all has ended are not needed.
bool FeedLog::MakeRoom(WallTime wall) {
  std::erase_if(writers_, [&](const auto& entry) {
    return entry.second.standing.empty() && entry.second.held.empty() && entry.second.until <= wall;
  });
  return writers_.size() < limits_.writers;
}

void FeedLog::OnTime(Time now, WallTime wall, FeedChanges& changes) {
  for (auto it = writers_.begin(); it != writers_.end();) {
    Writer& writer = it->second;
    std::erase_if(writer.held, [&](const auto& held) { return held.second.until <= wall; });
    Release(now, writer, changes);
    for (auto one = writer.standing.begin(); one != writer.standing.end();) {
      const auto next = std::next(one);
      if (one->second.until <= wall) Drop(writer, one, changes);
      one = next;
    }
    const bool over = writer.standing.empty() && writer.held.empty() && writer.until <= wall;
    it = over ? writers_.erase(it) : std::next(it);
  }
  Trim(changes);
}

void FeedLog::Keep(const std::function<bool(const FeedMessage&)>& stays, FeedChanges& changes) {
  for (auto& [id, writer] : writers_) {
    std::erase_if(writer.held, [&](const auto& held) { return !stays(*held.second.message); });
    if (writer.held.empty()) writer.gap = kNever;
    for (auto it = writer.standing.begin(); it != writer.standing.end();) {
      const auto next = std::next(it);
      if (!stays(*it->second.message)) Drop(writer, it, changes);
      it = next;
    }
  }
}

std::uint64_t FeedLog::Head(const PeerId& writer) const {
  const auto it = writers_.find(writer);
  return it == writers_.end() ? 0 : it->second.head;
}

std::uint64_t FeedLog::Previous(WallTime wall, const PeerId& writer,
                                const std::string& topic) const {
  const auto it = writers_.find(writer);
  if (it == writers_.end()) return 0;
  const auto& standing = it->second.standing;
  for (auto last = standing.rbegin(); last != standing.rend(); ++last) {
    if (last->second.until > wall && last->second.message->word().topic != topic) {
      return last->first;
    }
  }
  return 0;
}

std::vector<FeedName> FeedLog::Heads() const {
  std::vector<FeedName> heads;
  for (const auto& [id, writer] : writers_) {
    if (!writer.standing.empty()) heads.push_back({id, writer.standing.rbegin()->first});
  }
  return heads;
}

std::vector<SharedFeedMessage> FeedLog::After(const FeedName& name) const {
  std::vector<SharedFeedMessage> messages;
  const auto it = writers_.find(name.writer);
  if (it == writers_.end()) return messages;
  const auto& standing = it->second.standing;
  for (auto one = standing.upper_bound(name.sequence); one != standing.end(); ++one) {
    messages.push_back(one->second.message);
  }
  return messages;
}

std::vector<SharedFeedMessage> FeedLog::All() const {
  std::vector<SharedFeedMessage> messages;
  messages.reserve(size_);
  for (const auto& [id, writer] : writers_) {
    for (const auto& [sequence, standing] : writer.standing) messages.push_back(standing.message);
  }
  return messages;
}

SharedFeedMessage FeedLog::Find(const FeedName& name) const {
  const auto it = writers_.find(name.writer);
  if (it == writers_.end()) return nullptr;
  const auto one = it->second.standing.find(name.sequence);
  return one == it->second.standing.end() ? nullptr : one->second.message;
}

bool FeedLog::IsHolding(const PeerId& writer) const {
  const auto it = writers_.find(writer);
  return it != writers_.end() && !it->second.held.empty();
}

Time FeedLog::TakesAt(const PeerId& writer) const {
  const auto it = writers_.find(writer);
  return it == writers_.end() ? Time{} : it->second.pace.NextAt();
}

Time FeedLog::NextRelease() const {
  Time next = kNever;
  for (const auto& [id, writer] : writers_) next = std::min(next, ReleaseAt(writer));
  return next;
}

void FeedLog::CheckInvariants() const {
  std::size_t bytes = 0;
  std::size_t count = 0;
  SHOAL_CHECK(writers_.size() <= limits_.writers);
  for (const auto& [id, writer] : writers_) {
    std::size_t own = 0;
    for (const auto& [sequence, standing] : writer.standing) {
      SHOAL_CHECK(sequence <= writer.head && standing.message->writer() == id);
      own += standing.message->text().size();
    }
    for (const auto& [sequence, held] : writer.held) SHOAL_CHECK(sequence > writer.head);
    SHOAL_CHECK(own == writer.bytes);
    SHOAL_CHECK(writer.standing.size() <= limits_.messages_of_writer);
    SHOAL_CHECK(writer.held.size() <= limits_.held_of_writer);
    SHOAL_CHECK(!writer.held.empty() || writer.gap == kNever);
    bytes += own;
    count += writer.standing.size();
  }
  SHOAL_CHECK(bytes == bytes_ && bytes_ <= limits_.bytes && count == size_);
}

}  // namespace shoal::index
