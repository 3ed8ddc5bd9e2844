// The upstream: when it is asked, for what, and what its bytes mean for the chain. Rules 2, 3, 7.
#include <algorithm>

#include "fetch/download_impl.h"

namespace shoal::fetch {
namespace {

// The end of a run whose blob's size is not known yet.
constexpr PieceIndex kOpenEnd{kPiecesMax};

}  // namespace

bool Download::Impl::UpstreamWanted() const {
  if (!UpstreamUsable()) return false;
  if (alone_ || (we_lead_ && LeadIsNeeded())) return true;
  return WorthWaiting() ? PeersStuck() : Settled();
}

bool Download::Impl::UpstreamDue() const {
  if (upstream_request_ != 0 || now_ < upstream_at_) return false;
  return UpstreamWanted() && MayAskUpstream();
}

bool Download::Impl::UpstreamMayTake(PieceIndex piece) const {
  if (have().Has(piece)) return false;
  if (picker_.asked(piece) == 0) return true;
  if (picker_.asked(piece) >= kAskedMax) return false;
  return PeersStuck() || now_ - limits_.stall >= AskedSince(piece);
}

bool Download::Impl::UpstreamShouldTake(PieceIndex piece) const {
  return UpstreamMayTake(piece) && (!IsHeld(piece) || PeersStuck());
}

std::optional<PieceIndex> Download::Impl::UpstreamStart() const {
  const auto look = [&](PieceIndex from, bool unheld) -> std::optional<PieceIndex> {
    for (PieceIndex i = have().FirstAbsent(from); i.value < have().size();
         i = have().FirstAbsent(i + 1)) {
      if (unheld && IsHeld(i)) continue;
      if (chain_->Before(i) != nullptr && UpstreamMayTake(i)) return i;
    }
    return std::nullopt;
  };
  // What nobody holds first: the rest will come from those that hold it, unless they are stuck.
  if (!PeersStuck()) {
    if (const auto start = look({0}, true)) return start;
  }
  if (const auto start = look(picker_.Window().first, false)) return start;
  return look({0}, false);
}

void Download::Impl::AskUpstream() {
  if (!UpstreamDue()) return;
  PieceIndex start{0};
  PieceIndex end = kOpenEnd;
  if (chain_) {
    const auto found = UpstreamStart();
    if (!found) return;
    start = end = *found;
    // Beside peers it takes a part; what they bring meanwhile need not be fetched again.
    const std::int32_t count = chain_->geometry().count();
    const std::int32_t stop = WorthWaiting() && !LeadIsNeeded()
                                  ? std::min(count, start.value + limits_.parallel_pieces)
                                  : count;
    ++end;
    while (end.value < stop && UpstreamShouldTake(end)) ++end;
  }
  Request& request = NewRequest(Request::Kind::kUpstream, kNoHolder, limits_.upstream_stall);
  upstream_request_ = request.id;
  read_in_silence_ = swarm_silent_;
  request.next = start;
  request.end = end;
  const bool to_the_end = !chain_ || end.value == chain_->geometry().count();
  if (chain_) MarkAhead(request);
  Emit(FetchUpstream{request.id, start,
                     to_the_end ? std::nullopt : std::optional(end.value - start.value)});
}

void Download::Impl::MarkAhead(Request& request) {
  const PieceIndex stop = std::min(request.end, request.next + kUpstreamAhead);
  PieceIndex i = request.next;
  if (!request.marked.empty()) i = std::max(i, request.marked.back() + 1);
  for (; i < stop && UpstreamMayTake(i); ++i) {
    picker_.MarkAsked(i);
    request.marked.push_back(i);
  }
}

Result<Geometry> Download::Impl::CutBlob(Bytes size) const { return CutFor(size, limits_.piece); }

void Download::Impl::OnUpstreamSize(RequestId id, Bytes size) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.kind != Request::Kind::kUpstream) return;
  Request& request = found->second;
  request.sized = true;
  request.last_byte = now_;
  const auto geometry = CutBlob(size);
  if (!geometry || size == Bytes(0)) {
    Cancel(id);
    return OnUpstreamFailed(
        geometry ? Error{Code::kCorrupt, "the upstream sent nothing; its blob is not empty"}
                 : geometry.error());
  }
  upstream_size_ = size;
  if (!chain_) {
    Adopt(Chain(*geometry));
    request.end = PieceIndex{geometry->count()};
    MarkAhead(request);
  } else if (chain_->geometry().blob() != size) {
    OnContradiction(id, {0}, InitialState());
  }
}

