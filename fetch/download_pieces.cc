// Pieces: whom to ask for which, and what becomes of those that came.
#include <algorithm>
#include <limits>
#include <tuple>

#include "fetch/download_impl.h"

namespace shoal::fetch {

Request& Download::Impl::NewRequest(Request::Kind kind, int holder, Duration stall) {
  Request request;
  request.id = next_request_++;
  request.kind = kind;
  request.holder = holder;
  request.asked_at = request.last_byte = now_;
  request.stall = stall;
  requests_at_ = std::min(requests_at_, LookAt(request));
  Request& kept = requests_[request.id] = std::move(request);
  if (kind != Request::Kind::kMap) byte_requests_.push_back(&kept);
  return kept;
}

void Download::Impl::Unmark(Request& request, PieceIndex piece) {
  const auto found = std::ranges::find(request.marked, piece);
  SHOAL_CHECK(found != request.marked.end());
  request.marked.erase(found);
  picker_.Release(piece);
  if (request.kind != Request::Kind::kPieces) return;
  --holders_[request.holder].asked_pieces;
  --asked_pieces_;
}

Request Download::Impl::Close(RequestId id) {
  const auto found = requests_.find(id);
  SHOAL_CHECK(found != requests_.end());
  DropOptions(found->second);
  Request request = found->second;
  while (!found->second.marked.empty()) Unmark(found->second, found->second.marked.back());
  if (request.kind != Request::Kind::kMap) std::erase(byte_requests_, &found->second);
  requests_.erase(found);
  if (request.received > request.judged) Waste(request.received - request.judged);
  if (request.kind == Request::Kind::kMap) holders_[request.holder].map_request = 0;
  if (request.kind == Request::Kind::kUpstream) upstream_request_ = 0;
  return request;
}

void Download::Impl::Cancel(RequestId id) {
  Close(id);
  Emit(CancelRequest{id});
}

void Download::Impl::CancelPieceRequests() {
  std::vector<RequestId> ids;
  for (const Request* request : byte_requests_) ids.push_back(request->id);
  for (const RequestId id : ids) Cancel(id);
}

void Download::Impl::AskPieces() {
  double_at_ = kNever;
  if (!chain_ || alone_ || asked_pieces_ >= pipeline_.depth()) return;
  struct Turn {
    int asked;
    double rate;
    std::uint64_t lot;
    int holder;
  };
  for (bool asked = true; asked;) {
    asked = false;
    std::vector<Turn> turns;
    for (const int at : holding_) {
      const Holder& holder = holders_[at];
      if (!CanHelp(holder) || !MayAsk(holder) || holder.asked_pieces >= SlotsOf(holder)) continue;
      // A peer whose rate is not known yet is worth finding out.
      const double rate = holder.score.rate().value_or(std::numeric_limits<double>::max());
      // What the lead alone has waits for its link, and is lost with it: it is asked as if one
      // piece fewer were under way from it.
      const bool sole = lead_ == holder.id && picker_.HasSole(holder.can);
      turns.push_back({holder.asked_pieces - (sole ? 1 : 0), rate, rng_.Next(), at});
    }
    // Peers with nothing to do first, then the faster ones.
    std::ranges::sort(turns, [](const Turn& a, const Turn& b) {
      return std::tuple(a.asked, -a.rate, a.lot) < std::tuple(b.asked, -b.rate, b.lot);
    });
    for (const Turn& turn : turns) {
      if (asked_pieces_ >= pipeline_.depth()) return;
      asked |= AskHolder(turn.holder);
    }
  }
}

bool Download::Impl::AskHolder(int at) {
  Holder& holder = holders_[at];
  const int budget = std::min({limits_.run_pieces_max, SlotsOf(holder) - holder.asked_pieces,
                               pipeline_.depth() - asked_pieces_});
  if (budget < 1) return false;
  const auto choice = Choose(at, budget);
  if (!choice) return false;
  const PieceRun* const run = &choice->run;
  holder.score.OnAsked(now_, holder.asked_pieces == 0);
  Request& request = NewRequest(Request::Kind::kPieces, at, PieceStall());
  request.next = run->first;
  request.end = run->first + run->count;
  for (PieceIndex i = run->first; i < request.end; ++i) {
    picker_.MarkAsked(i);
    request.marked.push_back(i);
    request.expected += LengthOf(i);
  }
  holder.asked_pieces += run->count;
  asked_pieces_ += run->count;
  if (!choice->exact && run->count == 1) AddOptions(request);
  // One whose map is being asked tells there.
  const bool may_tell = holder.map_request == 0 && holder.map_at != kNever;
  Emit(FetchPieces{request.id, holder.id, run->first, run->count, request.options,
                   may_tell ? holder.known : 0});
  return true;
}

Duration Download::Impl::PieceStall() const {
  return std::max(limits_.stall, AtMost(answer_time_.most()));
}

int Download::Impl::SlotsOf(const Holder& holder) const {
  return holder.score.proven() && now_ >= holder.slow_until ? limits_.parallel_per_peer : 1;
}

std::optional<Download::Impl::Choice> Download::Impl::Choose(int at, std::int32_t budget) {
  const Holder& holder = holders_[at];
  const PieceIndex last = chain_->geometry().last();
  const int but_last = asked_pieces_ - (picker_.Free(last) ? 0 : 1);
  const bool first = have().count() == 0 && but_last <= 0 && upstream_request_ == 0;
  const bool last_now = ContradictionKnown() || (!first && WantsLastEarly());
  if (last_now && holder.can.Has(last) && picker_.Free(last)) return Choice{{last, 1}, true};
  const PieceIndex head = picker_.Window().first;
  if ((first || begins_at_ == head) && holder.can.Has(head) && picker_.Free(head)) {
    return Choice{{head, 1}};
  }
  if (const auto run = picker_.Pick(holder.can, budget, PiecePicker::Where::kWindow)) {
    return Choice{*run};
  }
  if (const auto piece = ChooseDouble(holder, at)) return Choice{{*piece, 1}, true};
  const auto run = picker_.Pick(holder.can, budget, PiecePicker::Where::kAnywhere);
  if (!run) return std::nullopt;
  return Choice{*run};
}

// The last piece early refutes a false chain before much was fetched under it. But where few have
// it and many fetch, each asking for it at once costs its holder a piece's upload for each of them:
// so without a contradiction only where at least half of the holders have it.
bool Download::Impl::WantsLastEarly() const {
  if (ContradictionKnown()) return true;
  if (have().count() < std::min(limits_.window_pieces, have().size() / 4)) return false;
  int holders = 0;
  int with_last = 0;
  for (const int at : holding_) {
    const Holder& holder = holders_[at];
    if (!holder.counted) continue;
    ++holders;
    with_last += holder.claims_last ? 1 : 0;
  }
  return with_last * 2 >= holders;
}

std::optional<PieceIndex> Download::Impl::ChooseDouble(const Holder& holder, int self) {
  const PieceRun window = picker_.Window();
  // Twice the time a piece takes of this holder's rate, or half a stall while that is not known,
  // and what nearly all pieces take with all that waits before them: what is about to come anyway
  // is not asked twice.
  Duration patience = limits_.stall / 2;
  if (holder.score.rate() && *holder.score.rate() > 0) {
    const double length = static_cast<double>(chain_->geometry().piece().count());
    const double wait = std::min(2e6 * length / *holder.score.rate(), 60e6);
    patience = std::max<Duration>(std::chrono::milliseconds(50),
                                  Duration(static_cast<std::int64_t>(wait)));
  }
  patience = std::max(patience, AtMost(answer_time_.most()));
  std::optional<PieceIndex> best;
  Time best_since = kNever;
  for (const Request* const asked : byte_requests_) {
    const Request& request = *asked;
    if (request.holder == self || request.asked_at >= best_since) continue;
    if (request.holder != kNoHolder) {
      const auto rate = holders_[request.holder].score.rate();
      if (rate && holder.score.rate() && *rate > *holder.score.rate()) continue;
    }
    for (const PieceIndex i : request.marked) {
      const bool in_window = i >= window.first && i < window.first + window.count;
      if (!in_window || picker_.asked(i) >= kAskedMax || !holder.can.Has(i)) continue;
      if (now_ < request.asked_at + patience) {
        double_at_ = std::min(double_at_, request.asked_at + patience);
      } else {
        best = i;
        best_since = request.asked_at;
      }
      break;
    }
  }
  return best;
}

void Download::Impl::OnPeerPiece(Request& request, PieceIndex piece, const ChainState& after,
                                 bool digest_ok) {
  const RequestId id = request.id;
  if (!request.options.empty()) OnChosen(id, piece);
  if (piece < request.next || piece >= request.end) return;
  const int at = request.holder;
  Holder& holder = holders_[at];
  const Bytes length = LengthOf(piece);
  request.judged += length;
  if (std::ranges::find(request.marked, piece) == request.marked.end()) return Waste(length);
  Unmark(request, piece);
  const bool is_last = piece == chain_->geometry().last();
  const bool right = is_last ? digest_ok : after == *chain_->Before(piece + 1);
  if (!right) {
    Waste(length);
    if (is_last) end_failed_ = true;
    return OnMismatch(at, piece);
  }
  // Bytes that nobody told of one by one: on a quick link a piece comes between two looks.
  if (request.judged > request.received) {
    holder.score.OnBytes(now_, std::min(length, request.judged - request.received));
  }
  holder.score.OnVerified();
  answer_time_.OnAnswer(now_ - request.waited_at.value_or(request.asked_at));
  pipeline_.OnPiece(now_);
  sources_.peers[holder.id] += length;
  NoteProgress(true);
  PieceHere(piece, id);
  // It comes to a piece now that another was faster with.
  const PieceIndex next = piece + 1;
  if (Live(id) && next < requests_.at(id).end && have().Has(next)) Cancel(id);
}

void Download::Impl::PieceHere(PieceIndex piece, RequestId by) {
  CutLosers(piece, by);
  picker_.SetHere(piece);
  if (begins_at_ == piece) begins_at_.reset();
  for (const int at : holding_) {
    Holder& holder = holders_[at];
    if (holder.counted && holder.can.Has(piece)) --holder.useful;
  }
  if (have().count() == 1) MeetAgain();
  if (have().all()) Prove();
}

void Download::Impl::CutLosers(PieceIndex piece, RequestId by) {
  std::vector<RequestId> lost;
  for (Request* const asked : byte_requests_) {
    Request& request = *asked;
    const RequestId id = request.id;
    if (id == by) continue;
    if (std::erase(request.options, piece) > 0) picker_.Release(piece);
    const auto found = std::ranges::find(request.marked, piece);
    if (found == request.marked.end()) continue;
    if (found == request.marked.begin()) lost.push_back(id);
    Unmark(request, piece);
  }
  for (const RequestId id : lost) Cancel(id);
}

Time Download::Impl::AskedSince(PieceIndex piece) const {
  Time since = kNever;
  for (const Request* const open : byte_requests_) {
    const Request& request = *open;
    const bool asked = std::ranges::find(request.marked, piece) != request.marked.end() ||
                       std::ranges::find(request.options, piece) != request.options.end();
    if (!asked) continue;
    since = std::min(since, request.asked_at);
  }
  return since;
}

void Download::Impl::NoteProgress(bool from_peer) {
  progress_at_ = now_;
  if (!from_peer) return;
  peer_progress_at_ = peer_piece_at_ = now_;
  busy_since_.reset();
  unproven_ = unproven_seen_ = Bytes(0);
}

}  // namespace shoal::fetch
