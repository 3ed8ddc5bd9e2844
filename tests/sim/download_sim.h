// DownloadSim: a world of peers and an upstream, with faults, around one Download.
//
// Everything happens at simulated times in an order that one seed fixes. Bytes are real and really
// hashed, so that a lie is found by the same arithmetic as outside. The checkers lie here, outside
// of what they check: who may be banned, how often a piece is asked, that every id is ended once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "fetch/download.h"

namespace shoal::sim {

// A blob's bytes with its chain.
struct SimBlob {
  SimBlob(ByteVector b, Bytes piece)
      : bytes(std::move(b)),
        geometry(
            fetch::Geometry::Make(Bytes(static_cast<std::int64_t>(bytes.size())), piece).value()),
        chain(geometry) {
    fetch::ChainHasher hasher;
    for (fetch::PieceIndex i{0}; i < geometry.last(); ++i) {
      hasher.Update(Piece(i));
      chain.Set(i + 1, hasher.State());
    }
    hasher.Update(Piece(geometry.last()));
    digest = hasher.Finish();
  }

  [[nodiscard]] ByteSpan Piece(fetch::PieceIndex i) const {
    return ByteSpan(bytes).subspan(static_cast<std::size_t>(geometry.OffsetOf(i).count()),
                                   static_cast<std::size_t>(geometry.LengthOf(i).count()));
  }

  ByteVector bytes;
  fetch::Geometry geometry;
  fetch::Chain chain;
  Digest digest;
};

// How a peer behaves. The default is an honest, complete, quick holder.
struct SimPeer {
  const SimBlob* blob = nullptr;        // whose chain it vouches for and whose bytes it sends
  std::int32_t pieces = 1 << 20;        // it has so many from the front (at most all)
  std::optional<Duration> grows_every;  // and one more each so often
  std::set<std::int32_t> corrupts;      // pieces that it sends with a flipped bit
  bool overclaims = false;              // its map lists all; what it has not it refuses
  std::optional<std::int32_t> forged;   // this state in its chain is wrong
  Duration latency = std::chrono::milliseconds(1);
  std::int64_t rate = 100 << 20;  // bytes a second, each request
  double stalls = 0;              // probability for each request to stop in the middle, silently
  double resets = 0;              // or with an error
  bool map_hangs = false;
  bool map_refuses = false;
  std::optional<Duration> vanishes;  // from then on nothing is answered; the roster says so later

  [[nodiscard]] bool LiesInBytes() const { return !corrupts.empty() || forged.has_value(); }
};

struct SimUpstream {
  const SimBlob* blob = nullptr;  // null: there is no upstream
  Duration latency = std::chrono::milliseconds(20);
  std::int64_t rate = 50 << 20;
  std::optional<Code> refuses;                // every request
  double fails = 0;                           // probability for each request to answer 500
  double truncates = 0;                       // or to end early
  bool hangs = false;                         // never answers
  std::set<std::int32_t> corrupts;            // pieces with a flipped bit
  std::optional<std::int32_t> corrupts_once;  // one of them, the first time only
};

class DownloadSim {
 public:
  DownloadSim(const SimBlob& truth, fetch::DownloadLimits limits, std::uint64_t seed,
              bool has_upstream)
      : truth_(truth),
        limits_(limits),
        rng_(seed),
        download_(truth.digest, limits, has_upstream, Rng(seed * 31 + 7)) {}

  static PeerId IdOf(int peer) {
    PeerId id;
    id.bytes[0] = static_cast<std::byte>(peer + 1);
    id.bytes[1] = static_cast<std::byte>((peer + 1) >> 8);
    return id;
  }

  int AddPeer(SimPeer peer) {
    peers_.push_back(std::move(peer));
    return static_cast<int>(peers_.size()) - 1;
  }
  SimUpstream& upstream() { return upstream_; }
  fetch::Download& download() { return download_; }