void Download::Impl::OnUpstreamPiece(Request& request, PieceIndex piece, const ChainState& after,
                                     bool digest_ok) {
  // Pieces of one run come in order; the state before this one is known or was just learned.
  if (piece != request.next || piece >= request.end || chain_->Before(piece) == nullptr) return;
  const RequestId id = request.id;
  const Bytes length = LengthOf(piece);
  request.judged += length;
  request.sized = true;
  NoteProgress(false);
  const PieceIndex next = piece + 1;
  if (have().Has(piece)) {
    Waste(length);
  } else {
    const bool is_last = piece == chain_->geometry().last();
    const ChainState* known = is_last ? nullptr : chain_->Before(next);
    if (is_last ? !digest_ok : known != nullptr && *known != after) {
      Waste(length);
      return OnContradiction(id, next, after);
    }
    if (!is_last && known == nullptr) {
      chain_->Set(next, after);
      Learn({next});
    }
    if (std::ranges::find(request.marked, piece) != request.marked.end()) Unmark(request, piece);
    upstream_failures_ = 0;
    sources_.upstream += length;
    from_upstream_.Set(piece);
    PieceHere(piece, id);
    if (!Live(id)) return;
  }
  request.next = next;
  request.asked_at = now_;
  MarkAhead(request);
  // Cut where a piece is here, or a peer is at it.
  const bool free = !request.marked.empty() && request.marked.front() == next;
  if (next < request.end && !free) Cancel(id);
}

void Download::Impl::OnUpstreamFailed(const Error& error) {
  const bool again = error.code == Code::kRetryLater || error.code == Code::kCancelled ||
                     error.code == Code::kCorrupt;
  ++upstream_failures_;
  if (!again || upstream_failures_ >= limits_.upstream_tries ||
      error.retry_after > limits_.retry_after_max) {
    upstream_error_ = error;
    SetAlone(false);
    return;
  }
  const Duration backoff =
      kUpstreamBackoff * (std::int64_t{1} << std::min(upstream_failures_ - 1, 10));
  upstream_at_ = now_ + std::max(backoff, error.retry_after);
}

bool Download::Impl::Backed(PieceIndex at) const {
  return std::ranges::any_of(holders_, [&](const Holder& holder) {
    return Supports(holder) && holder.claims_last && holder.score.MayAsk(now_) &&
           (holder.vouched > at.value || holder.vouched == have().size());
  });
}

bool Download::Impl::AllButLastFromUpstream() const {
  return from_upstream_.count() == have().size() - 1;
}

void Download::Impl::OnContradiction(RequestId id, PieceIndex at, const ChainState& found) {
  Cancel(id);
  ++contradictions_;
  const PieceIndex last = chain_->geometry().last();
  // Backed by holders who say they verified all of it: they may prove that the upstream is wrong.
  // Once they have, the upstream is asked again only if they fail to deliver.
  if (!alone_ && Backed(at) && (!held_ || have().Has(last))) {
    held_ = true;
    upstream_at_ = now_ + limits_.peer_budget;
    return;
  }
  upstream_at_ = now_;
  if (alone_ || at.value == have().size()) {
    OnDigestMissed();
  } else if (at.value == 0 || contradictions_ > kContradictionsMax) {
    ReadUpstreamAlone();
  } else {
    TrustUpstreamFrom({at.value - 1}, found);
  }
}

// What is here does not lead to the digest together.
void Download::Impl::OnDigestMissed() {
  const auto best = BestCandidate();
  if (alone_ || AllButLastFromUpstream()) {
    if (++misses_ >= kMissesMax) {
      upstream_error_ = Error{Code::kCorrupt, "the upstream's bytes do not have this digest"};
      SetAlone(false);
    }
  } else if (!best || !ClaimsLast(*best) || doubted_.contains(*best)) {
    return ReadUpstreamAlone();
  }
  if (best && switches_ < kSwitchesMax) {
    SetAlone(false);
    SwitchTo(*best);
    peer_progress_at_ = now_;
  } else if (UpstreamUsable()) {
    ReadUpstreamAlone();
  }
}

void Download::Impl::SetAlone(bool alone) {
  for (Holder& holder : holders_) Uncount(holder);
  alone_ = alone;
  for (Holder& holder : holders_) Count(holder);
}

void Download::Impl::TrustUpstreamFrom(PieceIndex piece, const ChainState& after) {
  CancelPieceRequests();
  for (Holder& holder : holders_) Uncount(holder);
  std::optional<CandidateId> aside;
  for (int at = 0; at < static_cast<int>(holders_.size()); ++at) {
    Holder& holder = holders_[at];
    if (!Supports(holder) || holder.vouched <= piece.value + 1) continue;
    if (!aside) aside = choice_.Add(*chain_);
    if (aside) {
      doubted_.insert(*aside);
      holder.candidate = *aside;
    } else {
      Withdraw(at, Holder::State::kNot);
    }
  }
  std::vector<PieceIndex> pieces;
  std::vector<PieceIndex> states;
  for (PieceIndex i = piece + 1; i.value < have().size(); ++i) {
    if (have().Has(i)) pieces.push_back(i);
    if (chain_->Before(i) != nullptr) states.push_back(i);
  }
  Forget(pieces, states);
  for (const PieceIndex i : states) chain_->Clear(i);
  // The piece itself is fetched again; its state keeps those apart who say otherwise.
  chain_->Set(piece + 1, after);
  Learn({piece + 1});
  for (Holder& holder : holders_) Count(holder);
}

void Download::Impl::ReadUpstreamAlone() {
  SetAlone(true);
  const auto geometry = upstream_size_ && *upstream_size_ != chain_->geometry().blob()
                            ? CutBlob(*upstream_size_)
                            : chain_->geometry();
  GoBy(choice_.NewId(), Chain(geometry.value()));
}

}  // namespace shoal::fetch
