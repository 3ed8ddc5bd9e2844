#include "fetch/transport/fetcher.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/units.h"

namespace shoal::fetch {
namespace {

Error NoLongerWanted() { return {Code::kCancelled, "it is no longer wanted"}; }

}  // namespace

Fetcher::Fetcher(TransferPorts ports, DownloadLimits limits, LocalBlobs& locals,
                 std::function<std::vector<PeerId>(const Digest&)> known, Rng rng, Hooks hooks)
    : ports_(std::move(ports)),
      limits_(limits),
      locals_(locals),
      known_(std::move(known)),
      rng_(rng),
      hooks_(std::move(hooks)) {}

const PieceMap* Fetcher::Firsthand(const Digest& digest) const {
  const auto it = transfers_.find(digest);
  return it == transfers_.end() ? nullptr : it->second->download().firsthand();
}

std::shared_ptr<LiveBlob> Fetcher::Find(const Digest& digest) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = live_.find(digest);
    if (it != live_.end()) {
      if (auto live = it->second.lock(); live && !live->Failure()) return live;
    }
  }
  if (auto live = locals_.Open(digest)) return live;
  // Pieces that an earlier run left behind.
  auto partial = ports_.store.FindPartial(digest);
  if (!partial) return nullptr;
  const Chain chain = (*partial)->chain();
  const PieceMap have = (*partial)->have();
  if (have.count() == 0) return nullptr;
  auto live = std::make_shared<LiveBlob>(digest, (*partial)->geometry(), (*partial)->file(),
                                         StreamMode::kVerified, nullptr);
  for (PieceIndex piece{0}; piece.value < have.size(); ++piece) {
    const ChainState* state = chain.Before(piece);
    if (piece.value > 0 && state != nullptr) live->SetState(piece, *state);
    if (have.Has(piece)) live->AddPiece(piece);
  }
  return live;
}

void Fetcher::Open(FetchRequest request, Ready ready) {
  if (hooks_.on_wanted && request.upstream) hooks_.on_wanted(request.digest, *request.upstream);
  if (auto live = locals_.Open(request.digest)) {
    ready(std::move(live));
    return;
  }
  ports_.loop.Post([this, alive = std::weak_ptr(alive_), request = std::move(request),
                    ready = std::move(ready)]() mutable {
    if (alive.expired()) return;
    OpenOnLoop(std::move(request), std::move(ready));
  });
}

void Fetcher::OpenOnLoop(FetchRequest request, Ready ready) {
  if (stopping_) return ready(Error{Code::kRetryLater, "the agent is stopping"});
  if (request.wish && request.wish->dropped) return ready(NoLongerWanted());
  const SharedWish wish = request.wish;
  const auto it = transfers_.find(request.digest);
  if (it != transfers_.end()) return it->second->WhenReady(std::move(ready), wish);
  if (transfers_.size() >= kTransfersMax) {
    return ready(Error{Code::kRetryLater, "too many blobs are being fetched; ask again"});
  }
  Begin(std::move(request))->WhenReady(std::move(ready), wish);
}

std::shared_ptr<Transfer> Fetcher::Begin(FetchRequest request) {
  const Digest digest = request.digest;
  DownloadLimits limits = limits_;
  const int share = kPiecesAskedMax / static_cast<int>(transfers_.size() + 1);
  limits.parallel_pieces = std::clamp(share, 2, limits_.parallel_pieces);
  limits.arbitrated = ports_.ask_arbiters != nullptr && ports_.has_arbiters(digest);
  const auto leading = std::ranges::count_if(
      transfers_, [](const auto& entry) { return entry.second->download().leads(); });
  limits.lead_modesty = std::min(kLeadModesty * leading, kLeadModestyMax);

  Transfer::Hooks hooks;
  hooks.on_live = [this, digest](const std::shared_ptr<LiveBlob>& live) {
    const std::lock_guard lock(mutex_);
    live_[digest] = live;
  };
  hooks.on_pieces = [this, digest] {
    const auto it = transfers_.find(digest);
    if (it == transfers_.end() || !it->second->live()) return;
    hooks_.on_holding(digest, it->second->live()->geometry().blob(), false);
  };
  hooks.on_ended = [this, digest](const Result<Bytes>& result) {
    const auto it = transfers_.find(digest);
    if (it != transfers_.end()) Ended(it->second, result);
  };
  spdlog::debug("fetch {} for {}: started", ToString(digest), request.why);
  auto transfer = std::make_shared<Transfer>(ports_, limits, std::move(request), Rng(rng_.Next()),
                                             std::move(hooks));
  transfers_[digest] = transfer;
  if (hooks_.on_transfer_started) hooks_.on_transfer_started(digest);
  transfer->Start(known_(digest));
  if (!sweeping_) {
    sweeping_ = true;
    ports_.loop.After(kAbandonAfter / 2, [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) Sweep();
    });
  }
  return transfer;
}

