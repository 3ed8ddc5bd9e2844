// Ends and deadlines: rules 4 and 8.
#include <algorithm>

#include "fetch/download_impl.h"

namespace shoal::fetch {

Time Download::Impl::StallAt(const Request& request) const {
  const bool all_here =
      request.expected > Bytes(0) && std::max(request.received, request.judged) >= request.expected;
  return request.last_byte + (all_here ? kHashWait : request.stall);
}

void Download::Impl::CancelStalled() {
  std::vector<RequestId> stalled;
  for (const auto& [id, request] : requests_) {
    if (now_ >= StallAt(request)) stalled.push_back(id);
  }
  for (const RequestId id : stalled) {
    if (!Live(id)) continue;  // gone with the peer of one before it
    const Error error{Code::kRetryLater, "sent nothing for too long"};
    const Request request = requests_.at(id);
    Cancel(id);
    switch (request.kind) {
      case Request::Kind::kMap:
        OnMapFailed(request, error);
        break;
      case Request::Kind::kPieces:
        Penalize(request.holder, error);
        break;
      case Request::Kind::kUpstream:
        OnUpstreamFailed(error.In("the upstream"));
        break;
    }
  }
}

bool Download::Impl::IsSlow(const Request& request) const {
  if (request.kind != Request::Kind::kPieces || request.marked.empty()) return false;
  const Duration age = now_ - request.asked_at;
  if (age < request.stall || request.received >= request.expected) return false;
  const double left = static_cast<double>((request.expected - request.received).count());
  // What came so far says how long the rest will take; nothing at all is as slow as can be.
  const double came = std::max(1.0, static_cast<double>(request.received.count()));
  const double needs = left / came * static_cast<double>(age.count());
  const Duration usual = AtMost(answer_time_.usual().value_or(Duration(0)));
  if (needs < kSlowTimes * static_cast<double>(usual.count())) return false;
  const double length = static_cast<double>(LengthOf(request.marked.front()).count());
  return std::ranges::any_of(holding_, [&](int at) {
    const Holder& other = holders_[at];
    if (at == request.holder || !other.counted || !MayAsk(other)) return false;
    if (!other.score.rate() || !other.can.Has(request.marked.front())) return false;
    return needs > kSlowFactor * (length / *other.score.rate()) * 1e6;
  });
}

void Download::Impl::CancelSlow() {
  std::vector<RequestId> slow;
  for (const auto& [id, request] : requests_) {
    if (IsSlow(request)) slow.push_back(id);
  }
  for (const RequestId id : slow) {
    holders_[requests_.at(id).holder].slow_until = now_ + kSlowTime;
    Cancel(id);
  }
}

Time Download::Impl::LookAt(const Request& request) const {
  const Time stall_at = StallAt(request);
  if (request.kind != Request::Kind::kPieces) return stall_at;
  // From then on it is compared with others, each half a stall.
  const Duration age = std::max(now_ - request.asked_at, Duration(0));
  const std::int64_t looks = std::max<std::int64_t>(2, age / (request.stall / 2) + 1);
  return std::min(stall_at, request.asked_at + request.stall / 2 * looks);
}

Time Download::Impl::NextDeadline() const {
  if (!started_ || finished_) return kNever;
  Time next = kNever;
  // Only what lies ahead: what is due was dealt with when it became so, or waits for an event.
  const auto at = [&](Time time) {
    if (time > now_) next = std::min(next, time);
  };
  at(progress_at_ + limits_.give_up);
  if (!resolved_) at(resolve_by_);
  if (!resolving_) at(LookAgainAt());
  if (!resolving_ && !resolved_) at(ListedPatienceEnds());
  at(double_at_);
  // These two are lower bounds: waking early only works them out anew.
  next = std::min(next, std::max(requests_at_, now_ + Duration(1)));
  next = std::min(next, std::max(holders_at_, now_ + Duration(1)));
  const Holder* const lead = Lead();
  if (lead != nullptr && lead->state == Holder::State::kNot) at(lead->map_at);
  const bool upstream_waits = UpstreamUsable() && upstream_request_ == 0;
  if (upstream_waits) at(upstream_at_);
  if (limits_.arbitrated) {
    at(swarm_asking_ ? swarm_asked_at_ + kSwarmSilence : swarm_at_);
    if (upstream_waits) at(progress_at_ + limits_.lead_budget);
    at(modest_until_);
  }
  // When peers count as stuck: for the upstream, another candidate, or the end.
  at(peer_progress_at_ + limits_.peer_budget);
  at(progress_at_ + limits_.peer_budget);
  at(progress_at_ + limits_.peer_budget * 3);
  return next;
}

bool Download::Impl::AnyHope() const {
  if (!byte_requests_.empty()) return true;
  if (UpstreamUsable() || !Settled() || AnyFirstMapPending()) return true;
  // An upstream that denies or does not know the blob will give the growing holders nothing more.
  const bool refused = upstream_error_ && (upstream_error_->code == Code::kNotFound ||
                                           upstream_error_->code == Code::kDenied);
  return std::ranges::any_of(holding_, [&](int at) {
    const Holder& holder = holders_[at];
    if (CanHelp(holder)) return true;
    if (!Supports(holder)) return holder.known > 0 && switches_ < kSwitchesMax;
    if (holder.known == have().size() && holder.vouched == have().size()) return false;
    return !refused || (holder.known > 0 && now_ < progress_at_ + limits_.peer_budget);
  });
}

void Download::Impl::GiveUpIfHopeless() {
  if (!AnyHope() || now_ >= progress_at_ + limits_.give_up) GiveUp();
}

void Download::Impl::GiveUp() {
  CancelAll();
  Error error{Code::kNotFound, has_upstream_ ? "nobody holds it"
                                             : "no peer holds it, and there is no upstream to ask"};
  if (upstream_error_) {
    error = *upstream_error_;
  } else if (peer_error_) {
    // What a peer refused is not what the blob is: asking again may find other peers.
    error = {peer_error_->code == Code::kCorrupt ? Code::kCorrupt : Code::kRetryLater,
             peer_error_->text};
  } else if (any_map_ || UpstreamUsable()) {
    error = {Code::kRetryLater, "no piece came for " +
                                    std::to_string(limits_.give_up / std::chrono::seconds(1)) +
                                    " s; ask again"};
  }
  EndSwarm(false);
  finished_ = true;
  Emit(GaveUp{error.In(ToString(digest_))});
}

void Download::Impl::Prove() {
  if (chain_ && !choice_.chains().empty()) RefuteOthers();
  CancelAll();
  EndSwarm(true);
  finished_ = true;
  Emit(Proved{});
}

void Download::Impl::CancelAll() {
  while (!requests_.empty()) Cancel(requests_.begin()->first);
}

}  // namespace shoal::fetch
