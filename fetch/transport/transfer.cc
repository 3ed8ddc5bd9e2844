#include "fetch/transport/transfer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "fetch/transport/zstd_codec.h"

namespace shoal::fetch {
namespace {

// How long a peer may hold a map back when we know some of it already. See docs/PROTOCOL.md.
constexpr int kMapWaitMs = 10'000;
constexpr std::size_t kMapBytesMax = 64U << 20;

std::string ListOf(const std::vector<PieceIndex>& pieces) {
  std::string list;
  for (const PieceIndex piece : pieces) {
    if (!list.empty()) list += ',';
    list += std::to_string(piece.value);
  }
  return list;
}

}  // namespace

struct Transfer::Shared {
  std::mutex mutex;
  std::shared_ptr<PieceWriter> writer;
};

Transfer::Transfer(TransferPorts ports, DownloadLimits limits, FetchRequest request, Rng rng,
                   Hooks hooks)
    : ports_(std::move(ports)),
      limits_(limits),
      request_(std::move(request)),
      hooks_(std::move(hooks)),
      download_(request_.digest, limits, request_.upstream.has_value(), rng),
      shared_(std::make_shared<Shared>()) {}

Transfer::~Transfer() = default;

void Transfer::Start(std::vector<PeerId> known) {
  started_ = idle_since_ = ports_.loop.Now();
  auto self = shared_from_this();
  ports_.pool.Post([self, known = std::move(known)]() mutable {
    auto partial = self->ports_.store.FindPartial(self->request_.digest);
    self->ports_.loop.Post([self, partial = std::move(partial), known = std::move(known)] {
      if (self->ended_) return;
      const auto& size = self->request_.expected_size;
      if (partial && (!size || (*partial)->geometry().blob() == *size)) {
        self->download_.Resume((*partial)->chain(), (*partial)->have());
      }
      self->Feed([&](Time now, DownloadActions& out) { self->download_.Start(now, known, out); });
    });
  });
}

bool Transfer::idle() const {
  return readers_.empty() && std::ranges::all_of(waiting_, [](const auto& one) {
           return one.second != nullptr && one.second->dropped;
         });
}

void Transfer::WhenReady(Ready ready, SharedWish wish) {
  if (MayRead()) {
    ready(live_);
    return;
  }
  waiting_.emplace_back(std::move(ready), std::move(wish));
}

bool Transfer::MayRead() const {
  if (!live_ || opening_) return false;
  return download_.finished() || (download_.have().count() > 0 && !download_.doubtful());
}

void Transfer::AnswerReady(Result<std::shared_ptr<LiveBlob>> result) {
  auto waiting = std::exchange(waiting_, {});
  for (auto& [ready, wish] : waiting) ready(result);
  idle_since_ = ports_.loop.Now();
}

void Transfer::OnPeerAppeared(const PeerId& peer) {
  Feed([&](Time now, DownloadActions& out) { download_.OnHolders(now, {peer}, out); });
}

void Transfer::OnMember(const PeerId& peer) {
  Feed([&](Time now, DownloadActions& out) { download_.OnMember(now, peer, out); });
}

void Transfer::WhenLive(std::function<void(std::shared_ptr<LiveBlob>)> ready) {
  // A lead is about to have the first piece; others hear of it from the lead as soon.
  if (live_ || ended_ || !download_.leads()) return ready(live_);
  live_waiting_.push_back(std::move(ready));
}

void Transfer::TellLive(const std::shared_ptr<LiveBlob>& live) {
  for (auto& ready : std::exchange(live_waiting_, {})) ready(live);
}

void Transfer::OnPeerGone(const PeerId& peer) {
  held_.erase(peer);
  Feed([&](Time now, DownloadActions& out) { download_.OnPeerGone(now, peer, out); });
}

void Transfer::Feed(const Event& event) {
  if (ended_) return;
  DownloadActions actions;
  event(ports_.loop.Now(), actions);
  Run(std::move(actions));
}

void Transfer::Run(DownloadActions actions) {
  for (auto& action : actions) queue_.push_back(std::move(action));
  RunQueue();
  if (ended_) return;
  // What is to be forgotten is by now, unless it waits for the file.
  if (live_ && !opening_) live_->Hold(download_.doubtful());
  if (!waiting_.empty() && MayRead()) AnswerReady(live_);
  Schedule();
}

// Actions may fail at once and so lead to events and further actions: those queue up behind.
void Transfer::RunQueue() {
  if (running_) return;
  running_ = true;
  while (!queue_.empty() && !ended_ && !(opening_ && MustWait(queue_.front()))) {
    const DownloadAction action = std::move(queue_.front());
    queue_.pop_front();
    Perform(action);
  }
  running_ = false;
}

// While the partial blob is being opened nothing that follows may overtake it.
bool Transfer::MustWait(const DownloadAction& action) const {
  return !std::holds_alternative<FetchMap>(action);
}

void Transfer::Perform(const DownloadAction& action) {
  std::visit([this](const auto& what) { Do(what); }, action);
}

void Transfer::FailLater(RequestId id, Error error) {
  calls_.erase(id);
  ports_.loop.Post([self = shared_from_this(), id, error = std::move(error)] {
    self->Feed([&](Time now, DownloadActions& out) {
      self->download_.OnRequestFailed(now, id, error, out);
    });
  });
}

// What of a peer's chain its answer may leave out, for a query.
std::string Transfer::Held(const PeerId& peer) const {
  const auto held = held_.find(peer);
  if (held == held_.end()) return {};
  return "&epoch=" + std::to_string(held->second.epoch) +
         "&states=" + std::to_string(held->second.chain.known_prefix());
}

void Transfer::Do(const FetchMap& action) {
  const auto endpoint = ports_.dial(action.peer, request_.digest);
  if (!endpoint) {
    // As if it had nothing: it may have later, and is not asked again at once.
    FailLater(action.id, {Code::kNotFound, "the peer cannot be asked for this blob now"});
    return;
  }
  std::string path = "/p2p/v1/blobs/" + ToString(request_.digest) + "/map";
  HttpCall call;
  if (action.known > 0) {
    path += "?known=" + std::to_string(action.known) + "&wait_ms=" + std::to_string(kMapWaitMs);
    path += Held(action.peer);
    call.stall_timeout = std::chrono::milliseconds(kMapWaitMs + 2000);
  } else {
    call.stall_timeout = std::chrono::seconds(2);
    call.connect_timeout = std::chrono::seconds(2);
  }
  call.url = PeerUrl(action.peer, *endpoint, path);
  call.headers = {{"Accept-Encoding", "zstd"}};
  call.peer = HttpCall::ToPeer{*endpoint, action.peer};
  Call& entry = calls_[action.id];
  entry.peer = action.peer;
  entry.map_waits = std::make_shared<std::atomic<bool>>(true);
  entry.peer_call = ports_.client.Get(
      std::move(call), kMapBytesMax,
      [self = shared_from_this(), id = action.id, peer = action.peer](auto answer) {
        self->ports_.loop.Post([self, id, peer, answer = std::move(answer)]() mutable {
          self->OnMapAnswer(id, peer, std::move(answer));
        });
      },
      [waits = entry.map_waits] { waits->store(false, std::memory_order_relaxed); });
}

void Transfer::OnMapAnswer(RequestId id, const PeerId& peer, Result<HttpClient::Answer> answer) {
  if (ended_ || calls_.erase(id) == 0) return;
  const auto held = held_.find(peer);
  const auto fail = [&](const Error& error) {
    Feed([&](Time now, DownloadActions& out) { download_.OnRequestFailed(now, id, error, out); });
  };
  if (!answer) {
    if (answer.error().code == Code::kRetryLater) ports_.on_unreachable(peer);
    return fail(answer.error());
  }
  if (answer->head.status == 404) return fail({Code::kNotFound, "the peer has nothing of it"});
  if (answer->head.status != 200) {
    return fail({answer->head.status == 403 ? Code::kDenied : Code::kRetryLater,
                 "the peer answered " + std::to_string(answer->head.status)});
  }
  auto body = DecodeBody(answer->head, std::move(answer->body), kMapBytesMax);
  if (!body) return fail(body.error());
  auto answer_map = DecodeMap(*body, held == held_.end() ? nullptr : &held->second);
  if (!answer_map) {
    held_.erase(peer);
    return fail(answer_map.error());
  }
  const HolderMap* const map = &answer_map->map;
  held_.insert_or_assign(peer, HeldChain{answer_map->epoch, map->chain});
  if (request_.expected_size && map->chain.geometry().blob() != *request_.expected_size) {
    return fail({Code::kCorrupt, "the peer says " +
                                     std::to_string(map->chain.geometry().blob().count()) +
                                     " bytes, the manifest says " +
                                     std::to_string(request_.expected_size->count())});
  }
  Feed([&](Time now, DownloadActions& out) { download_.OnMap(now, id, *map, out); });
}

ReceiverEvents Transfer::EventsFor(RequestId id, std::optional<PeerId> peer) {
  ReceiverEvents events;
  auto self = shared_from_this();
  events.on_bytes = [self, peer](std::int64_t count) {
    if (peer) {
      self->ports_.counters.AddIn(*peer, count);
    } else {
      self->ports_.counters.from_upstream += count;
    }
  };
  events.on_piece = [self, id](const HashedPiece& piece) {
    self->ports_.loop.Post([self, id, piece] { self->OnHashed(id, piece); });
  };
  events.on_chosen = [self, id](PieceIndex piece) {
    self->ports_.loop.Post([self, id, piece] { self->OnChosen(id, piece); });
  };
  events.on_busy = [self, id](const HolderBusy& busy) {
    self->ports_.loop.Post([self, id, busy] { self->OnBusy(id, busy); });
  };
  if (peer) {
    events.on_news = [self, peer = *peer](std::string text) {
      self->ports_.loop.Post([self, peer, text = std::move(text)] { self->OnNews(peer, text); });
    };
  }
  events.on_done = [self, id](const Status& status) {
    self->ports_.loop.Post([self, id, status] { self->OnCallDone(id, status); });
  };
  // Runs on a data thread: opens the file there, because bytes follow at once.
  events.on_size = [self, id](Bytes size) -> Result<std::shared_ptr<PieceWriter>> {
    const auto& expected = self->request_.expected_size;
    if (expected && *expected != size) {
      return Error{Code::kCorrupt, "the upstream says " + std::to_string(size.count()) +
                                       " bytes, the manifest says " +
                                       std::to_string(expected->count())};
    }
    auto geometry = CutFor(size, self->limits_.piece);  // as the core does it
    if (!geometry) return geometry.error();
    const std::lock_guard lock(self->shared_->mutex);
    if (self->shared_->writer == nullptr) {
      auto partial = self->ports_.store.OpenPartial(self->request_.digest, *geometry);
      if (!partial) return partial.error();
      self->shared_->writer = std::make_shared<PieceWriter>(*partial, (*partial)->have());
    }
    // Posted before any piece of it can be.
    self->ports_.loop.Post([self, id, size] {
      if (!self->calls_.contains(id)) return;
      self->Feed([&](Time now, DownloadActions& out) {
        self->download_.OnUpstreamSize(now, id, size, out);
      });
    });
    return self->shared_->writer;
  };
  return events;
}

void Transfer::Do(const FetchPieces& action) {
  const auto endpoint = ports_.dial(action.peer, request_.digest);
  if (!endpoint || download_.chain() == nullptr || shared_->writer == nullptr) {
    FailLater(action.id, {Code::kRetryLater, "the peer cannot be dialled now"});
    return;
  }
  const Geometry& geometry = download_.chain()->geometry();
  const PieceIndex last = action.first + (action.count - 1);
  const Bytes end = geometry.OffsetOf(last) + geometry.LengthOf(last);
  HttpCall call;
  std::string path = "/p2p/v1/blobs/" + ToString(request_.digest);
  if (action.known > 0) path += "?known=" + std::to_string(action.known) + Held(action.peer);
  call.url = PeerUrl(action.peer, *endpoint, path);
  call.headers = {{"Range", "bytes=" + std::to_string(geometry.OffsetOf(action.first).count()) +
                                "-" + std::to_string(end.count() - 1)}};
  if (!action.options.empty()) call.headers.emplace_back("Shoal-Or", ListOf(action.options));
  call.peer = HttpCall::ToPeer{*endpoint, action.peer};
  call.connect_timeout = std::chrono::seconds(2);
  PieceReceiver::Run run{action.id,          request_.digest, action.first,  action.count,
                         *download_.chain(), shared_->writer, action.options};
  Call& entry = calls_[action.id];
  entry.peer = action.peer;
  entry.receiver =
      std::make_shared<PieceReceiver>(std::move(run), EventsFor(action.id, action.peer));
  entry.peer_call = ports_.client.Start(std::move(call), entry.receiver);
}

void Transfer::Do(const FetchUpstream& action) {
  PieceReceiver::Run run;
  run.request = action.id;
  run.digest = request_.digest;
  run.first = action.first;
  run.count = action.count;
  Bytes offset;
  Bytes end(-1);
  if (download_.chain() != nullptr) {
    const Geometry& geometry = download_.chain()->geometry();
    run.chain = *download_.chain();
    run.writer = shared_->writer;
    offset = geometry.OffsetOf(action.first);
    if (action.count) {
      const PieceIndex last = action.first + (*action.count - 1);
      end = geometry.OffsetOf(last) + geometry.LengthOf(last);
    }
  }
  Call& entry = calls_[action.id];
  entry.receiver =
      std::make_shared<PieceReceiver>(std::move(run), EventsFor(action.id, std::nullopt));
  entry.upstream_call =
      ports_.upstream.Fetch(*request_.upstream, request_.digest, offset, end, entry.receiver);
}

void Transfer::Do(const CancelRequest& action) {
  const auto it = calls_.find(action.id);
  if (it == calls_.end()) return;
  const Call call = std::move(it->second);
  calls_.erase(it);
  if (call.peer_call) ports_.client.Cancel(*call.peer_call);
  if (call.upstream_call) ports_.upstream.Cancel(*call.upstream_call);
}

void Transfer::Do(const ResolveHolders& /*action*/) {
  std::weak_ptr<Transfer> weak = weak_from_this();
  ports_.resolve(
      request_.digest,
      [weak](const std::vector<PeerId>& peers) {
        if (auto self = weak.lock()) {
          self->Feed(
              [&](Time now, DownloadActions& out) { self->download_.OnHolders(now, peers, out); });
        }
      },
      [weak] {
        if (auto self = weak.lock()) {
          self->Feed([&](Time now, DownloadActions& out) { self->download_.OnResolved(now, out); });
        }
      });
}

void Transfer::Do(const AskSwarm& action) {
  if (!ports_.ask_arbiters) return;
  std::weak_ptr<Transfer> weak = weak_from_this();
  ports_.ask_arbiters(
      {.peer = ports_.self,
       .digest = request_.digest,
       .wants_lead = action.wants_lead,
       .whole = action.whole,
       .leaving = action.leaving,
       .progress = action.progress,
       .waiting = action.waiting,
       .misses_lead = action.misses_lead},
      [weak](const std::vector<PeerId>& members) {
        const auto self = weak.lock();
        if (!self) return;
        for (const PeerId& member : members) self->OnMember(member);
      },
      [weak](const std::optional<index::SwarmAnswer>& answer) {
        const auto self = weak.lock();
        if (!self) return;
        self->Feed([&](Time now, DownloadActions& out) {
          if (!answer) return self->download_.OnSwarmFailed(now, out);
          SwarmView view;
          view.we_lead = answer->lead == self->ports_.self;
          if (!view.we_lead) view.lead = answer->lead;
          view.members = answer->members;
          view.lease = answer->lease;
          view.lead_waits = answer->lead_waits;
          view.pace = answer->pace;
          self->download_.OnSwarm(now, view, out);
        });
      });
}

void Transfer::OnChosen(RequestId id, PieceIndex piece) {
  if (!calls_.contains(id)) return;
  Feed([&](Time now, DownloadActions& out) { download_.OnChosen(now, id, piece, out); });
}

void Transfer::OnBusy(RequestId id, const HolderBusy& busy) {
  if (ended_ || calls_.erase(id) == 0) return;
  Feed([&](Time now, DownloadActions& out) {
    download_.OnBusy(now, id, busy.retry, busy.others, out);
  });
}

// What it tells on its own is only taken when it fits: its map, asked, will say what is wrong.
void Transfer::OnNews(const PeerId& peer, const std::string& text) {
  const auto held = held_.find(peer);
  if (ended_ || held == held_.end()) return;
  auto news = DecodeMap(text, &held->second);
  if (!news || !(news->map.chain.geometry() == held->second.chain.geometry())) return;
  held->second = HeldChain{news->epoch, news->map.chain};
  Feed([&](Time now, DownloadActions& out) { download_.OnNews(now, peer, news->map, out); });
}

void Transfer::Do(const BanPeer& action) {
  ports_.counters.bans += 1;
  ports_.ban(action.peer, action.duration, action.reason);
}

void Transfer::Do(const UseGeometry& action) {
  std::shared_ptr<PieceWriter> writer;
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->writer && !(shared_->writer->geometry() == action.geometry)) {
      shared_->writer = nullptr;
      DropUpstreamCalls();
    }
    writer = shared_->writer;
  }
  if (writer) {
    Opened(writer->partial());
    return;
  }
  opening_ = true;
  ports_.pool.Post([self = shared_from_this(), geometry = action.geometry] {
    // An answer of the upstream may open it at the same time: one writer a file.
    const std::lock_guard lock(self->shared_->mutex);
    auto& open = self->shared_->writer;
    auto partial = open && open->geometry() == geometry
                       ? Result(open->partial())
                       : self->ports_.store.OpenPartial(self->request_.digest, geometry);
    if (partial && (!open || open->partial() != *partial)) {
      open = std::make_shared<PieceWriter>(*partial, (*partial)->have());
    }
    self->ports_.loop.Post(
        [self, partial = std::move(partial)]() mutable { self->Opened(std::move(partial)); });
  });
}