  // Runs until the download is over, or `limit` has passed, or `until` says so.
  void Run(const std::vector<int>& known, const std::vector<int>& resolved,
           Duration limit = std::chrono::minutes(20), std::function<bool()> until = {}) {
    for (const int peer : resolved) resolved_.push_back(IdOf(peer));
    std::vector<PeerId> ids;
    for (const int peer : known) ids.push_back(IdOf(peer));
    for (int p = 0; p < static_cast<int>(peers_.size()); ++p) {
      if (!peers_[p].vanishes) continue;
      At(now_ + *peers_[p].vanishes + std::chrono::milliseconds(300),
         [this, p] { Feed([&](auto& out) { download_.OnPeerGone(now_, IdOf(p), out); }); });
    }
    Feed([&](auto& out) { download_.Start(now_, ids, out); });
    const Time end = now_ + limit;
    while (!download_.finished() && !(until && until())) {
      const Time deadline = download_.NextDeadline();
      const Time event = events_.empty() ? kNever : events_.begin()->first.first;
      if (std::min(deadline, event) > end) return Fail("did not end in time");
      if (event <= deadline) {
        now_ = event;
        auto work = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        work();
      } else {
        now_ = deadline;
        Feed([&](auto& out) { download_.OnDeadline(now_, out); });
        if (!download_.finished() && download_.NextDeadline() <= now_)
          Fail("a deadline in the past");
      }
      if (++steps_ > 3'000'000) return Fail("runs in circles");
    }
  }

  [[nodiscard]] Time now() const { return now_; }
  [[nodiscard]] bool proved() const { return proved_; }
  [[nodiscard]] const std::optional<Error>& gave_up() const { return gave_up_; }
  [[nodiscard]] const std::vector<std::string>& failures() const { return failures_; }
  [[nodiscard]] const std::set<int>& banned() const { return banned_; }
  [[nodiscard]] int upstream_requests() const { return upstream_requests_; }
  [[nodiscard]] const std::map<int, std::vector<fetch::FetchPieces>>& asked() const {
    return asked_;
  }
  [[nodiscard]] const std::vector<std::string>& log() const { return log_; }
  // Simulated time from Start to the first verified piece.
  [[nodiscard]] std::optional<Time> first_piece() const { return first_piece_; }

 private:
  struct Transfer {
    fetch::RequestId id = 0;
    int peer = -1;  // -1: the upstream
    fetch::PieceIndex piece;
    fetch::PieceIndex end;
    std::optional<fetch::Chain> chain;  // as known when it was asked: what the hasher starts from
    std::optional<fetch::ChainHasher> hasher;
    std::optional<Bytes> stops_at;  // of this request's bytes
    bool stop_is_silent = true;
    Bytes sent;     // of this request
    Bytes current;  // of the present piece
  };

  void At(Time time, std::function<void()> work) {
    events_.emplace(std::pair(std::max(time, now_), next_event_++), std::move(work));
  }

  void Fail(const std::string& what) { failures_.push_back(what); }

  template <class Event>
  void Feed(Event&& event) {
    fetch::DownloadActions out;
    const bool was_finished = download_.finished();
    event(out);
    download_.CheckInvariants();
    if (was_finished && !out.empty()) Fail("acts after its end");
    for (const auto& action : out) {
      std::visit([this](const auto& what) { this->Do(what); }, action);
    }
  }

  bool Chance(double p) { return rng_.Unit() < p; }
  bool Vanished(int peer) const {
    return peers_[peer].vanishes && now_.time_since_epoch() >= *peers_[peer].vanishes;
  }
  int PeerOf(const PeerId& id) const {
    return std::to_integer<int>(id.bytes[0]) + 256 * std::to_integer<int>(id.bytes[1]) - 1;
  }
  std::int32_t Has(int p) const {
    const SimPeer& peer = peers_[p];
    std::int64_t pieces = peer.pieces;
    if (peer.grows_every) pieces += now_.time_since_epoch() / *peer.grows_every;
    return static_cast<std::int32_t>(std::min<std::int64_t>(pieces, peer.blob->geometry.count()));
  }

  void Note(const std::string& text) {
    log_.push_back(std::to_string(now_.time_since_epoch().count()) + "us " + text);
  }

  void Open(fetch::RequestId id) {
    if (!open_.insert(id).second) Fail("an id twice");
  }

  // Actions.

  void Do(const fetch::FetchMap& action) {
    const int p = PeerOf(action.peer);
    Open(action.id);
    Note("map? " + std::to_string(p) + " known " + std::to_string(action.known));
    if (banned_.contains(p)) Fail("asked a banned peer for its map");
    if (peers_[p].map_hangs || Vanished(p)) return;
    AnswerMap(action, now_ + peers_[p].latency * 2, now_ + std::chrono::seconds(10));
  }

