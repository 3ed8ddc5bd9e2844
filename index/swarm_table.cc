#include "index/swarm_table.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"

namespace shoal::index {
namespace {

// The 64-bit finalizer of MurmurHash3 (public domain, Appleby): each bit of the input moves half
// of the output's.
std::uint64_t Mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

// The same on every host: read as big-endian.
std::uint64_t HeadOf(const std::array<std::byte, 32>& bytes) {
  std::uint64_t head = 0;
  for (std::size_t i = 0; i < 8; ++i) head = head << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  return head;
}

}  // namespace

SwarmTable::Blob& SwarmTable::Touch(Time now, const Digest& digest) {
  auto [it, fresh] = blobs_.try_emplace(digest);
  Blob& blob = it->second;
  if (fresh) {
    blob.place = order_.insert(order_.end(), digest);
  } else {
    order_.splice(order_.end(), order_, blob.place);
  }
  blob.used = now;
  if (blobs_.size() > limits_.blobs_max) Forget(order_.front());
  return blob;
}

void SwarmTable::Forget(const Digest& digest) {
  const auto it = blobs_.find(digest);
  order_.erase(it->second.place);
  blobs_.erase(it);
}

SwarmAnswer SwarmTable::OnAsk(Time now, const SwarmAsk& ask) {
  if (ask.slots) {
    SwarmAnswer answer;
    answer.slots = slots_.OnAsk(now, ask.digest, ask.peer, *ask.slots);
    return answer;
  }
  OnDeadline(now);
  Blob& blob = Touch(now, ask.digest);
  if (ask.leaving) {
    blob.members.erase(ask.peer);
    if (blob.lead == ask.peer) blob.lead.reset();
  } else {
    Member& member = blob.members[ask.peer];
    member.until = now + (ask.whole ? kHolderLife : kMemberLife);
    member.number = next_number_++;
    member.whole = ask.whole;
    DecideLead(now, blob, ask);
  }
  std::erase_if(blob.members, [&](const auto& entry) { return entry.second.until <= now; });
  if (blob.members.size() > limits_.members_max) {
    blob.members.erase(std::ranges::min_element(
        blob.members, {}, [](const auto& entry) { return entry.second.number; }));
  }
  SwarmAnswer answer = AnswerFor(now, blob, ask.peer);
  if (blob.members.empty()) Forget(ask.digest);
  return answer;
}

void SwarmTable::DecideLead(Time now, Blob& blob, const SwarmAsk& ask) {
  if (blob.lead && now >= blob.lease_until) blob.lead.reset();
  if (blob.lead == ask.peer) {
    if (!ask.wants_lead || ask.whole) {
      blob.lead.reset();
      return;
    }
    blob.lease_until = now + kLeadLease;
    blob.lead_waits = ask.waiting && now < blob.led_since + kLeadWaitMax;
    if (ask.progress > blob.progress || blob.lead_waits) {
      blob.progress = ask.progress;
      blob.progress_at = now;
    }
    return;
  }
  if (!ask.wants_lead || ask.whole) return;
  const bool stalled = blob.lead && now >= blob.progress_at + blob.patience;
  if (blob.lead && !stalled) return;
  if (stalled) blob.patience = std::min(blob.patience * 2, kLeadPatienceMax);
  blob.lead = ask.peer;
  blob.led_since = now;
  blob.lead_waits = ask.waiting;
  blob.lease_until = now + kLeadLease;
  blob.progress = ask.progress;
  blob.progress_at = now;
}

SwarmAnswer SwarmTable::AnswerFor(Time now, const Blob& blob, const PeerId& asker) const {
  SwarmAnswer answer;
  if (blob.lead && now < blob.lease_until) {
    answer.lead = blob.lead;
    answer.lease = blob.lease_until - now;
    answer.lead_waits = blob.lead_waits;
  }
  std::vector<std::pair<std::uint64_t, PeerId>> members;
  members.reserve(blob.members.size());
  for (const auto& [peer, member] : blob.members) {
    if (peer == asker) continue;
    // The lead before all, then those that have everything.
    constexpr std::uint64_t kFetching = std::uint64_t{1} << 63;
    const std::uint64_t age = next_number_ - member.number + (member.whole ? 0 : kFetching);
    members.emplace_back(answer.lead == peer ? 0 : age, peer);
  }
  const std::size_t given = std::min(members.size(), kMembersGiven);
  std::ranges::partial_sort(members, members.begin() + static_cast<std::ptrdiff_t>(given));
  for (std::size_t i = 0; i < given; ++i) answer.members.push_back(members[i].second);
  return answer;
}

void SwarmTable::OnPeerGone(Time /*now*/, const PeerId& peer) {
  std::vector<Digest> empty;
  for (auto& [digest, blob] : blobs_) {
    if (blob.members.erase(peer) == 0) continue;
    if (blob.lead == peer) blob.lead.reset();
    if (blob.members.empty()) empty.push_back(digest);
  }
  for (const Digest& digest : empty) Forget(digest);
}

void SwarmTable::OnDeadline(Time now) {
  while (!order_.empty() && blobs_.at(order_.front()).used + kHolderLife <= now) {
    Forget(order_.front());
  }
}

Time SwarmTable::NextDeadline() const {
  return order_.empty() ? kNever : blobs_.at(order_.front()).used + kHolderLife;
}

void SwarmTable::CheckInvariants() const {
  slots_.CheckInvariants();
  SHOAL_CHECK(order_.size() == blobs_.size());
  SHOAL_CHECK(blobs_.size() <= limits_.blobs_max);
  for (const auto& [digest, blob] : blobs_) {
    SHOAL_CHECK(*blob.place == digest);
    SHOAL_CHECK(!blob.members.empty() && blob.members.size() <= limits_.members_max);
    SHOAL_CHECK(!blob.lead || blob.members.contains(*blob.lead) || blob.lease_until > Time{});
    SHOAL_CHECK(blob.patience >= kLeadPatience && blob.patience <= kLeadPatienceMax);
  }
}

std::vector<PeerId> RankArbiters(const Digest& digest, const std::vector<PeerId>& peers,
                                 std::size_t count) {
  std::vector<std::pair<std::uint64_t, PeerId>> weights;
  weights.reserve(peers.size());
  const std::uint64_t head = HeadOf(digest.bytes);
  for (const PeerId& peer : peers) weights.emplace_back(Mix(head ^ Mix(HeadOf(peer.bytes))), peer);
  const std::size_t kept = std::min(count, weights.size());
  std::ranges::partial_sort(weights, weights.begin() + static_cast<std::ptrdiff_t>(kept),
                            std::greater<>());
  std::vector<PeerId> best;
  for (std::size_t i = 0; i < kept; ++i) best.push_back(weights[i].second);
  return best;
}

}  // namespace shoal::index