// They write a file that is cut in other pieces than the core goes by now.
void Transfer::DropUpstreamCalls() {
  std::vector<RequestId> dropped;
  for (const auto& [id, call] : calls_) {
    if (!call.upstream_call) continue;
    ports_.upstream.Cancel(*call.upstream_call);
    dropped.push_back(id);
  }
  for (const RequestId id : dropped) {
    FailLater(id, {Code::kRetryLater, "the blob's pieces are cut otherwise now"});
  }
}

void Transfer::Opened(Result<std::shared_ptr<PartialBlob>> partial) {
  if (ended_) return;
  opening_ = false;
  if (!partial) {
    NoteDiskError(partial.error());
    return;
  }
  if (live_) live_->Fail({Code::kRetryLater, "the blob's pieces are cut otherwise now; ask again"});
  MakeLive();
  if (download_.have().count() > 0) {
    live_->AddOrigin({.local = true});
  }
  Run({});
}

void Transfer::MakeLive() {
  const std::shared_ptr<PartialBlob>& partial = shared_->writer->partial();
  const Geometry& geometry = partial->geometry();
  readers_.clear();
  live_ = std::make_shared<LiveBlob>(
      request_.digest, geometry, partial->file(), spoiled_ ? StreamMode::kProved : ports_.mode,
      [weak = weak_from_this(), &loop = ports_.loop](int reader, PieceIndex piece) {
        loop.Post([weak, reader, piece] {
          if (auto self = weak.lock()) self->OnReader(reader, piece);
        });
      });
  // What is on disk and what the core goes by are the same thing: it resumed from there.
  const PieceMap& have = download_.have();
  for (PieceIndex piece{0}; piece.value < geometry.count(); ++piece) {
    const ChainState* state = download_.chain()->Before(piece);
    if (piece.value > 0 && state != nullptr) live_->SetState(piece, *state);
    if (have.Has(piece)) live_->AddPiece(piece);
  }
  hooks_.on_live(live_);
  TellLive(live_);
}