  void AnswerMap(const fetch::FetchMap& action, Time when, Time until) {
    At(when, [this, action, until] {
      const int p = PeerOf(action.peer);
      const SimPeer& peer = peers_[p];
      if (!open_.contains(action.id) || Vanished(p)) return;
      const std::int32_t has = Has(p);
      const bool wait = action.known > 0 && !peer.overclaims && has <= action.known;
      if (wait && now_ < until && peer.grows_every) {
        return AnswerMap(action, now_ + std::chrono::milliseconds(5), until);
      }
      if (wait && now_ < until) return AnswerMap(action, until, until);
      open_.erase(action.id);
      if (peer.map_refuses) {
        return Feed([&](auto& out) {
          download_.OnRequestFailed(now_, action.id, {Code::kNotFound, "nothing of it"}, out);
        });
      }
      const fetch::Geometry& geometry = peer.blob->geometry;
      fetch::HolderMap map{fetch::Chain(geometry), fetch::PieceMap(geometry.count())};
      for (fetch::PieceIndex i{0}; i.value < geometry.count(); ++i) {
        if (peer.overclaims || i.value < has) map.have.Set(i);
        if (i.value > 0 && (peer.overclaims || i.value <= has)) {
          fetch::ChainState state = *peer.blob->chain.Before(i);
          if (peer.forged == i.value) state[5] ^= std::byte{0x10};
          map.chain.Set(i, state);
        }
      }
      Feed([&](auto& out) { download_.OnMap(now_, action.id, map, out); });
    });
  }

  void Do(const fetch::FetchPieces& action) {
    const int p = PeerOf(action.peer);
    Open(action.id);
    Note("pieces? " + std::to_string(p) + " " + std::to_string(action.first.value) + "+" +
         std::to_string(action.count) + " id " + std::to_string(action.id));
    asked_[p].push_back(action);
    if (banned_.contains(p)) Fail("asked a banned peer for pieces");
    if (action.count < 1 || action.count > limits_.run_pieces_max) Fail("a run of wrong length");
    const fetch::Chain* chain = download_.chain();
    if (chain == nullptr) return Fail("asked for pieces without a chain");
    for (int k = 0; k < action.count; ++k) {
      const fetch::PieceIndex i = action.first + k;
      if (i.value >= chain->geometry().count()) return Fail("asked for a piece that is not there");
      if (download_.have().Has(i)) Fail("asked for a piece that is here");
      if (!CanVerify(*chain, i)) Fail("asked for a piece that cannot be verified");
      int others = 0;
      for (const auto& [id, transfer] : transfers_) {
        if (transfer->peer >= 0 && transfer->piece <= i && i < transfer->end) {
          ++others;
          if (transfer->peer == p) Fail("asked the same peer twice for one piece");
        }
      }
      if (others > 1) Fail("more than two askings of a piece");
    }
    auto transfer = std::make_shared<Transfer>();
    transfer->id = action.id;
    transfer->peer = p;
    transfer->piece = action.first;
    transfer->end = action.first + action.count;
    transfer->chain = *chain;
    const SimPeer& peer = peers_[p];
    const bool stalls = Chance(peer.stalls);
    if (stalls || Chance(peer.resets)) {
      transfer->stops_at = Bytes(static_cast<std::int64_t>(
          rng_.Below(static_cast<std::uint64_t>(chain->geometry().piece().count()))));
      transfer->stop_is_silent = stalls;
    }
    transfers_[action.id] = transfer;
    Proceed(transfer, peer.latency * 2);
  }

  void Do(const fetch::FetchUpstream& action) {
    Open(action.id);
    ++upstream_requests_;
    Note("upstream? from " + std::to_string(action.first.value) + " id " +
         std::to_string(action.id));
    if (upstream_.blob == nullptr) return Fail("asked an upstream that is not there");
    if (upstream_.hangs) return;
    At(now_ + upstream_.latency, [this, action] {
      if (!open_.contains(action.id)) return;
      if (upstream_.refuses || Chance(upstream_.fails)) {
        const Error error{upstream_.refuses.value_or(Code::kRetryLater), "the upstream refused"};
        open_.erase(action.id);
        return Feed([&](auto& out) { download_.OnRequestFailed(now_, action.id, error, out); });
      }
      const Bytes size = upstream_.blob->geometry.blob();
      Feed([&](auto& out) { download_.OnUpstreamSize(now_, action.id, size, out); });
      if (!open_.contains(action.id)) return;
      if (download_.chain() == nullptr) return Fail("no geometry after the upstream's size");
      auto transfer = std::make_shared<Transfer>();
      transfer->id = action.id;
      transfer->piece = action.first;
      transfer->chain = *download_.chain();
      const std::int32_t count = download_.chain()->geometry().count();
      transfer->end = action.count ? action.first + *action.count : fetch::PieceIndex{count};
      if (transfer->end.value > count) return Fail("upstream run beyond the end");
      if (transfer->chain->Before(action.first) == nullptr) {
        return Fail("upstream asked from an unknown state");
      }
      if (Chance(upstream_.truncates)) {
        const std::int64_t whole =
            (size - transfer->chain->geometry().OffsetOf(action.first)).count();
        transfer->stops_at =
            Bytes(static_cast<std::int64_t>(rng_.Below(static_cast<std::uint64_t>(whole + 1))));
        transfer->stop_is_silent = false;
      }
      transfers_[action.id] = transfer;
      Proceed(transfer, Duration(0));
    });
  }

