// Holders: whom we know, what their maps say, and when they may be asked.
#include <algorithm>
#include <utility>

#include "fetch/download_impl.h"

namespace shoal::fetch {
namespace {

std::string Mismatch(PieceIndex piece) {
  return "piece " + std::to_string(piece.value) + " does not match the chain it vouches for";
}

}  // namespace

int Download::Impl::FindHolder(const PeerId& peer) const {
  const auto found = std::ranges::find(holders_, peer, &Holder::id);
  return found == holders_.end() ? -1 : static_cast<int>(found - holders_.begin());
}

void Download::Impl::AddHolders(const std::vector<PeerId>& peers) {
  for (const PeerId& peer : peers) {
    const int known = FindHolder(peer);
    if (known >= 0) {
      Holder& holder = holders_[known];
      const bool again = holder.state == Holder::State::kNot && now_ >= holder.map_at;
      if (again || holder.state == Holder::State::kGone) holder.state = Holder::State::kQueued;
      continue;
    }
    Holder fresh(peer, PeerScore(limits_.stall, kPenaltyMax));
    if (holders_.size() < kHoldersKept * static_cast<std::size_t>(limits_.holders_max)) {
      holders_.push_back(std::move(fresh));
      continue;
    }
    // The table is full: whoever turned out to have nothing makes room. Bans are remembered.
    const auto idle = std::ranges::find_if(holders_, [](const Holder& holder) {
      return holder.state == Holder::State::kNot || holder.state == Holder::State::kGone;
    });
    if (idle == holders_.end()) return;
    *idle = std::move(fresh);
  }
}

void Download::Impl::AskMaps() {
  int active = 0;
  for (const Holder& holder : holders_) {
    // One that failed before it ever delivered takes no place from those not tried yet.
    const bool failing = !holder.score.proven() && holder.score.failures_in_row() > 0;
    const bool useful = holder.state == Holder::State::kHolding && holder.known > 0 && !failing;
    if (useful || holder.state == Holder::State::kAsking) ++active;
  }
  for (int at = 0; at < static_cast<int>(holders_.size()); ++at) {
    Holder& holder = holders_[at];
    const bool leads = lead_ == holder.id && holder.state == Holder::State::kNot;
    if (leads && now_ >= holder.map_at) holder.state = Holder::State::kQueued;
    // The lead has a place of its own: from it comes what nobody else has.
    const bool has_place = active < limits_.holders_max || lead_ == holder.id;
    if (holder.state == Holder::State::kQueued && has_place) {
      holder.state = Holder::State::kAsking;
      ++active;
      AskMap(at, 0);
    } else if (holder.state == Holder::State::kHolding && holder.map_request == 0 &&
               now_ >= holder.map_at && holder.score.MayAsk(now_)) {
      AskMap(at, holder.known);
    }
  }
}

void Download::Impl::AskMap(int at, std::int32_t known) {
  const Duration wait = known > 0 ? kMapWait : Duration(0);
  Request& request = NewRequest(Request::Kind::kMap, at, limits_.stall + wait);
  Holder& holder = holders_[at];
  holder.map_request = request.id;
  holder.map_sent = now_;
  Emit(FetchMap{request.id, holder.id, known});
}

void Download::Impl::OnMap(RequestId id, const HolderMap& map) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.kind != Request::Kind::kMap) return;
  const int at = found->second.holder;
  Close(id);
  TakeMap(at, map);
}

void Download::Impl::TakeMap(int at, const HolderMap& map) {
  Holder& holder = holders_[at];
  const Geometry& geometry = map.chain.geometry();
  if (geometry.blob() == Bytes(0) || map.have.size() != geometry.count()) {
    // The empty blob's digest was settled at Start; the other is no map at all.
    return Ban(at, "its map cannot be true");
  }
  if (holder.dispute) {
    const Dispute dispute = *std::exchange(holder.dispute, std::nullopt);
    if (Stands(dispute, map)) return Ban(at, Mismatch(dispute.piece));
    holder.excused = true;
  }
  if (!any_map_) peer_progress_at_ = now_;
  any_map_ = true;
  Uncount(holder);
  const CandidateId before = holder.candidate;
  holder.state = Holder::State::kHolding;
  if (!Place(holder, map.chain)) return Withdraw(at, Holder::State::kNot);
  if (holder.candidate != before && holder.asked_pieces > 0) {
    // It was asked under a chain that it no longer stands behind.
    std::vector<RequestId> stale;
    for (const auto& [id, request] : requests_) {
      if (request.kind == Request::Kind::kPieces && request.holder == at) stale.push_back(id);
    }
    for (const RequestId id : stale) Cancel(id);
  }
  const bool grew = map.have.count() > holder.known;
  const PieceIndex last = geometry.last();
  holder.vouched = map.chain.known_prefix();
  holder.known = map.have.count();
  holder.claims_last = map.have.Has(last);
  holder.can = map.have;
  for (PieceIndex i{0}; i < last; ++i) {
    if (i.value + 1 >= holder.vouched && holder.can.Has(i)) holder.can.Clear(i);
  }
  if (holder.vouched < geometry.count()) holder.can.Clear(last);
  Count(holder);
  if (map.have.all() && map.chain.complete()) {
    holder.map_at = kNever;
  } else if (holder.known == 0) {
    holder.map_at = now_ + (PeersStuck() ? kMapPauseIdle : kMapPauseEmpty);
  } else {
    const Duration pause = MapPause();
    holder.map_at = std::max(now_, holder.map_sent + (grew ? pause : kMapPauseIdle));
  }
}

