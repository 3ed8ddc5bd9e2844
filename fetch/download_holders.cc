// Holders: whom we know, what their maps say, and when they may be asked.
#include <algorithm>
#include <cstring>
#include <utility>

#include "fetch/download_impl.h"

namespace shoal::fetch {
namespace {

// Ids are hashes: their first bytes tell nearly all apart.
std::uint64_t HeadOf(const PeerId& peer) {
  std::uint64_t head = 0;
  std::memcpy(&head, peer.bytes.data(), sizeof head);
  return head;
}

char MarkOf(const PeerId& peer) { return static_cast<char>(peer.bytes[0]); }

std::string Mismatch(PieceIndex piece) {
  return "piece " + std::to_string(piece.value) + " does not match the chain it vouches for";
}

}  // namespace

// The table has up to a few hundred rows, and each word of a peer looks for it there.
int Download::Impl::FindHolder(const PeerId& peer) const {
  const std::uint64_t head = HeadOf(peer);
  for (std::size_t at = 0; (at = marks_.find(MarkOf(peer), at)) != std::string::npos; ++at) {
    if (heads_[at] == head && holders_[at].id == peer) return static_cast<int>(at);
  }
  return -1;
}

void Download::Impl::SetState(int at, Holder::State state) {
  Holder& holder = holders_[at];
  if (holder.state == state) return;
  const auto list = [&](Holder::State of) -> std::vector<int>* {
    if (of == Holder::State::kHolding) return &holding_;
    if (of == Holder::State::kAsking) return &asking_;
    return of == Holder::State::kQueued ? &queued_ : nullptr;
  };
  if (auto* from = list(holder.state)) from->erase(std::ranges::lower_bound(*from, at));
  if (auto* to = list(state)) to->insert(std::ranges::lower_bound(*to, at), at);
  holder.state = state;
  room_changed_ = true;
  if (state == Holder::State::kHolding) WakeAt(now_);
}

void Download::Impl::AddHolders(const std::vector<PeerId>& peers) {
  for (const PeerId& peer : peers) {
    const int known = FindHolder(peer);
    if (known >= 0) {
      Holder& holder = holders_[known];
      const bool again = holder.state == Holder::State::kNot && now_ >= holder.map_at;
      if (again || holder.state == Holder::State::kGone) SetState(known, Holder::State::kQueued);
      continue;
    }
    Holder fresh(peer, PeerScore(limits_.stall, kPenaltyMax));
    if (holders_.size() < kHoldersKept * static_cast<std::size_t>(limits_.holders_max)) {
      if (lead_ == peer) lead_at_ = static_cast<int>(holders_.size());
      queued_.push_back(static_cast<int>(holders_.size()));
      room_changed_ = true;
      holders_.push_back(std::move(fresh));
      heads_.push_back(HeadOf(peer));
      marks_.push_back(MarkOf(peer));
      continue;
    }
    // The table is full: whoever turned out to have nothing makes room. Bans are remembered.
    const auto any_of = [this](Holder::State one, Holder::State other) {
      return std::ranges::find_if(holders_, [&](const Holder& holder) {
        return holder.state == one || holder.state == other;
      });
    };
    auto idle = any_of(Holder::State::kNot, Holder::State::kGone);
    // For the lead so does whoever was not asked yet.
    if (idle == holders_.end() && lead_ == peer) {
      idle = any_of(Holder::State::kQueued, Holder::State::kQueued);
    }
    if (idle == holders_.end()) return;
    fresh.state = idle->state;
    *idle = std::move(fresh);
    const auto at = static_cast<int>(idle - holders_.begin());
    heads_[at] = HeadOf(peer);
    marks_[at] = MarkOf(peer);
    if (lead_ == peer) lead_at_ = at;
    SetState(at, Holder::State::kQueued);
  }
}

void Download::Impl::AskMaps() {
  const Holder* const lead = Lead();
  if (lead != nullptr && lead->state == Holder::State::kNot && now_ >= lead->map_at) {
    SetState(lead_at_, Holder::State::kQueued);
  }
  const bool due = room_changed_ || now_ >= first_maps_at_;
  if (due && !queued_.empty()) AskQueued();
  if (now_ < holders_at_) return;
  for (const int at : holding_) {
    const Holder& holder = holders_[at];
    const bool old = holder.map_request == 0 && now_ >= holder.map_at;
    if (old && holder.score.MayAsk(now_)) AskMap(at, holder.known);
  }
  LookAtHolders();
}

void Download::Impl::LookAtHolders() {
  holders_at_ = kNever;
  const auto at = [&](Time time) {
    if (time > now_) WakeAt(time);
  };
  if (first_maps_at_ != kNever) at(first_maps_at_);
  if (!queued_.empty()) at(room_at_);
  for (const int index : holding_) {
    const Holder& holder = holders_[index];
    at(holder.score.usable_at());
    at(holder.busy_until);
    if (holder.map_request == 0) at(holder.map_at);
  }
}

// Who answered that it has nothing makes place for another at once.
int Download::Impl::ListedLately() {
  if (now_ >= listed_at_ + kListedPause) listed_at_ = now_;
  const auto lately = [this](int at) {
    return holders_[at].listed && holders_[at].first_asked >= listed_at_;
  };
  return static_cast<int>(std::ranges::count_if(asking_, lately) +
                          std::ranges::count_if(holding_, [&](int at) {
                            return lately(at) && holders_[at].known > 0;
                          }));
}

void Download::Impl::AskQueued() {
  auto active = static_cast<int>(asking_.size());
  for (const int at : holding_) {
    const Holder& holder = holders_[at];
    // One that failed before it ever delivered takes no place from those not tried yet.
    const bool failing = !holder.score.proven() && holder.score.failures_in_row() > 0;
    if (holder.known > 0 && !failing) ++active;
  }
  if (now_ >= first_maps_since_ + kFirstMapsTime) {
    const auto times = (now_ - first_maps_since_) / kFirstMapsTime;
    first_maps_ =
        std::max<std::int64_t>(0, first_maps_ - times * kFirstMapsAnew * limits_.holders_max);
    first_maps_since_ = now_;
  }
  first_maps_at_ = kNever;
  int listed = ListedLately();
  std::vector<int> asked;
  for (const int at : queued_) {
    // The lead has a place of its own: from it comes what nobody else has.
    if (lead_ != holders_[at].id) {
      if (active >= limits_.holders_max) continue;
      if (holders_[at].listed && listed++ >= kListedAtOnce) {
        first_maps_at_ = std::min(first_maps_at_, listed_at_ + kListedPause);
        WakeAt(first_maps_at_);
        ++active;  // its place is kept: others that come meanwhile have less
        continue;
      }
      if (first_maps_ >= kFirstMapsMax * limits_.holders_max) {
        first_maps_at_ = std::min(first_maps_at_, first_maps_since_ + kFirstMapsTime);
        WakeAt(first_maps_at_);
        continue;
      }
      ++first_maps_;
    }
    asked.push_back(at);
    ++active;
  }
  for (const int at : asked) {
    SetState(at, Holder::State::kAsking);
    holders_[at].first_asked = now_;
    AskMap(at, 0);
  }
  room_changed_ = false;
}

void Download::Impl::MakeRoom() {
  if (!chain_ || queued_.empty() || now_ < room_at_ || asked_pieces_ >= pipeline_.depth()) return;
  if (first_maps_ >= kFirstMapsMax * limits_.holders_max) return;
  int helpful = 0;
  int least = -1;
  int busiest = -1;
  for (const int at : holding_) {
    const Holder& holder = holders_[at];
    helpful += CanHelp(holder) && MayAsk(holder) ? 1 : 0;
    if (!holder.counted || lead_ == holder.id || holder.asked_pieces > 0) continue;
    if (holder.useful > 0) {
      if (now_ < holder.busy_until &&
          (busiest < 0 || holder.busy_until > holders_[busiest].busy_until)) {
        busiest = at;
      }
    } else if (least < 0 || holder.known < holders_[least].known) {
      least = at;
    }
  }
  if (least < 0) least = busiest;
  const int active = static_cast<int>(holding_.size() + asking_.size());
  if (least < 0 || active < limits_.holders_max || 2 * helpful > limits_.holders_max) return;
  const bool pays = newcomer_ < 0 || CanHelp(holders_[newcomer_]);
  room_pause_ = pays ? kRoomPause : std::min(2 * room_pause_, kRoomPauseMax);
  room_at_ = now_ + room_pause_;
  WakeAt(room_at_);
  Withdraw(least, Holder::State::kNot);
  newcomer_ = queued_[rng_.Below(queued_.size())];
  ++first_maps_;
  SetState(newcomer_, Holder::State::kAsking);
  AskMap(newcomer_, 0);
}

void Download::Impl::AskMap(int at, std::int32_t known) {
  const Duration wait = known > 0 ? kMapWait : Duration(0);
  Request& request = NewRequest(Request::Kind::kMap, at, limits_.stall + wait);
  Holder& holder = holders_[at];
  request.known = known;
  holder.map_request = request.id;
  holder.map_sent = now_;
  holder.overtaken = false;
  Emit(FetchMap{request.id, holder.id, known});
}

void Download::Impl::OnMap(RequestId id, const HolderMap& map) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.kind != Request::Kind::kMap) return;
  const int at = found->second.holder;
  const std::int32_t known = found->second.known;
  Close(id);
  Holder& holder = holders_[at];
  if (!holder.overtaken || map.have.count() >= holder.known) return TakeMap(at, map, known);
  // It was written before the news that we have.
  holder.map_at = std::max(now_, holder.map_sent + MapPause(holder));
  WakeAt(holder.map_at);
}