void Fetcher::Fetch(FetchRequest request, std::function<void(Status)> done) {
  Open(request, [this, request, alive = std::weak_ptr(alive_),
                 done = std::move(done)](Result<std::shared_ptr<LiveBlob>> live) {
    if (alive.expired()) return;
    ports_.loop.Post([this, alive, request, done, live = std::move(live)] {
      if (alive.expired()) return;
      if (live) return Keep(request, *live, done);
      done(live.error());
    });
  });
}

void Fetcher::Keep(const FetchRequest& request, const std::shared_ptr<LiveBlob>& live,
                   const std::function<void(Status)>& done) {
  if (request.wish && request.wish->dropped) return done(NoLongerWanted());
  ++kept_[request.digest];
  if (request.wish) request.wish->keeps = true;
  live->AwaitEnd([this, alive = std::weak_ptr(alive_), request, live, done](bool proved) {
    ports_.loop.Post([this, alive, request, live, done, proved] {
      if (!alive.expired()) OnKeptEnd(request, live, proved, done);
    });
  });
}

void Fetcher::OnKeptEnd(const FetchRequest& request, const std::shared_ptr<LiveBlob>& live,
                        bool proved, const std::function<void(Status)>& done) {
  if (request.wish && request.wish->dropped) return done(NoLongerWanted());
  if (request.wish) request.wish->keeps = false;
  Unkeep(request.digest);
  if (!proved && transfers_.contains(request.digest)) {
    // What was sent of it proved wrong, or it is cut otherwise now: the transfer goes on.
    ports_.pool.Post([this, alive = std::weak_ptr(alive_), request, done] {
      if (!alive.expired()) Fetch(request, done);
    });
    return;
  }
  done(proved ? Ok() : Status(*live->Failure()));
}

void Fetcher::Unkeep(const Digest& digest) {
  const auto it = kept_.find(digest);
  if (it != kept_.end() && --it->second <= 0) kept_.erase(it);
}

void Fetcher::Drop(const Digest& digest, Wish& wish) {
  if (std::exchange(wish.dropped, true)) return;
  if (std::exchange(wish.keeps, false)) Unkeep(digest);
  const auto it = transfers_.find(digest);
  if (it == transfers_.end() || kept_.contains(digest)) return;
  // By value: the map's owner goes meanwhile.
  const std::shared_ptr<Transfer> transfer = it->second;
  if (transfer->idle()) transfer->Abandon("nobody wants it any more");
}

void Fetcher::AskRunning(const Digest& digest, std::function<void(bool)> done) {
  ports_.loop.Post([this, alive = std::weak_ptr(alive_), digest, done = std::move(done)] {
    if (!alive.expired()) done(transfers_.contains(digest));
  });
}