void Transfer::OnReader(int reader, PieceIndex piece) {
  if (ended_ || !live_) return;
  if (piece.value < live_->geometry().count()) {
    readers_.insert(reader);
  } else if (readers_.erase(reader) > 0) {
    idle_since_ = ports_.loop.Now();
  }
  Feed([&](Time now, DownloadActions& out) { download_.OnReader(now, reader, piece, out); });
}

void Transfer::Do(const LearnState& action) {
  if (shared_->writer == nullptr) return;
  if (auto kept = shared_->writer->partial()->SetState(action.piece, action.state); !kept) {
    NoteDiskError(kept.error());
    return;
  }
  live_->SetState(action.piece, action.state);
}

void Transfer::Do(const ForgetPieces& action) {
  spdlog::warn("{}: {} pieces were verified under a false chain and are fetched again",
               ToString(request_.digest), action.pieces.size());
  for (const PieceIndex piece : action.pieces) {
    shared_->writer->Reopen(piece);
    if (auto kept = shared_->writer->partial()->ForgetPiece(piece); !kept) {
      NoteDiskError(kept.error());
      return;
    }
  }
  for (const PieceIndex piece : action.states) {
    if (auto kept = shared_->writer->partial()->ClearState(piece); !kept) {
      NoteDiskError(kept.error());
      return;
    }
  }
  if (live_->Forget(action.pieces, action.states)) {
    spoiled_ = true;
    MakeLive();
  }
}