  void Do(const fetch::CancelRequest& action) {
    Note("cancel id " + std::to_string(action.id));
    if (open_.erase(action.id) == 0) Fail("cancelled what is not open");
    transfers_.erase(action.id);
  }

  void Do(const fetch::AskSwarm& /*action*/) { Fail("asked arbiters where there are none"); }

  void Do(const fetch::ResolveHolders& /*action*/) {
    At(now_ + std::chrono::milliseconds(1 + static_cast<int>(rng_.Below(20))), [this] {
      Feed([&](auto& out) { download_.OnHolders(now_, resolved_, out); });
      Feed([&](auto& out) { download_.OnResolved(now_, out); });
    });
  }

  void Do(const fetch::BanPeer& action) {
    const int p = PeerOf(action.peer);
    Note("ban " + std::to_string(p) + " " + action.reason);
    banned_.insert(p);
    if (peers_[p].blob == &truth_ && !peers_[p].LiesInBytes()) Fail("banned an honest peer");
  }

  void Do(const fetch::UseGeometry& action) {
    Note("geometry " + std::to_string(action.geometry.count()));
    if (geometry_ && *geometry_ == action.geometry) Fail("the same geometry twice");
    geometry_ = action.geometry;
    store_.clear();
  }

  void Do(const fetch::ForgetPieces& action) {
    Note("forget " + std::to_string(action.pieces.size()) + " pieces");
    for (const fetch::PieceIndex i : action.pieces) {
      if (store_.erase(i.value) == 0) Fail("forgot a piece that is not here");
    }
    for (const fetch::PieceIndex i : action.states) states_.erase(i.value);
  }

  void Do(const fetch::LearnState& action) { states_[action.piece.value] = action.state; }

  void Do(const fetch::Proved& /*action*/) {
    Note("proved");
    if (proved_ || gave_up_) Fail("two ends");
    proved_ = true;
    if (!open_.empty()) Fail("requests left open at the end");
    ByteVector whole;
    for (const auto& [i, bytes] : store_) whole.insert(whole.end(), bytes.begin(), bytes.end());
    if (whole != truth_.bytes) Fail("proved the wrong bytes");
    for (fetch::PieceIndex i{1}; i.value < truth_.geometry.count(); ++i) {
      if (geometry_ != truth_.geometry) break;
      if (states_[i.value] != *truth_.chain.Before(i)) Fail("kept a wrong chain");
    }
  }

  void Do(const fetch::GaveUp& action) {
    Note("gave up: " + action.error.ToString());
    if (proved_ || gave_up_) Fail("two ends");
    if (!open_.empty()) Fail("requests left open at the end");
    gave_up_ = action.error;
  }

