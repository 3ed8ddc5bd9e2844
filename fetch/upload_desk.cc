#include "fetch/upload_desk.h"

#include <algorithm>
#include <limits>

namespace shoal::fetch {
namespace {

constexpr double kMebibyte = 1 << 20;
// The weight of the newest answer: about the last eight count.
constexpr double kNewest = 0.25;

std::size_t At(PieceIndex i) { return static_cast<std::size_t>(i.value); }

Bytes LengthOfRun(const Geometry& geometry, PieceIndex first, std::int32_t count) {
  const PieceIndex last = first + (count - 1);
  return geometry.OffsetOf(last) + geometry.LengthOf(last) - geometry.OffsetOf(first);
}

// How often the run's pieces were sent, all together.
std::uint64_t SentOf(const std::vector<std::uint16_t>& sent, PieceIndex first, std::int32_t count) {
  std::uint64_t sum = 0;
  for (std::int32_t i = 0; i < count; ++i) sum += sent[At(first + i)];
  return sum;
}

}  // namespace

UploadDesk::UploadDesk(UploadLimits limits) : limits_(limits) {
  SHOAL_CHECK(limits.slots >= 1 && limits.blobs_max >= 1 && limits.counts_max >= 1);
}

std::variant<UploadGrant, UploadBusy> UploadDesk::OnAsk(
    Time now, const PeerId& peer, const Digest& digest, const Geometry& geometry,
    const std::vector<PieceIndex>& wanted, std::int32_t count, const PieceMap* firsthand) {
  SHOAL_CHECK(!wanted.empty() && count >= 1);
  for (const PieceIndex first : wanted) {
    SHOAL_CHECK(first.value >= 0 && first.value <= geometry.count() - count);
  }
  Advance(now);
  askers_.Add(now, peer);
  // Sizes differ at the end of a blob only; by the first, so that busy does not hang on the choice.
  const Bytes length = LengthOfRun(geometry, wanted.front(), count);
  const bool small = length <= kSmallAnswer;
  if (!small && !HasSlotFor(peer)) return Refuse(now, peer, digest, length);

  Blob& blob = Touch(now, digest, geometry.count());
  PieceIndex best = wanted.front();
  std::uint64_t best_sent = std::numeric_limits<std::uint64_t>::max();
  for (const PieceIndex first : wanted) {
    const std::uint64_t sent = SentOf(blob.sent, first, count);
    if (sent >= best_sent) continue;
    best = first;
    best_sent = sent;
  }
  const bool again = !small && best_sent > 0 && firsthand != nullptr;
  const bool scarce = 2 * due_.size() >= Slots();  // else nothing unsent waits for this answer
  if (again && scarce && PutsOff(now, blob, peer, best, *firsthand)) {
    // A slot is free: it needs no turn, and may learn at any moment what else we have.
    return UploadBusy{kBusyRetryMin, GivenTo(blob, peer)};
  }
  blob.put_off.erase({peer, best});
  for (std::int32_t i = 0; i < count; ++i) {
    std::uint16_t& sent = blob.sent[At(best + i)];
    if (sent < std::numeric_limits<std::uint16_t>::max()) ++sent;
  }
  std::erase(blob.given, peer);
  blob.given.insert(blob.given.begin(), peer);
  // One more than is told, because the asker itself is left out.
  if (blob.given.size() > kTryMax + 1) blob.given.pop_back();
  refused_.Remove(peer);
  if (small) return UploadGrant{0, best, count};
  Answer answer{peer, digest, blob.born, best, count, LengthOfRun(geometry, best, count), now};
  return UploadGrant{Begin(now, answer), best, count};
}

UploadId UploadDesk::Begin(Time now, Answer answer) {
  const auto expected = Expected(answer.length);
  answer.slow_at = now + (expected ? std::max(kSlowAnswerMin, *expected * kSlowAnswerFactor)
                                   : kSlowAnswerUnknown);
  answer.crowd = static_cast<int>(due_.size()) + 1;
  const UploadId id = next_++;
  due_.emplace(answer.slow_at, id);
  ++under_way_[answer.peer];
  answers_.emplace(id, answer);
  return id;
}

void UploadDesk::OnSent(Time now, UploadId id, Bytes sent) {
  if (id == 0) return;
  Advance(now);
  const auto found = answers_.find(id);
  SHOAL_CHECK(found != answers_.end());
  const Answer answer = found->second;
  Learn(now, answer, sent);
  answers_.erase(found);
  due_.erase({answer.slow_at, id});
  const auto mine = under_way_.find(answer.peer);
  if (--mine->second == 0) under_way_.erase(mine);

  const auto blob = blobs_.find(answer.digest);
  if (blob == blobs_.end() || blob->second.born != answer.born) return;
  blob->second.used = now;
  order_.splice(order_.begin(), order_, blob->second.place);
  if (sent >= answer.length) return;
  for (std::int32_t i = 0; i < answer.count; ++i) {
    std::uint16_t& count = blob->second.sent[At(answer.first + i)];
    if (count > 0) --count;
  }
}

void UploadDesk::Learn(Time now, const Answer& answer, Bytes sent) {
  if (sent <= kSmallAnswer) return;
  const auto mebibytes = static_cast<double>(sent.count()) / kMebibyte;
  double pace = static_cast<double>((now - answer.since).count()) / 1e6 / mebibytes;
  // An answer that had the link nearly to itself would have taken longer among others.
  const int crowd = std::max(answer.crowd, static_cast<int>(due_.size()));
  pace *= std::max(1.0, static_cast<double>(limits_.slots) / crowd);
  // A slow reader says little about the others: it moves the pace, but not by all its slowness.
  if (pace_) pace = std::min(pace, *pace_ * kSlowAnswerFactor);
  pace_ = pace_ ? *pace_ * (1 - kNewest) + pace * kNewest : pace;
}

std::optional<Duration> UploadDesk::Expected(Bytes length) const {
  if (!pace_) return std::nullopt;
  const double seconds = *pace_ * static_cast<double>(length.count()) / kMebibyte;
  return Duration(static_cast<Duration::rep>(seconds * 1e6));
}

void UploadDesk::Advance(Time now) {
  askers_.Expire(now);
  refused_.Expire(now);
  while (!order_.empty() && blobs_.at(order_.back()).used + kCountLife < now) {
    Forget(order_.back());
  }
  while (!due_.empty() && due_.begin()->first <= now && answers_.size() - due_.size() < SlowMax()) {
    answers_.at(due_.begin()->second).slow = true;
    due_.erase(due_.begin());
  }
}

bool UploadDesk::HasSlotFor(const PeerId& peer) const {
  if (due_.size() >= Slots()) return false;
  const auto mine = under_way_.find(peer);
  if (mine == under_way_.end()) return true;  // every share is at least one
  std::size_t share = Slots();
  if (refused_.AnyBut(peer)) share = std::max<std::size_t>(1, share / askers_.size());
  return mine->second < share;
}

bool UploadDesk::PutsOff(Time now, Blob& blob, const PeerId& peer, PieceIndex piece,
                         const PieceMap& firsthand) {
  if (firsthand.size() != std::ssize(blob.sent)) return false;
  bool owes = false;
  for (PieceIndex i{0}; i.value < firsthand.size() && !owes; ++i) {
    owes = blob.sent[At(i)] == 0 && firsthand.Has(i);
  }
  if (!owes) return false;
  if (blob.put_off.size() >= kPutOffsMax) {
    std::erase_if(blob.put_off, [now](const auto& one) { return one.second + kPutOffMax <= now; });
  }
  const auto known = blob.put_off.find({peer, piece});
  if (known != blob.put_off.end()) return now < known->second + kPutOffMax;
  if (blob.put_off.size() >= kPutOffsMax) return false;
  blob.put_off.emplace(std::pair(peer, piece), now);
  return true;
}

UploadBusy UploadDesk::Refuse(Time now, const PeerId& peer, const Digest& digest, Bytes length) {
  refused_.Add(now, peer);
  UploadBusy busy;
  busy.retry = kBusyRetryUnknown;
  if (const auto expected = Expected(length)) {
    // All slots together end an answer each expected / slots. Turns are given one after the other:
    // a crowd that was refused in one moment must not come back in one moment.
    const Time turn = std::max(next_turn_, now) + *expected / (limits_.slots * kTriesPerEnd);
    next_turn_ = std::min(turn, now + kBusyRetryMax);
    busy.retry = std::max(next_turn_ - now, kBusyRetryMin);
  }
  if (const auto blob = blobs_.find(digest); blob != blobs_.end()) {
    busy.others = GivenTo(blob->second, peer);
  }
  return busy;
}

std::vector<PeerId> UploadDesk::GivenTo(const Blob& blob, const PeerId& asker) {
  std::vector<PeerId> others;
  for (const PeerId& other : blob.given) {
    if (other != asker && others.size() < kTryMax) others.push_back(other);
  }
  return others;
}

UploadDesk::Blob& UploadDesk::Touch(Time now, const Digest& digest, std::int32_t count) {
  const auto pieces = static_cast<std::size_t>(count);
  if (const auto found = blobs_.find(digest); found != blobs_.end()) {
    if (found->second.sent.size() == pieces) {
      found->second.used = now;
      order_.splice(order_.begin(), order_, found->second.place);
      return found->second;
    }
    Forget(digest);  // it is cut otherwise now
  }
  while (!order_.empty() &&
         (blobs_.size() >= limits_.blobs_max || counts_ + pieces > limits_.counts_max)) {
    Forget(order_.back());
  }
  order_.push_front(digest);
  Blob& blob = blobs_[digest];
  blob.sent.resize(pieces);
  blob.born = ++births_;
  blob.used = now;
  blob.place = order_.begin();
  counts_ += pieces;
  return blob;
}

void UploadDesk::Forget(const Digest& digest) {
  const auto found = blobs_.find(digest);
  counts_ -= found->second.sent.size();
  order_.erase(found->second.place);
  blobs_.erase(found);
}

int UploadDesk::busy_slots(Time now) const {
  const auto overdue = static_cast<std::size_t>(
      std::distance(due_.begin(), due_.lower_bound({now + Duration(1), 0})));
  const std::size_t room = SlowMax() - (answers_.size() - due_.size());
  return static_cast<int>(due_.size() - std::min(overdue, room));
}

void UploadDesk::CheckInvariants() const {
  SHOAL_CHECK(due_.size() <= Slots());
  SHOAL_CHECK(answers_.size() - due_.size() <= SlowMax());
  std::unordered_map<PeerId, std::size_t> under_way;
  std::size_t slow = 0;
  for (const auto& [id, answer] : answers_) {
    ++under_way[answer.peer];
    SHOAL_CHECK(answer.slow != due_.contains({answer.slow_at, id}));
    if (answer.slow) ++slow;
  }
  SHOAL_CHECK(slow == answers_.size() - due_.size());
  SHOAL_CHECK(under_way == under_way_);
  for (const auto& [peer, count] : under_way_) SHOAL_CHECK(count <= Slots());
  SHOAL_CHECK(order_.size() == blobs_.size() && blobs_.size() <= limits_.blobs_max);
  std::size_t counts = 0;
  for (const Digest& digest : order_) counts += blobs_.at(digest).sent.size();
  SHOAL_CHECK(counts == counts_ && (counts <= limits_.counts_max || blobs_.size() == 1));
  SHOAL_CHECK(askers_.size() <= kRecentAskersMax && refused_.size() <= kRecentAskersMax);
}

}  // namespace shoal::fetch