void Transfer::OnHashed(RequestId id, const HashedPiece& hashed) {
  const std::shared_ptr<PieceWriter>& writer = hashed.writer;
  const auto call = calls_.find(id);
  // Of a request that was taken back, or of a file that is cut otherwise: nobody will judge it.
  if (ended_ || call == calls_.end() || download_.chain() == nullptr ||
      !(writer->geometry() == download_.chain()->geometry())) {
    writer->Release(hashed.piece, id);
    return;
  }
  const bool from_upstream = call->second.upstream_call.has_value();
  const bool had = download_.have().Has(hashed.piece);
  if (!had && hashed.displaced) {
    // The request whose bytes are on the disk will be judged for them, or the piece asked again.
    const Call lost = std::move(call->second);
    if (lost.peer_call) ports_.client.Cancel(*lost.peer_call);
    if (lost.upstream_call) ports_.upstream.Cancel(*lost.upstream_call);
    FailLater(id, {Code::kRetryLater, "another answer for the same piece was in its way"});
    return;
  }
  Feed([&](Time now, DownloadActions& out) {
    download_.OnPieceHashed(now, id, hashed.piece, hashed.after, hashed.digest_ok, out);
    if (had) return;
    if (!download_.have().Has(hashed.piece)) {
      writer->Release(hashed.piece, id);
      ports_.counters.corrupt_pieces += 1;
      return;
    }
    writer->Land(hashed.piece);
    if (auto kept = writer->partial()->MarkPiece(hashed.piece); !kept) {
      spdlog::warn("{}: {}", ToString(request_.digest), kept.error().text);
    }
    if (!live_ || opening_) return;  // it will begin with what is here
    live_->AddOrigin({.peers = !from_upstream, .upstream = from_upstream});
    if (download_.doubtful()) live_->Hold(true);
    // First the state after it, which is among the actions: whoever is told of the piece at once
    // could not verify it.
    const Chain& chain = *download_.chain();
    const PieceIndex next = hashed.piece + 1;
    const bool ends = hashed.piece == chain.geometry().last();
    if (const ChainState* after = ends ? nullptr : chain.Before(next)) {
      live_->SetState(next, *after);
    }
    live_->AddPiece(hashed.piece);
  });
  if (ended_ || had || !live_) return;
  hooks_.on_pieces();
}

