#include "index/swarm_table.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/check.h"

namespace shoal::index {
namespace {

// The 64-bit finalizer of MurmurHash3 (public domain, Appleby): each bit of the input moves half
// of the output's.
std::uint64_t Mix64(std::uint64_t x) {
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
  members_ -= it->second.members.size();
  order_.erase(it->second.place);
  blobs_.erase(it);
}

void SwarmTable::Drop(Blob& blob, Members::iterator it) {
  const Member& member = it->second;
  blob.wishes -= member.wishes ? 1 : 0;
  GroupOf(blob, member).erase(member.place);
  blob.members.erase(it);
  --members_;
}

void SwarmTable::TakeIn(Time now, Blob& blob, const SwarmAsk& ask) {
  const auto [it, fresh] = blob.members.try_emplace(ask.peer);
  Member& member = it->second;
  if (fresh) {
    ++members_;
  } else {
    GroupOf(blob, member).erase(member.place);
  }
  member.whole = ask.whole;
  Group& group = GroupOf(blob, member);
  member.place = group.insert(group.begin(), &it->first);
  const bool wishes = ask.wants_lead && !ask.whole;
  blob.wishes += (wishes ? 1 : 0) - (member.wishes ? 1 : 0);
  member.wishes = wishes;
  const Duration life = std::max(kMemberLife, 3 * PaceOf(blob.members.size()));
  member.until = now + (ask.whole ? kHolderLife : life);
}

// Whoever asked longest ago stands last; who was told a long pace may stay a little behind one that
// was told a longer one.
void SwarmTable::Expire(Time now, Blob& blob) {
  for (Group* const group : {&blob.fetching, &blob.whole}) {
    while (!group->empty()) {
      const auto it = blob.members.find(*group->back());
      if (it->second.until > now) break;
      Drop(blob, it);
    }
  }
}

Duration SwarmTable::PaceOf(std::size_t askers) {
  return std::clamp(kAskGap * static_cast<Duration::rep>(askers), kSwarmPace, kSwarmPaceMax);
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
    if (const auto it = blob.members.find(ask.peer); it != blob.members.end()) Drop(blob, it);
    if (blob.lead == ask.peer) blob.lead.reset();
  } else {
    TakeIn(now, blob, ask);
    DecideLead(now, blob, ask);
  }
  Expire(now, blob);
  if (blob.members.size() > limits_.members_max) {
    const Group& group = blob.fetching.size() > 1 ? blob.fetching : blob.whole;
    Drop(blob, blob.members.find(*group.back()));
  }
  SwarmAnswer answer = AnswerFor(now, blob, ask.peer);
  answer.pace = PaceOf(ask.wants_lead ? blob.wishes : blob.members.size());
  if (blob.members.empty()) Forget(ask.digest);
  while (members_ > limits_.all_members_max && blobs_.size() > 1) Forget(order_.front());
  return answer;
}

void SwarmTable::DecideLead(Time now, Blob& blob, const SwarmAsk& ask) {
  if (ask.misses_lead && blob.lead && blob.lead != ask.peer) {
    blob.lease_until = std::min(blob.lease_until, blob.lead_asked + kLeadDoubt);
  }
  if (blob.lead && now >= blob.lease_until) blob.lead.reset();
  if (blob.lead == ask.peer) {
    if (!ask.wants_lead || ask.whole) {
      blob.lead.reset();
      return;
    }
    blob.lead_asked = now;
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
  blob.led_since = blob.lead_asked = now;
  blob.lead_waits = ask.waiting;
  blob.lease_until = now + kLeadLease;
  blob.progress = ask.progress;
  blob.progress_at = now;
}

SwarmAnswer SwarmTable::AnswerFor(Time now, const Blob& blob, const PeerId& asker) {
  SwarmAnswer answer;
  if (blob.lead && now < blob.lease_until) {
    answer.lead = blob.lead;
    answer.lease = blob.lease_until - now;
    answer.lead_waits = blob.lead_waits;
  }
  // The lead before all, then those that have everything.
  if (answer.lead && *answer.lead != asker && blob.members.contains(*answer.lead)) {
    answer.members.push_back(*answer.lead);
  }
  Name(blob.whole, asker, answer);
  Name(blob.fetching, asker, answer);
  return answer;
}

void SwarmTable::Name(const Group& group, const PeerId& asker, SwarmAnswer& answer) {
  std::vector<PeerId>& named = answer.members;
  for (const PeerId* const peer : group) {
    if (named.size() >= kMembersGiven) return;
    if (*peer != asker && answer.lead != *peer) named.push_back(*peer);
  }
}

void SwarmTable::OnPeerGone(Time /*now*/, const PeerId& peer) {
  std::vector<Digest> empty;
  for (auto& [digest, blob] : blobs_) {
    const auto it = blob.members.find(peer);
    if (it == blob.members.end()) continue;
    Drop(blob, it);
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
  std::size_t members = 0;
  for (const auto& [digest, blob] : blobs_) {
    members += blob.members.size();
    SHOAL_CHECK(blob.fetching.size() + blob.whole.size() == blob.members.size());
    std::size_t wishes = 0;
    for (const auto& [peer, member] : blob.members) {
      SHOAL_CHECK(*member.place == &peer);
      wishes += member.wishes ? 1 : 0;
    }
    SHOAL_CHECK(wishes == blob.wishes);
    SHOAL_CHECK(*blob.place == digest);
    SHOAL_CHECK(!blob.members.empty() && blob.members.size() <= limits_.members_max);
    SHOAL_CHECK(!blob.lead || blob.members.contains(*blob.lead) || blob.lease_until > Time{});
    SHOAL_CHECK(blob.patience >= kLeadPatience && blob.patience <= kLeadPatienceMax);
  }
  SHOAL_CHECK(members == members_);
}

std::vector<PeerId> RankArbiters(const Digest& digest, const std::vector<PeerId>& peers,
                                 std::size_t count) {
  std::vector<std::pair<std::uint64_t, PeerId>> weights;
  weights.reserve(peers.size());
  const std::uint64_t head = HeadOf(digest.bytes);
  for (const PeerId& peer : peers)
    weights.emplace_back(Mix64(head ^ Mix64(HeadOf(peer.bytes))), peer);
  const std::size_t kept = std::min(count, weights.size());
  std::ranges::partial_sort(weights, weights.begin() + static_cast<std::ptrdiff_t>(kept),
                            std::greater<>());
  std::vector<PeerId> best;
  for (std::size_t i = 0; i < kept; ++i) best.push_back(weights[i].second);
  return best;
}

}  // namespace shoal::index