  // Sends the next quarter of a piece, or ends.
  void Proceed(const std::shared_ptr<Transfer>& transfer, Duration wait) {
    At(now_ + wait, [this, transfer] {
      if (!open_.contains(transfer->id)) return;
      if (transfer->peer >= 0 && Vanished(transfer->peer)) return;
      if (!(transfer->piece < transfer->end)) {
        return End(transfer, std::nullopt);
      }
      const fetch::Geometry& geometry = transfer->chain->geometry();
      const SimPeer* peer = transfer->peer >= 0 ? &peers_[transfer->peer] : nullptr;
      const SimBlob& blob = peer != nullptr ? *peer->blob : *upstream_.blob;
      if (peer != nullptr && transfer->piece.value >= Has(transfer->peer)) {
        return End(transfer, Error{Code::kCorrupt, "416: it has not what its map said"});
      }
      const Bytes length = geometry.LengthOf(transfer->piece);
      const Bytes quarter((length.count() + 3) / 4);
      const Bytes now_sent = std::min(quarter, length - transfer->current);
      if (transfer->stops_at && transfer->sent + now_sent > *transfer->stops_at) {
        if (transfer->stop_is_silent) return;
        return End(transfer, Error{Code::kRetryLater, "connection reset"});
      }
      transfer->sent += now_sent;
      transfer->current += now_sent;
      Feed([&](auto& out) { download_.OnBytes(now_, transfer->id, now_sent, out); });
      if (!open_.contains(transfer->id)) return;
      if (transfer->current == length) {
        transfer->current = Bytes(0);
        PieceCame(transfer, blob);
        if (!open_.contains(transfer->id)) return;
      }
      const std::int64_t rate = peer != nullptr ? peer->rate : upstream_.rate;
      Proceed(transfer, Duration(now_sent.count() * 1'000'000 / rate + 1));
    });
  }

  void PieceCame(const std::shared_ptr<Transfer>& transfer, const SimBlob& blob) {
    const fetch::PieceIndex piece = transfer->piece;
    const fetch::Geometry& geometry = transfer->chain->geometry();
    // What the sender's blob has at this place, padded when it is shorter.
    ByteVector bytes(static_cast<std::size_t>(geometry.LengthOf(piece).count()));
    const auto offset = static_cast<std::size_t>(geometry.OffsetOf(piece).count());
    for (std::size_t k = 0; k < bytes.size() && offset + k < blob.bytes.size(); ++k) {
      bytes[k] = blob.bytes[offset + k];
    }
    if (Spoils(*transfer, piece)) bytes[bytes.size() / 2] ^= std::byte{4};
    if (const auto* before = transfer->chain->Before(piece)) {
      transfer->hasher.emplace(*before, geometry.OffsetOf(piece));
    }
    transfer->hasher->Update(bytes);
    const bool last = piece == geometry.last();
    const fetch::ChainState after = last ? fetch::ChainState{} : transfer->hasher->State();
    const bool digest_ok = last && transfer->hasher->Finish() == truth_.digest;
    const bool had = download_.have().Has(piece);
    ++transfer->piece;
    Feed([&](auto& out) {
      download_.OnPieceHashed(now_, transfer->id, piece, after, digest_ok, out);
      if (had || download_.have().size() <= piece.value || !download_.have().Has(piece)) return;
      if (!first_piece_) first_piece_ = now_;
      store_[piece.value] = bytes;
    });
  }

  bool Spoils(const Transfer& transfer, fetch::PieceIndex piece) {
    if (transfer.peer >= 0) return peers_[transfer.peer].corrupts.contains(piece.value);
    if (upstream_.corrupts_once == piece.value) {
      upstream_.corrupts_once.reset();
      return true;
    }
    return upstream_.corrupts.contains(piece.value);
  }

  void End(const std::shared_ptr<Transfer>& transfer, std::optional<Error> error) {
    open_.erase(transfer->id);
    transfers_.erase(transfer->id);
    Feed([&](auto& out) {
      if (error) {
        download_.OnRequestFailed(now_, transfer->id, *error, out);
      } else {
        download_.OnRequestDone(now_, transfer->id, out);
      }
    });
  }

  const SimBlob& truth_;
  fetch::DownloadLimits limits_;
  Rng rng_;
  fetch::Download download_;
  std::vector<SimPeer> peers_;
  SimUpstream upstream_;
  std::vector<PeerId> resolved_;
  Time now_{};
  std::int64_t steps_ = 0;
  std::uint64_t next_event_ = 0;
  std::map<std::pair<Time, std::uint64_t>, std::function<void()>> events_;
  std::set<fetch::RequestId> open_;
  std::map<fetch::RequestId, std::shared_ptr<Transfer>> transfers_;
  std::optional<fetch::Geometry> geometry_;
  std::map<std::int32_t, ByteVector> store_;
  std::map<std::int32_t, fetch::ChainState> states_;
  std::map<int, std::vector<fetch::FetchPieces>> asked_;
  int upstream_requests_ = 0;
  std::set<int> banned_;
  bool proved_ = false;
  std::optional<Error> gave_up_;
  std::optional<Time> first_piece_;
  std::vector<std::string> failures_;
  std::vector<std::string> log_;
};

}  // namespace shoal::sim