void Transfer::OnCallDone(RequestId id, const Status& status) {
  const auto it = calls_.find(id);
  if (ended_ || it == calls_.end()) return;
  const std::optional<PeerId> peer = it->second.peer;
  calls_.erase(it);
  if (!status && (status.error().code == Code::kExhausted)) {
    NoteDiskError(status.error());
    return;
  }
  if (!status && peer && status.error().code == Code::kRetryLater) ports_.on_unreachable(*peer);
  Feed([&](Time now, DownloadActions& out) {
    if (status) {
      download_.OnRequestDone(now, id, out);
    } else {
      download_.OnRequestFailed(now, id, status.error(), out);
    }
  });
}

// Nowhere to write: no other peer helps. The pieces so far stay.
void Transfer::NoteDiskError(const Error& error) {
  spdlog::error("{}: {}", ToString(request_.digest), error.text);
  End(error);
}

void Transfer::PollReceivers() {
  for (auto& [id, call] : calls_) {
    const bool waits = call.receiver
                           ? call.receiver->waiting()
                           : call.map_waits && call.map_waits->load(std::memory_order_relaxed);
    if (waits) {
      DownloadActions actions;
      download_.OnWaiting(ports_.loop.Now(), id, actions);
      for (auto& action : actions) queue_.push_back(std::move(action));
      continue;
    }
    if (!call.receiver) continue;
    const std::int64_t received = call.receiver->received();
    if (received == call.seen) continue;
    const Bytes count(received - std::exchange(call.seen, received));
    DownloadActions actions;
    download_.OnBytes(ports_.loop.Now(), id, count, actions);
    for (auto& action : actions) queue_.push_back(std::move(action));
  }
}