void Download::Impl::OnNews(const PeerId& peer, const HolderMap& map) {
  const int at = FindHolder(peer);
  if (at < 0) return;
  Holder& holder = holders_[at];
  if (holder.state != Holder::State::kHolding || holder.dispute) return;
  if (map.have.count() <= holder.known) return;
  if (holder.map_request == 0) {
    holder.map_sent = now_;
  } else {
    holder.overtaken = true;
  }
  TakeMap(at, map, holder.known);
}

void Download::Impl::TakeMap(int at, const HolderMap& map, std::int32_t known) {
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
  if (lost_lead_ == holder.id) lost_lead_.reset();
  const CandidateId before = holder.candidate;
  if (holder.state == Holder::State::kAsking && map.have.count() > 0) {
    first_maps_ = std::max<std::int64_t>(0, first_maps_ - 1);
  }
  SetState(at, Holder::State::kHolding);
  if (!Place(holder, map.chain)) return Withdraw(at, Holder::State::kNot);
  if (!Supports(holder)) Uncount(holder);
  if (holder.candidate != before && holder.asked_pieces > 0) {
    // It was asked under a chain that it no longer stands behind.
    std::vector<RequestId> stale;
    for (const auto& [id, request] : requests_) {
      if (request.kind == Request::Kind::kPieces && request.holder == at) stale.push_back(id);
    }
    for (const RequestId id : stale) Cancel(id);
  }
  const bool grew = map.have.count() > known;
  room_changed_ |= holder.known == 0 || map.have.count() == 0;
  const PieceIndex last = geometry.last();
  holder.vouched = map.chain.known_prefix();
  holder.known = map.have.count();
  holder.claims_last = map.have.Has(last);
  // A piece can be verified alone if the states at both its ends are vouched for.
  PieceMap can = map.have;
  if (holder.vouched < geometry.count()) can.ClearFrom({holder.vouched - 1});
  Recount(holder, std::move(can));
  if (map.have.all() && map.chain.complete()) {
    holder.map_at = kNever;
  } else if (holder.known == 0) {
    holder.map_at = now_ + (PeersStuck() ? kMapPauseIdle : kMapPauseEmpty);
  } else {
    holder.grew = grew;
    const Duration pause = grew ? MapPause(holder) : kMapPauseIdle;
    holder.map_at = std::max(now_, holder.map_sent + pause);
  }
  WakeAt(holder.map_at);
}