void Fetcher::Ended(std::shared_ptr<Transfer> transfer, const Result<Bytes>& result) {
  const Digest digest = transfer->digest();
  const TransferView view = ViewOf(*transfer);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(ports_.loop.Now() -
                                                                          transfer->started());
  transfers_.erase(digest);
  if (result) {
    ports_.counters.fetches_done += 1;
    Bytes from_peers;
    for (const auto& [peer, bytes] : view.sources.peers) from_peers += bytes;
    spdlog::info("fetched {} for {}: {} in {} ms, {} from {} peers, {} from upstream, {} resumed",
                 ToString(digest), view.why, HumanSize(*result), took.count(),
                 HumanSize(from_peers), view.sources.peers.size(), HumanSize(view.sources.upstream),
                 HumanSize(view.sources.resumed));
    ports_.pool.Post([this, alive = std::weak_ptr(alive_), digest, size = *result] {
      if (alive.expired()) return;
      locals_.MarkProved(digest);
      ports_.loop.Post([this, alive, digest, size] {
        if (!alive.expired()) hooks_.on_holding(digest, size, true);
      });
    });
  } else if (result.error().code == Code::kCancelled || result.error().code == Code::kNotFound) {
    spdlog::info("fetch {} for {}: {}", ToString(digest), view.why, result.error().ToString());
  } else {
    ports_.counters.fetches_failed += 1;
    spdlog::warn("fetch {} for {} failed after {} ms: {}", ToString(digest), view.why, took.count(),
                 result.error().ToString());
  }
  {
    const std::lock_guard lock(mutex_);
    live_.erase(digest);
  }
  if (hooks_.on_transfer_ended) {
    hooks_.on_transfer_ended(view, result ? Ok() : Status(result.error()));
  }
}

void Fetcher::Sweep() {
  const Time now = ports_.loop.Now();
  std::vector<std::shared_ptr<Transfer>> idle;
  for (const auto& [digest, transfer] : transfers_) {
    if (transfer->idle() && !kept_.contains(digest) &&
        now - transfer->idle_since() > kAbandonAfter) {
      idle.push_back(transfer);
    }
  }
  for (const auto& transfer : idle) transfer->Abandon("nobody reads it any more");
  sweeping_ = !transfers_.empty();
  if (sweeping_) {
    ports_.loop.After(kAbandonAfter / 2, [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) Sweep();
    });
  }
}

std::vector<std::shared_ptr<Transfer>> Fetcher::All() const {
  std::vector<std::shared_ptr<Transfer>> all;
  all.reserve(transfers_.size());
  for (const auto& [digest, transfer] : transfers_) all.push_back(transfer);
  return all;
}

void Fetcher::OnMember(const Digest& digest, const PeerId& peer) {
  const auto it = transfers_.find(digest);
  if (it != transfers_.end()) it->second->OnMember(peer);
}

void Fetcher::OnMemberAsked(const Digest& digest, const PeerId& peer, Duration wait,
                            std::function<void(std::shared_ptr<LiveBlob>)> ready) {
  const auto it = transfers_.find(digest);
  if (it == transfers_.end()) return ready(nullptr);
  const std::shared_ptr<Transfer> transfer = it->second;
  transfer->OnMember(peer);
  // Whichever comes first.
  auto once = std::make_shared<std::function<void(std::shared_ptr<LiveBlob>)>>(std::move(ready));
  const auto tell = [once](std::shared_ptr<LiveBlob> live) {
    if (auto call = std::exchange(*once, nullptr)) call(std::move(live));
  };
  transfer->WhenLive(tell);
  if (*once) ports_.loop.After(wait, [tell] { tell(nullptr); });
}

void Fetcher::OnPeerAppeared(const PeerId& peer) {
  for (const auto& transfer : All()) transfer->OnPeerAppeared(peer);
}

void Fetcher::OnPeerGone(const PeerId& peer) {
  for (const auto& transfer : All()) transfer->OnPeerGone(peer);
}

TransferView Fetcher::ViewOf(const Transfer& transfer) const {
  TransferView view;
  view.digest = transfer.digest();
  view.why = transfer.request().why;
  view.sources = transfer.download().sources();
  view.started = transfer.started();
  if (const Chain* chain = transfer.download().chain()) {
    view.size = chain->geometry().blob();
    view.pieces = chain->geometry().count();
    view.have = transfer.download().have().count();
  }
  return view;
}

std::vector<TransferView> Fetcher::Active() const {
  std::vector<TransferView> views;
  views.reserve(transfers_.size());
  for (const auto& [digest, transfer] : transfers_) views.push_back(ViewOf(*transfer));
  return views;
}

void Fetcher::StopAll() {
  stopping_ = true;
  for (const auto& transfer : All()) transfer->Abandon("the agent is stopping");
}

}  // namespace shoal::fetch