void Transfer::Schedule() {
  const Time next = download_.NextDeadline();
  if (next == kNever || next >= scheduled_) return;
  scheduled_ = next;
  const Time now = ports_.loop.Now();
  ports_.loop.After(std::max(next - now, Duration(1000)), [weak = weak_from_this(), next] {
    auto self = weak.lock();
    if (!self || self->ended_ || self->scheduled_ != next) return;
    self->scheduled_ = kNever;
    self->PollReceivers();
    self->Feed([&](Time at, DownloadActions& out) { self->download_.OnDeadline(at, out); });
  });
}

void Transfer::Do(const Proved& /*action*/) {
  // An empty blob is proved without a piece ever arriving.
  if (live_->geometry().blob() == Bytes(0)) {
    if (auto marked = shared_->writer->partial()->MarkPiece({0}); !marked) {
      NoteDiskError(marked.error());
      return;
    }
    live_->AddPiece({0});
  }
  live_->Prove();
  AnswerReady(live_);
  live_->SettleOrigin();
  Commit();
}

void Transfer::Commit() {
  ports_.pool.Post([self = shared_from_this()] {
    auto committed = self->ports_.store.Commit(self->shared_->writer->partial());
    self->ports_.loop.Post([self, committed] {
      if (committed) {
        self->End(self->live_->geometry().blob());
      } else {
        spdlog::error("{} is whole but could not be kept: {}", ToString(self->request_.digest),
                      committed.error().text);
        self->End(committed.error());
      }
    });
  });
}