void Download::Impl::HurryMaps() {
  // Whoever reads the upstream has what it lacks from there.
  if (!chain_ || alone_ || upstream_request_ != 0 || asked_pieces_ >= pipeline_.depth()) return;
  for (const int at : holding_) {
    Holder& holder = holders_[at];
    if (holder.map_request != 0 || !holder.grew || holder.map_at == kNever) continue;
    const Time soon = std::max(now_, holder.map_sent + PauseAt(kHungryPace));
    if (soon >= holder.map_at) continue;
    holder.map_at = soon;
    WakeAt(soon);
  }
}

Duration Download::Impl::MapPause(const Holder& holder) const {
  if (!pipeline_.piece_time()) {
    return upstream_request_ != 0 ? kMapPauseIdle : kLeadPace.shortest;
  }
  return PauseAt(lead_ == holder.id ? kLeadPace : kOthersPace);
}

Duration Download::Impl::PauseAt(const MapPace& pace) const {
  const Duration piece = pipeline_.piece_time().value_or(Duration(0));
  return std::clamp(piece * pace.pieces, pace.shortest, pace.longest);
}

void Download::Impl::Recount(Holder& holder, PieceMap can) {
  if (!holder.counted) {
    holder.can = std::move(can);
    return Count(holder);
  }
  picker_.ChangeHolder(holder.can, can);
  holder.can = std::move(can);
  holder.useful = holder.can.CountNotIn(have());
}

