#include "fetch/download.h"

#include <algorithm>

#include "fetch/download_impl.h"

namespace shoal::fetch {

Download::Impl::Impl(Digest digest, DownloadLimits limits, bool has_upstream, Rng rng)
    : digest_(digest),
      limits_(limits),
      has_upstream_(has_upstream),
      rng_(rng),
      picker_(limits.window_pieces, Rng(rng_.Next())),
      pipeline_(limits.parallel_min, limits.parallel_pieces) {
  SHOAL_CHECK(limits.parallel_pieces >= 1 && limits.parallel_per_peer >= 1);
  SHOAL_CHECK(limits.run_pieces_max >= 1 && limits.holders_max >= 1);
}

void Download::Impl::Resume(const Chain& chain, const PieceMap& have) {
  SHOAL_CHECK(!started_ && have.size() == chain.geometry().count());
  chain_ = chain;
  chain_id_ = choice_.NewId();
  picker_.Reset(have.size());
  from_upstream_ = PieceMap(have.size());
  for (PieceIndex i{0}; i.value < have.size(); ++i) {
    // A piece without the states that prove it is as good as absent; Start says so.
    if (!have.Has(i)) continue;
    if (!CanVerify(chain, i)) {
      unusable_.push_back(i);
      continue;
    }
    picker_.SetHere(i);
    sources_.resumed += chain.geometry().LengthOf(i);
  }
}

void Download::Impl::Start(const std::vector<PeerId>& known) {
  SHOAL_CHECK(!started_);
  started_ = true;
  progress_at_ = peer_progress_at_ = now_;
  resolve_by_ = now_ + limits_.resolve;
  looked_at_ = now_;
  modest_until_ = now_ + limits_.lead_modesty;
  if (ChainHasher().Finish() == digest_) {
    if (!chain_ || chain_->geometry().blob() != Bytes(0)) {
      Adopt(Chain(Geometry::Make(Bytes(0), limits_.piece).value()));
    } else {
      Emit(UseGeometry{chain_->geometry()});
    }
    picker_.SetHere({0});
    return Prove();
  }
  if (chain_) {
    Emit(UseGeometry{chain_->geometry()});
    if (!unusable_.empty()) Emit(ForgetPieces{std::move(unusable_), {}});
    if (have().all()) return Prove();
  }
  AddHolders(known);
  for (Holder& holder : holders_) holder.listed = true;
  // On a LAN all neighbours would hear the question, to name those that are known.
  if (known.size() >= kHoldersEnough) return;
  resolving_ = true;
  Emit(ResolveHolders{});
}

void Download::Impl::OnHolders(const std::vector<PeerId>& peers) { AddHolders(peers); }

void Download::Impl::OnResolved() {
  resolving_ = false;
  resolved_ = true;
}

void Download::Impl::OnPeerGone(const PeerId& peer) {
  const int at = FindHolder(peer);
  if (at < 0 || holders_[at].state == Holder::State::kOut) return;
  Withdraw(at, Holder::State::kGone);
}

void Download::Impl::OnWaiting(RequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  Request& request = found->second;
  request.last_byte = now_;
  request.waited_at = now_;
  if (request.kind == Request::Kind::kMap) return;
  if (request.kind == Request::Kind::kPieces) request.asked_at = now_;  // nor is its peer slow
  progress_at_ = now_;  // those before it have bounds of their own
}

bool Download::Impl::OnBytes(RequestId id, Bytes count) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || count <= Bytes(0)) return false;
  Request& request = found->second;
  request.received += count;
  request.last_byte = now_;
  if (request.kind == Request::Kind::kUpstream) {
    progress_at_ = now_;
    return false;
  }
  if (request.kind != Request::Kind::kPieces) return false;
  const int holder = request.holder;
  holders_[holder].score.OnBytes(now_, count);
  if (request.received > request.expected) {
    Cancel(id);
    Penalize(holder, {Code::kInvalid, "sent more bytes than it was asked for"});
    return true;
  }
  // As many pieces as can be in flight may be under way before one of them passes; more bytes
  // than that without one are no progress.
  unproven_ += count;
  if (!chain_ || unproven_ > chain_->geometry().piece() * limits_.parallel_pieces) return false;
  if (unproven_ - unproven_seen_ < chain_->geometry().piece()) return false;
  unproven_seen_ = unproven_;
  progress_at_ = peer_progress_at_ = now_;
  return false;
}

