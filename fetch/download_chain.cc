// Chains that contradict each other: rule 5.
#include <algorithm>

#include "fetch/download_impl.h"

namespace shoal::fetch {

void Download::Impl::Adopt(Chain chain) {
  const Geometry geometry = chain.geometry();
  chain_ = std::move(chain);
  chain_id_ = choice_.NewId();
  picker_.Reset(geometry.count());
  from_upstream_ = PieceMap(geometry.count());
  Emit(UseGeometry{geometry});
  std::vector<PieceIndex> states;
  for (PieceIndex i{1}; i.value < geometry.count(); ++i) {
    if (chain_->Before(i) != nullptr) states.push_back(i);
  }
  Learn(states);
}

void Download::Impl::Learn(const std::vector<PieceIndex>& states) {
  for (const PieceIndex i : states) Emit(LearnState{i, *chain_->Before(i)});
}

std::optional<CandidateId> Download::Impl::FindPlace(CandidateId own, const Chain& vouched) const {
  const auto& chains = choice_.chains();
  const auto mine = chains.find(own);
  if (mine != chains.end() && !FirstConflict(mine->second, vouched)) return own;
  // While the upstream is read alone its chain takes nobody's states.
  if (!alone_ && !FirstConflict(*chain_, vouched)) return chain_id_;
  return choice_.FindAgreeing(vouched);
}

bool Download::Impl::Place(Holder& holder, const Chain& vouched) {
  if (!chain_) {
    // An upstream that has not even answered is given up for a holder that has.
    if (upstream_request_ != 0) Cancel(upstream_request_);
    Adopt(vouched);
    holder.candidate = chain_id_;
    return true;
  }
  const auto place = FindPlace(holder.candidate, vouched);
  if (!place) {
    const auto added = choice_.Add(vouched);
    if (added) holder.candidate = *added;
    return added.has_value();
  }
  holder.candidate = *place;
  if (*place == chain_id_) {
    Learn(Merge(*chain_, vouched));
  } else {
    Merge(*choice_.Find(*place), vouched);
  }
  return true;
}

int Download::Impl::Supporters(CandidateId id) const {
  return static_cast<int>(std::ranges::count_if(holders_, [&](const Holder& holder) {
    return holder.state == Holder::State::kHolding && holder.candidate == id;
  }));
}

bool Download::Impl::ClaimsLast(CandidateId id) const {
  return std::ranges::any_of(holders_, [&](const Holder& holder) {
    return holder.state == Holder::State::kHolding && holder.candidate == id && holder.claims_last;
  });
}

void Download::Impl::DropUnsupported() {
  std::vector<CandidateId> dropped;
  for (const auto& [id, chain] : choice_.chains()) {
    if (Supporters(id) == 0) dropped.push_back(id);
  }
  for (const CandidateId id : dropped) choice_.Remove(id);
}

std::vector<PieceIndex> Download::Impl::Losses(const Chain& chain) const {
  std::vector<PieceIndex> losses;
  for (PieceIndex i{0}; i.value < have().size(); ++i) {
    if (have().Has(i) && !StaysVerified(*chain_, chain, i)) losses.push_back(i);
  }
  return losses;
}

bool Download::Impl::AnyFromUpstream(const std::vector<PieceIndex>& pieces) const {
  return std::ranges::any_of(pieces, [&](PieceIndex i) { return from_upstream_.Has(i); });
}

bool Download::Impl::ContradictionKnown() const {
  return contradictions_ > 0 || !choice_.chains().empty();
}

void Download::Impl::ReconsiderChain() {
  DropUnsupported();
  if (!chain_ || alone_ || choice_.chains().empty()) return;
  if (have().Has(chain_->geometry().last())) RefuteOthers();
  // What set a candidate apart may be gone by now: then its holders join.
  while (const auto joined = choice_.FindAgreeing(*chain_)) {
    Learn(Merge(*chain_, choice_.Take(*joined)));
    for (Holder& holder : holders_) {
      if (holder.candidate != *joined) continue;
      holder.candidate = chain_id_;
      Count(holder);
    }
  }
  if (switches_ >= kSwitchesMax) return;
  for (const auto& [id, chain] : choice_.chains()) {
    if (ShouldSwitch(id, chain)) return SwitchTo(id);
  }
  if (!PeersStuck() || (UpstreamUsable() && !UpstreamStuck())) return;
  if (const auto best = BestCandidate()) {
    SwitchTo(*best);
    peer_progress_at_ = now_;
  }
}

bool Download::Impl::ShouldSwitch(CandidateId id, const Chain& chain) const {
  if (doubted_.contains(id) && UpstreamUsable()) return false;
  const PieceIndex conflict = FirstConflict(*chain_, chain).value_or(PieceIndex{0});
  const bool opposed = std::ranges::any_of(holders_, [&](const Holder& holder) {
    return Supports(holder) && holder.vouched > conflict.value;
  });
  const std::vector<PieceIndex> losses = Losses(chain);
  // Whoever answers first is not preferred to those whose answers are under way.
  const bool heard = !AnyFirstMapPending();
  if (!opposed) return losses.empty() || (heard && !AnyFromUpstream(losses));
  if (!heard) return false;
  if (ClaimsLast(id) == ClaimsLast(chain_id_)) {
    // While it costs nothing, more holders are believed than the one that answered first.
    return losses.empty() && Supporters(id) > Supporters(chain_id_);
  }
  if (!ClaimsLast(id)) return false;
  return end_failed_ || (losses.size() <= kCheapLoss && !AnyFromUpstream(losses));
}

bool Download::Impl::doubtful() const {
  if (finished_ || !chain_ || alone_ || choice_.chains().empty()) return false;
  if (have().Has(chain_->geometry().last())) return false;
  if (from_upstream_.count() == have().count()) return false;
  // Its last piece tells; without that the word of most has to do.
  if (ClaimsLast(chain_id_)) return true;
  return std::ranges::any_of(choice_.chains(), [&](const auto& candidate) {
    return Supporters(candidate.first) >= Supporters(chain_id_);
  });
}

std::optional<CandidateId> Download::Impl::BestCandidate() const {
  std::optional<CandidateId> best;
  for (const auto& [id, chain] : choice_.chains()) {
    if (Supporters(id) == 0) continue;
    const auto worth = [&](CandidateId c) { return std::pair(ClaimsLast(c), Supporters(c)); };
    if (!best || worth(id) > worth(*best)) best = id;
  }
  return best;
}

void Download::Impl::SwitchTo(CandidateId id) {
  ++switches_;
  GoBy(id, choice_.Take(id));
}

void Download::Impl::GoBy(CandidateId id, Chain chain) {
  CancelPieceRequests();
  for (Holder& holder : holders_) Uncount(holder);
  Chain old = std::move(*chain_);
  chain_.emplace(std::move(chain));
  const CandidateId old_id = std::exchange(chain_id_, id);
  if (old.geometry() != chain_->geometry()) {
    for (PieceIndex i{0}; i.value < have().size(); ++i) {
      if (have().Has(i)) Waste(old.geometry().LengthOf(i));
    }
    picker_.Reset(chain_->geometry().count());
    from_upstream_ = PieceMap(chain_->geometry().count());
    Emit(UseGeometry{chain_->geometry()});
  } else {
    std::vector<PieceIndex> pieces;
    std::vector<PieceIndex> states;
    for (PieceIndex i{0}; i.value < have().size(); ++i) {
      if (have().Has(i) && !StaysVerified(old, *chain_, i)) pieces.push_back(i);
      if (old.Before(i) != nullptr && chain_->Before(i) == nullptr) states.push_back(i);
    }
    Forget(pieces, states);
  }
  std::vector<PieceIndex> learned;
  for (PieceIndex i{1}; i.value < chain_->geometry().count(); ++i) {
    const ChainState* state = chain_->Before(i);
    const bool same = old.geometry() == chain_->geometry() && old.Before(i) != nullptr &&
                      state != nullptr && *old.Before(i) == *state;
    if (state != nullptr && !same) learned.push_back(i);
  }
  Learn(learned);
  if (Supporters(old_id) > 0 && choice_.chains().size() < kCandidatesMax) {
    choice_.PutBack(old_id, std::move(old));
  }
  for (int at = 0; at < static_cast<int>(holders_.size()); ++at) {
    Holder& holder = holders_[at];
    if (holder.state != Holder::State::kHolding) continue;
    const bool placed = holder.candidate == id || choice_.Find(holder.candidate) != nullptr;
    if (!placed) Withdraw(at, Holder::State::kNot);
    Count(holder);
  }
  end_failed_ = held_ = false;
  unproven_ = unproven_seen_ = Bytes(0);
}

void Download::Impl::Forget(const std::vector<PieceIndex>& pieces,
                            const std::vector<PieceIndex>& states) {
  if (pieces.empty() && states.empty()) return;
  for (const PieceIndex i : pieces) {
    Waste(LengthOf(i));
    picker_.ClearHere(i);
    from_upstream_.Clear(i);
  }
  Emit(ForgetPieces{pieces, states});
}

void Download::Impl::RefuteOthers() {
  const Geometry& geometry = chain_->geometry();
  std::vector<CandidateId> refuted;
  for (const auto& [id, chain] : choice_.chains()) {
    const Geometry& other = chain.geometry();
    const ChainState* end = other == geometry ? chain.Before(geometry.last()) : nullptr;
    const bool ends_elsewhere = end != nullptr && *end != *chain_->Before(geometry.last());
    // The digest covers the length.
    if (other.blob() != geometry.blob() || ends_elsewhere) refuted.push_back(id);
  }
  for (const CandidateId id : refuted) {
    const Geometry other = choice_.Find(id)->geometry();
    for (int at = 0; at < static_cast<int>(holders_.size()); ++at) {
      const Holder& holder = holders_[at];
      if (holder.state != Holder::State::kHolding || holder.candidate != id) continue;
      // Whoever lists the last piece says that it verified it, from the state that it vouches for.
      // Others may have been lied to: their candidate holds the states of others too.
      if (holder.claims_last && holder.vouched >= other.count()) {
        Ban(at, "it vouches for a chain that does not lead to the digest");
      } else {
        Withdraw(at, Holder::State::kNot);
      }
    }
    choice_.Remove(id);
  }
}

}  // namespace shoal::fetch