void Download::Impl::OnMapFailed(const Request& request, const Error& error) {
  Holder& holder = holders_[request.holder];
  if (error.code == Code::kRetryLater) MissLead(holder);
  const bool was_holding = holder.state == Holder::State::kHolding;
  if (!was_holding || error.code == Code::kNotFound || error.code == Code::kDenied) {
    Withdraw(request.holder, Holder::State::kNot);
    if (lead_ == holder.id && error.code == Code::kNotFound) {
      // It fetches the blob, as it leads; before we knew that it may not have begun.
      holder.map_at = now_ + (request.asked_at < lead_named_ ? Duration(0) : kLeadAgain);
    }
    return;
  }
  holder.map_at = now_ + kMapPauseIdle;
  WakeAt(now_);
  Penalize(request.holder, error);
}

void Download::Impl::Penalize(int at, const Error& error) {
  Holder& holder = holders_[at];
  if (error.code == Code::kRetryLater) MissLead(holder);
  holder.score.OnFailure(now_);
  room_changed_ = true;
  WakeAt(now_);
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
  if (holder.map_request != 0) own.push_back(holder.map_request);
  for (const Request* const request : byte_requests_) {
    if (request->holder == at) own.push_back(request->id);
  }
  for (const RequestId id : own) Cancel(id);
  Uncount(holder);
  SetState(at, state);
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
  holder.useful = holder.can.CountNotIn(have());
  holder.counted = true;
}

void Download::Impl::Uncount(Holder& holder) {
  if (!holder.counted) return;
  picker_.RemoveHolder(holder.can);
  holder.counted = false;
}

bool Download::Impl::AwaitsFirstMap() const {
  if (!we_lead_) return AnyFirstMapPending();
  return std::ranges::any_of(asking_,
                             [this](int at) { return holders_[at].map_sent <= lead_since_; });
}

bool Download::Impl::WorthWaiting() const {
  if (AwaitsFirstMap()) return true;
  return std::ranges::any_of(holding_, [&](int at) {
    const Holder& holder = holders_[at];
    if (!holder.counted || !holder.score.MayAsk(now_)) return false;
    if (CanHelp(holder)) return true;
    // A swarm grows from its lead: it is not worth waiting for when we are that, or nobody is.
    return holder.known < have().size() && (!limits_.arbitrated || !swarm_heard_ || lead_);
  });
}

}  // namespace shoal::fetch