void Download::Impl::OnPieceHashed(RequestId id, PieceIndex piece, const ChainState& after,
                                   bool digest_ok) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || !chain_) return;
  if (piece.value < 0 || piece.value >= chain_->geometry().count()) return;
  Request& request = found->second;
  request.last_byte = now_;
  if (request.kind == Request::Kind::kUpstream) {
    OnUpstreamPiece(request, piece, after, digest_ok);
  } else if (request.kind == Request::Kind::kPieces) {
    OnPeerPiece(request, piece, after, digest_ok);
  }
}

void Download::Impl::OnRequestDone(RequestId id) {
  if (!Live(id)) return;
  const Request request = Close(id);
  const Error early{Code::kRetryLater, "the answer ended early"};
  if (request.kind == Request::Kind::kUpstream) {
    if (request.next < request.end || !request.sized) OnUpstreamFailed(early);
  } else if (request.kind == Request::Kind::kMap) {
    OnMapFailed(request, early);
  } else if (!request.marked.empty()) {
    Penalize(request.holder, early);
  }
}

void Download::Impl::OnRequestFailed(RequestId id, const Error& error) {
  if (!Live(id)) return;
  const Request request = Close(id);
  switch (request.kind) {
    case Request::Kind::kUpstream:
      return OnUpstreamFailed(error);
    case Request::Kind::kMap:
      return OnMapFailed(request, error);
    case Request::Kind::kPieces:
      break;
  }
  Holder& holder = holders_[request.holder];
  if (error.code == Code::kNotFound || error.code == Code::kInvalid ||
      error.code == Code::kCorrupt) {
    // It has not what its map said: those pieces wait for its next map.
    Uncount(holder);
    for (const PieceIndex i : request.marked) {
      if (i.value < holder.can.size()) holder.can.Clear(i);
    }
    Count(holder);
    holder.map_at = now_ + kMapPauseIdle;
    WakeAt(now_);
    holder.known = 0;
  }
  Penalize(request.holder, error);
}

void Download::Impl::OnReader(int reader, PieceIndex piece) {
  SHOAL_CHECK(piece.value >= 0);
  const bool done = chain_ && piece.value >= chain_->geometry().count();
  if (done) {
    readers_.erase(reader);
  } else if (readers_.contains(reader) || readers_.size() < kReadersMax) {
    const bool here = piece.value < have().size() && have().Has(piece);
    if (!readers_.contains(reader) && !begins_at_ && !here) begins_at_ = piece;
    readers_[reader] = piece;
  }
  PieceIndex slowest{kPiecesMax};
  for (const auto& [id, at] : readers_) slowest = std::min(slowest, at);
  picker_.SetPosition(readers_.empty() ? PieceIndex{0} : slowest);
}

void Download::Impl::OnDeadline() {
  if (now_ < requests_at_) return;
  CancelStalled();
  CancelSlow();
  requests_at_ = kNever;
  for (const auto& [id, request] : requests_) {
    requests_at_ = std::min(requests_at_, LookAt(request));
  }
}

Duration Download::Impl::NextLookPause() const {
  if (peer_piece_at_ <= looked_at_) return kResolveAgain;
  if (holding_.size() >= kHoldersEnough) return kResolveRare;
  return std::min(look_pause_ * 2, kResolveSeldom);
}

// Those that the catalog lists were to be enough.
bool Download::Impl::ListedAreInVain() const {
  if (resolved_ || (AnyFirstMapPending() && now_ < ListedPatienceEnds())) return false;
  return std::ranges::none_of(holding_, [this](int at) { return holders_[at].known > 0; });
}

