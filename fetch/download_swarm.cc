// The swarm: who else fetches the blob, who leads, and holders that are busy. docs/SWARM.md.
#include <algorithm>
#include <utility>

#include "fetch/download_impl.h"
#include "index/swarm_table.h"

namespace shoal::fetch {

void Download::Impl::OnMember(const PeerId& peer) {
  const int at = FindHolder(peer);
  if (at >= 0) {
    Holder& holder = holders_[at];
    holder.member = true;
    const bool idle = holder.state == Holder::State::kNot || holder.state == Holder::State::kGone;
    if (idle && now_ >= holder.map_sent + kMemberPause) SetState(at, Holder::State::kQueued);
    return;
  }
  AddHolders({peer});
  if (const int added = FindHolder(peer); added >= 0) holders_[added].member = true;
}

void Download::Impl::OnSwarm(const SwarmView& view) {
  swarm_asking_ = swarm_silent_ = false;
  swarm_heard_ = true;
  if (lead_ != view.lead) lead_named_ = now_;
  lead_ = view.lead;
  if (lead_ && lead_ != lost_lead_) lost_lead_.reset();
  const bool read_in_silence = upstream_request_ != 0 && read_in_silence_;
  if ((we_lead_ && !view.we_lead) || (read_in_silence && lead_)) {
    LoseLead();
  } else {
    if (!we_lead_ && view.we_lead) lead_since_ = now_;
    we_lead_ = view.we_lead;
  }
  if (!we_lead_) {
    // The usual pace while a swarm begins, and then by doubling towards the one that we are told;
    // without a lead there is none to be replaced, and a wish for it would be told at once.
    const bool begins = have().count() == 0 && ++swarm_asked_ < kSwarmAsksQuick;
    const Duration least = lead_ || swarm_wished_ ? index::kSwarmPace : kSwarmPaceCalm;
    const Duration told = std::clamp(view.pace, least, index::kSwarmPaceMax);
    swarm_pace_ = begins ? index::kSwarmPace : std::min(told, 2 * swarm_pace_);
    if (!begins) swarm_at_ = now_ + AboutAs(swarm_pace_);
  }
  // One that we miss loses its lease soon, if it is dead.
  if (lead_ && lost_lead_) swarm_at_ = std::min(swarm_at_, now_ + view.lease + kLeaseEnds);
  if (lead_) {
    // It may have said that it has nothing before it knew that it leads.
    lead_at_ = FindHolder(*lead_);
    if (lead_at_ >= 0) holders_[lead_at_].map_at = now_;
    room_changed_ = true;
    WakeAt(now_);
    OnMember(*lead_);
  }
  for (const PeerId& peer : view.members) OnMember(peer);
  if (!view.lead_waits) {
    lead_waits_since_.reset();
  } else {
    // It goes to the registry in its turn: nobody is to go there in its place.
    if (!lead_waits_since_) lead_waits_since_ = now_;
    if (now_ < *lead_waits_since_ + index::kLeadWaitMax) progress_at_ = now_;
  }
}

bool Download::Impl::WaitsForUpstream() const {
  const auto found = requests_.find(upstream_request_);
  return found != requests_.end() && found->second.waited_at &&
         now_ < *found->second.waited_at + kWaitingFresh;
}

void Download::Impl::MeetAgain() {
  for (int at = 0; at < static_cast<int>(holders_.size()); ++at) {
    const Holder& holder = holders_[at];
    const bool idle = holder.state == Holder::State::kNot;
    if (holder.member && idle) SetState(at, Holder::State::kQueued);
  }
}

void Download::Impl::OnSwarmFailed() {
  swarm_asking_ = false;
  swarm_heard_ = swarm_silent_ = true;
  lead_.reset();
}

void Download::Impl::MissLead(const Holder& holder) {
  if (!limits_.arbitrated || lead_ != holder.id) return;
  lost_lead_ = lead_;
  if (now_ >= missed_again_) lead_missed_ = true;
}

bool Download::Impl::LeadIsNeeded() const {
  if (!lost_lead_ || lead_ || !chain_ || AwaitsFirstMap()) return false;
  for (PieceIndex i = have().FirstAbsent(); i.value < have().size();
       i = have().FirstAbsent(i + 1)) {
    if (picker_.asked(i) == 0 && !IsHeld(i)) return true;
  }
  return false;
}

bool Download::Impl::IsHeld(PieceIndex piece) const {
  int holders = picker_.holders(piece);
  if (holders == 0) return false;
  for (const int at : holding_) {
    const Holder& holder = holders_[at];
    if (!holder.counted || holder.score.failures_in_row() == 0) continue;
    holders -= holder.can.Has(piece) ? 1 : 0;
  }
  return holders > 0;
}

void Download::Impl::LoseLead() {
  we_lead_ = false;
  if (upstream_request_ != 0) Cancel(upstream_request_);
}

bool Download::Impl::WishesLead() const {
  if (!limits_.arbitrated || !has_upstream_ || upstream_error_) return false;
  if (upstream_request_ != 0) return true;
  // Whether it is needed will be known soon: it is not passed around meanwhile.
  if (we_lead_ && (AwaitsFirstMap() || !Settled())) return true;
  if (now_ < modest_until_) return false;
  // At the start nobody has answered yet: whoever knows of no holder will need a lead.
  return UpstreamWanted() || LeadIsNeeded() || (holders_.empty() && !chain_);
}

bool Download::Impl::MayAskUpstream() const {
  // A lead that is being given back may be another's by now.
  if (!limits_.arbitrated || (we_lead_ && swarm_wished_)) return true;
  if (swarm_heard_ && swarm_silent_) return true;
  return now_ >= progress_at_ + limits_.lead_budget;
}

void Download::Impl::AskArbiters() {
  if (!limits_.arbitrated) return;
  if (swarm_asking_ && now_ >= swarm_asked_at_ + kSwarmSilence) OnSwarmFailed();
  if (swarm_asking_) return;
  const bool wishes = WishesLead();
  // A wish that was not told yet, and a lead that is not needed, are told at once; all else at the
  // swarm's pace.
  const bool news = (wishes ? !swarm_wished_ : we_lead_) || lead_missed_;
  if (!news && now_ < swarm_at_) return;
  if (news) swarm_pace_ = index::kSwarmPace;
  swarm_asking_ = true;
  swarm_wished_ = wishes;
  swarm_asked_at_ = now_;
  swarm_at_ = now_ + AboutAs(index::kSwarmPace);
  if (lead_missed_) missed_again_ = now_ + index::kSwarmPace;
  Emit(AskSwarm{wishes, false, false, sources_.upstream.count(), WaitsForUpstream(),
                std::exchange(lead_missed_, false)});
}

// On average the pace, so that members do not ask in step: from three quarters of the usual one on,
// as in a large swarm somebody should always be about to ask.
Duration Download::Impl::AboutAs(Duration pace) {
  const Duration least = index::kSwarmPace * 3 / 4;
  const auto range = static_cast<std::uint64_t>((2 * (pace - least)).count());
  return least + Duration(static_cast<std::int64_t>(rng_.Below(range)));
}

void Download::Impl::EndSwarm(bool whole) {
  we_lead_ = false;
  if (!limits_.arbitrated) return;
  Emit(AskSwarm{false, whole, !whole, sources_.upstream.count()});
}

void Download::Impl::OnChosen(RequestId id, PieceIndex piece) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.kind != Request::Kind::kPieces) return;
  Request& request = found->second;
  request.last_byte = now_;
  const auto option = std::ranges::find(request.options, piece);
  if (option != request.options.end() && request.marked.size() == 1) {
    request.expected = LengthOf(piece);
    std::swap(*option, request.marked.front());
    request.next = piece;
    request.end = piece + 1;
  }
  DropOptions(request);
}