Duration Download::Impl::MapPause() const {
  return std::clamp(pipeline_.piece_time().value_or(kMapPauseMin), kMapPauseMin, kMapPauseMax);
}

void Download::Impl::OnMapFailed(const Request& request, const Error& error) {
  Holder& holder = holders_[request.holder];
  const bool was_holding = holder.state == Holder::State::kHolding;
  if (!was_holding || error.code == Code::kNotFound || error.code == Code::kDenied) {
    Withdraw(request.holder, Holder::State::kNot);
    if (lead_ == holder.id && error.code == Code::kNotFound) holder.map_at = now_ + kLeadAgain;
    return;
  }
  holder.map_at = now_ + kMapPauseIdle;
  Penalize(request.holder, error);
}

void Download::Impl::Penalize(int at, const Error& error) {
  Holder& holder = holders_[at];
  holder.score.OnFailure(now_);
  peer_error_ = error.In("peer " + holder.id.Short());
  if (error.code == Code::kDenied || error.code == Code::kNotFound) {
    Withdraw(at, Holder::State::kNot);
  }
  if (!holder.score.proven() && holder.score.failures_in_row() >= kFailuresMax) {
    Withdraw(at, Holder::State::kOut);
  }
}

void Download::Impl::Ban(int at, const std::string& reason) {
  const PeerId peer = holders_[at].id;
  peer_error_ = Error{Code::kCorrupt, "peer " + peer.Short() + ": " + reason};
  Withdraw(at, Holder::State::kOut);
  Emit(BanPeer{peer, limits_.ban, reason});
}

void Download::Impl::OnMismatch(int at, PieceIndex piece) {
  Holder& holder = holders_[at];
  const PieceIndex last = chain_->geometry().last();
  // Whoever has the whole blob has proved it: it has nothing to change its mind about.
  const bool whole = holder.known == last.value + 1 && holder.vouched == last.value + 1;
  if (whole || holder.excused) return Ban(at, Mismatch(piece));
  Dispute dispute{piece, *chain_->Before(piece), std::nullopt};
  if (piece < last) dispute.after = *chain_->Before(piece + 1);
  Withdraw(at, Holder::State::kQueued);
  holder.dispute = dispute;
}

bool Download::Impl::Stands(const Dispute& dispute, const HolderMap& map) {
  const PieceIndex piece = dispute.piece;
  if (piece.value >= map.have.size() || !map.have.Has(piece)) return false;
  const ChainState* before = map.chain.Before(piece);
  if (before == nullptr || *before != dispute.before) return false;
  if (!dispute.after) return true;
  const PieceIndex next = piece + 1;
  const ChainState* after = next.value < map.have.size() ? map.chain.Before(next) : nullptr;
  return after != nullptr && *after == *dispute.after;
}

void Download::Impl::Withdraw(int at, Holder::State state) {
  Holder& holder = holders_[at];
  std::vector<RequestId> own;
  for (const auto& [id, request] : requests_) {
    if (request.holder == at) own.push_back(id);
  }
  for (const RequestId id : own) Cancel(id);
  Uncount(holder);
  holder.state = state;
  holder.candidate = 0;
  holder.vouched = 0;
  holder.known = 0;
  holder.claims_last = false;
  holder.can = PieceMap();
  holder.map_at = now_ + kMapPauseIdle;
}

bool Download::Impl::Supports(const Holder& holder) const {
  return chain_ && holder.state == Holder::State::kHolding && holder.candidate == chain_id_;
}

void Download::Impl::Count(Holder& holder) {
  if (holder.counted || alone_ || !Supports(holder)) return;
  picker_.AddHolder(holder.can);
  holder.counted = true;
}

void Download::Impl::Uncount(Holder& holder) {
  if (!holder.counted) return;
  picker_.RemoveHolder(holder.can);
  holder.counted = false;
}

bool Download::Impl::CanHelp(const Holder& holder) const {
  return holder.counted && holder.can.AnyNotIn(have());
}

bool Download::Impl::AnyFirstMapPending() const {
  return std::ranges::any_of(
      holders_, [](const Holder& holder) { return holder.state == Holder::State::kAsking; });
}

bool Download::Impl::WorthWaiting() const {
  if (AnyFirstMapPending()) return true;
  return std::ranges::any_of(holders_, [&](const Holder& holder) {
    if (!holder.counted || !holder.score.MayAsk(now_)) return false;
    if (CanHelp(holder)) return true;
    // A swarm grows from its lead: it is not worth waiting for when we are that, or nobody is.
    return holder.known < have().size() && (!limits_.arbitrated || !swarm_heard_ || lead_);
  });
}

}  // namespace shoal::fetch