void Download::Impl::LookForHolders() {
  if (resolving_) return;
  if (now_ < LookAgainAt() && !ListedAreInVain()) return;
  look_pause_ = NextLookPause();
  looked_at_ = now_;
  if (!resolved_ && look_pause_ == kResolveRare) return OnResolved();
  if (!resolved_) resolve_by_ = now_ + limits_.resolve;
  resolving_ = true;
  Emit(ResolveHolders{});
}

void Download::Impl::Decide() {
  AskMaps();
  ReconsiderChain();
  LookForHolders();
  AskArbiters();
  AskUpstream();
  AskPieces();
  HurryMaps();
  MakeRoom();
  GiveUpIfHopeless();
}

void Download::Impl::CheckInvariants() const {
  CheckLists();
  if (!chain_) {
    SHOAL_CHECK(have().size() == 0);
    for (const auto& [id, request] : requests_) SHOAL_CHECK(request.marked.empty());
    return;
  }
  const std::int32_t count = chain_->geometry().count();
  SHOAL_CHECK(have().size() == count && from_upstream_.size() == count);
  std::vector<int> asked(static_cast<std::size_t>(count), 0);
  std::vector<int> slots(holders_.size(), 0);
  int at_peers = 0;
  for (const auto& [id, request] : requests_) {
    SHOAL_CHECK(std::ranges::is_sorted(request.marked));
    for (const PieceIndex i : request.marked) ++asked[static_cast<std::size_t>(i.value)];
    for (const PieceIndex i : request.options) ++asked[static_cast<std::size_t>(i.value)];
    SHOAL_CHECK(request.options.empty() || request.marked.size() == 1);
    if (request.kind == Request::Kind::kUpstream) {
      SHOAL_CHECK(id == upstream_request_);
    } else if (request.kind == Request::Kind::kPieces) {
      SHOAL_CHECK(Supports(holders_[request.holder]));
      slots[request.holder] += static_cast<int>(request.marked.size());
      at_peers += static_cast<int>(request.marked.size());
    } else {
      SHOAL_CHECK(holders_[request.holder].map_request == id);
    }
  }
  SHOAL_CHECK(at_peers == asked_pieces_);
  SHOAL_CHECK(at_peers <= limits_.parallel_pieces);
  for (PieceIndex i{0}; i.value < count; ++i) {
    SHOAL_CHECK(picker_.asked(i) == asked[static_cast<std::size_t>(i.value)]);
    SHOAL_CHECK(picker_.asked(i) <= kAskedMax);
    SHOAL_CHECK(!have().Has(i) || picker_.asked(i) == 0);
    SHOAL_CHECK(!have().Has(i) || CanVerify(*chain_, i));
    SHOAL_CHECK(!from_upstream_.Has(i) || have().Has(i));
  }
  for (std::size_t h = 0; h < holders_.size(); ++h) {
    const Holder& holder = holders_[h];
    SHOAL_CHECK(holder.asked_pieces == slots[h]);
    SHOAL_CHECK(slots[h] <= limits_.parallel_per_peer);
    SHOAL_CHECK(holder.counted == (Supports(holder) && !alone_));
    SHOAL_CHECK(!holder.counted || holder.useful == holder.can.CountNotIn(have()));
    if (holder.candidate != 0 && holder.candidate != chain_id_) {
      SHOAL_CHECK(choice_.chains().contains(holder.candidate));
    }
  }
  SHOAL_CHECK(holders_.size() <= kHoldersKept * static_cast<std::size_t>(limits_.holders_max));
  SHOAL_CHECK(choice_.chains().size() <= kCandidatesMax);
  SHOAL_CHECK(!finished_ || requests_.empty());
  SHOAL_CHECK(!we_lead_ || limits_.arbitrated);
}