void Download::Impl::DropOptions(Request& request) {
  for (const PieceIndex i : request.options) picker_.Release(i);
  request.options.clear();
}

// Some of the window and some of beyond it; of the free pieces always most stay free for others.
void Download::Impl::AddOptions(Request& request) {
  const Holder& holder = holders_[request.holder];
  if (limits_.options_max < 1) return;
  request.options = picker_.PickOptions(holder.can, limits_.options_max);
  for (const PieceIndex i : request.options) picker_.MarkAsked(i);
  // Any of them may come, and the last piece is shorter.
  if (!request.options.empty()) request.expected = chain_->geometry().piece();
}

void Download::Impl::OnBusy(RequestId id, Duration retry, const std::vector<PeerId>& others) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.kind != Request::Kind::kPieces) return;
  Holder& holder = holders_[found->second.holder];
  Close(id);
  holder.busy_until = now_ + std::clamp(retry, kBusyMin, kBusyMax);
  WakeAt(holder.busy_until);
  if (!busy_since_) busy_since_ = now_;
  if (now_ < *busy_since_ + kBusyPatience) peer_progress_at_ = now_;
  // They were given pieces.
  first_maps_ = std::max<std::int64_t>(0, first_maps_ - std::ssize(others));
  for (const PeerId& peer : others) OnMember(peer);
}

}  // namespace shoal::fetch