void Transfer::Do(const GaveUp& action) { End(action.error); }

void Transfer::Abandon(const std::string& why) {
  if (!ended_ && limits_.arbitrated) {
    Do(AskSwarm{.leaving = true, .progress = download_.sources().upstream.count()});
  }
  if (!ended_) End(Error{Code::kCancelled, why});
}

void Transfer::End(Result<Bytes> result) {
  if (ended_) return;
  ended_ = true;
  queue_.clear();
  TellLive(nullptr);
  for (auto& [id, call] : std::exchange(calls_, {})) {
    if (call.peer_call) ports_.client.Cancel(*call.peer_call);
    if (call.upstream_call) ports_.upstream.Cancel(*call.upstream_call);
  }
  // What is on disk did not lead to the digest: nobody shall go on from it.
  if (!result && result.error().code == Code::kCorrupt) {
    ports_.pool.Post([self = shared_from_this()] {
      if (auto dropped = self->ports_.store.DropPartial(self->request_.digest); !dropped) {
        spdlog::warn("{}: {}", ToString(self->request_.digest), dropped.error().text);
      }
    });
  }
  if (!result) {
    if (live_) live_->Fail(result.error());
    AnswerReady(result.error());
  }
  hooks_.on_ended(std::move(result));
}

}  // namespace shoal::fetch