void Download::Impl::CheckLists() const {
  std::vector<int> holding;
  std::vector<int> queued;
  std::vector<int> asking;
  SHOAL_CHECK(heads_.size() == holders_.size() && marks_.size() == holders_.size());
  for (int at = 0; at < static_cast<int>(holders_.size()); ++at) {
    const Holder& holder = holders_[at];
    SHOAL_CHECK(FindHolder(holder.id) == at);
    if (holder.state == Holder::State::kQueued) queued.push_back(at);
    if (holder.state == Holder::State::kAsking) asking.push_back(at);
    if (holder.state != Holder::State::kHolding) continue;
    holding.push_back(at);
    // Whatever is due at it later wakes us.
    for (const Time due : {holder.score.usable_at(), holder.busy_until}) {
      SHOAL_CHECK(due <= now_ || due >= holders_at_);
    }
    SHOAL_CHECK(holder.map_request != 0 || holder.map_at <= now_ || holder.map_at >= holders_at_);
  }
  SHOAL_CHECK(holding == holding_ && queued == queued_ && asking == asking_);
  std::size_t byte_requests = 0;
  for (const auto& [id, request] : requests_) {
    SHOAL_CHECK(StallAt(request) >= requests_at_);
    if (request.kind == Request::Kind::kMap) continue;
    SHOAL_CHECK(byte_requests_.at(byte_requests++) == &request);
  }
  SHOAL_CHECK(byte_requests == byte_requests_.size());
}

// The public face.

Download::Download(Digest digest, DownloadLimits limits, bool has_upstream, Rng rng)
    : impl_(std::make_unique<Impl>(digest, limits, has_upstream, rng)) {}
Download::~Download() = default;

void Download::Resume(const Chain& chain, const PieceMap& have) { impl_->Resume(chain, have); }
void Download::Start(Time now, const std::vector<PeerId>& known, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->Start(known); });
}
void Download::OnHolders(Time now, const std::vector<PeerId>& peers, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnHolders(peers); });
}
void Download::OnResolved(Time now, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnResolved(); });
}
void Download::OnPeerGone(Time now, const PeerId& peer, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnPeerGone(peer); });
}
void Download::OnMember(Time now, const PeerId& peer, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnMember(peer); });
}
void Download::OnSwarm(Time now, const SwarmView& view, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnSwarm(view); });
}
void Download::OnSwarmFailed(Time now, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnSwarmFailed(); });
}
void Download::OnChosen(Time now, RequestId id, PieceIndex piece, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnChosen(id, piece); });
}
void Download::OnBusy(Time now, RequestId id, Duration retry, const std::vector<PeerId>& others,
                      DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnBusy(id, retry, others); });
}
void Download::OnMap(Time now, RequestId id, const HolderMap& map, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnMap(id, map); });
}
void Download::OnNews(Time now, const PeerId& peer, const HolderMap& map, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnNews(peer, map); });
}
void Download::OnUpstreamSize(Time now, RequestId id, Bytes size, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnUpstreamSize(id, size); });
}
void Download::OnWaiting(Time now, RequestId id, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnWaiting(id); });
}
void Download::OnBytes(Time now, RequestId id, Bytes count, DownloadActions& out) {
  impl_->RunQuietly(now, out, [&] { return impl_->OnBytes(id, count); });
}
void Download::OnPieceHashed(Time now, RequestId id, PieceIndex piece, const ChainState& after,
                             bool digest_ok, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnPieceHashed(id, piece, after, digest_ok); });
}
void Download::OnRequestDone(Time now, RequestId id, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnRequestDone(id); });
}
void Download::OnRequestFailed(Time now, RequestId id, const Error& error, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnRequestFailed(id, error); });
}
void Download::OnReader(Time now, int reader, PieceIndex piece, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnReader(reader, piece); });
}
void Download::OnDeadline(Time now, DownloadActions& out) {
  impl_->Run(now, out, [&] { impl_->OnDeadline(); });
}
Time Download::NextDeadline() const { return impl_->NextDeadline(); }
const Chain* Download::chain() const { return impl_->chain(); }
const PieceMap& Download::have() const { return impl_->have(); }
bool Download::finished() const { return impl_->finished(); }
const PieceMap* Download::firsthand() const { return impl_->firsthand(); }
bool Download::leads() const { return impl_->leads(); }
const SourceBytes& Download::sources() const { return impl_->sources(); }
const Digest& Download::digest() const { return impl_->digest(); }
bool Download::doubtful() const { return impl_->doubtful(); }
void Download::CheckInvariants() const { impl_->CheckInvariants(); }

}  // namespace shoal::fetch
