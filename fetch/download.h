// Download: decides how one blob gets here. Owns no socket, file, thread or clock.
//
// What comes in are events with `now`; what goes out are actions for the shell (fetch/transport) to
// carry out. The shell answers every FetchMap, FetchPieces and FetchUpstream with progress events
// and exactly one end (OnRequestDone or OnRequestFailed), unless CancelRequest took it back.
//
// Rules
// 1. Holders are asked for their map (size, piece size, chain, have) first; of those that the
//    catalog lists a few at a time. A peer is asked only for pieces that its map lists and whose
//    states it vouches for itself, so that a piece that fails is always its sender's blame. Rarest
//    first inside a window behind the readers' position, random among equals. A request names
//    further pieces that would do as well, of the window and of beyond it; the holder sends the one
//    it has sent least (OnChosen), and until then none of them is asked elsewhere. The piece that a
//    reader begins with is named first until it is here; a peer that has not delivered yet is asked
//    for one piece only. Holders of whom less is asked come first, a lead that alone has something
//    one piece sooner. As many pieces are asked at once, all holders together, as Pipeline says. A
//    holder that is busy (OnBusy) is asked again when it said. Where more peers are known than are
//    asked, one that has nothing new, or is busy, gives its place to another.
// 2. After Start the shell resolves holders (ResolveHolders), unless the catalog lists many; then
//    only when these are in vain. Once OnResolved came, or after limits.resolve, and no holder is
//    known that answers, the upstream is wanted at once.
// 3. Holders that exist but make no progress (for limits.peer_budget no piece verified, not
//    even a piece's worth of bytes, and no word that they are busy) are joined by the upstream,
//    which fetches from the first absent piece on that no holder has; its run is cut where pieces
//    are already here, or just being fetched from a peer. Upstream bytes need no chain: they
//    extend it.
//    Where there are arbiters (limits.arbitrated) an upstream that is wanted is asked only by the
//    swarm's lead (AskSwarm, OnSwarm; docs/SWARM.md); by anybody when no arbiter answers
//    (OnSwarmFailed), or when neither the lead nor anybody else brought a byte for
//    limits.lead_budget. A lead waits for the maps that it asked for before it led, not for later
//    ones, and keeps the lead meanwhile. A lead that loses the lead stops asking the upstream. One
//    that has to wait for its turn says so, and is waited for (index::kLeadWaitMax).
// 4. A request without a byte for limits.stall (upstream: limits.upstream_stall; where nearly all
//    pieces take longer, as long as that, up to four times limits.stall) is cancelled, its pieces
//    go elsewhere at once, and its peer is asked nothing for a while (doubling, from limits.stall
//    up to kPenaltyMax). Any other failure of a peer is treated alike. A request that is older than
//    that and far slower than what another holder of the piece would need (kSlowFactor), and than
//    pieces usually take, is taken back too; its peer then has one request at a time for kSlowTime.
//    While a request waits for its turn with us (OnWaiting) none of this applies, and while one for
//    bytes does, nothing is given up.
// 5. A piece that fails verification bans its sender and costs that piece only. Chains that
//    contradict each other are kept apart as candidates; one is gone by at a time. While there is
//    a contradiction the last piece is asked early: it proves where its chain ends, and refutes
//    every candidate that ends elsewhere. Another candidate takes over when nobody who may still be
//    asked stands behind the present one where the two differ, or when it stalls and the upstream
//    brings nothing either. Pieces stay when both chains agree around them, else they are
//    forgotten.
// 6. End game: when every absent piece of the window is asked, an idle source may be asked for the
//    piece that has waited longest at a slower one, and longer than nearly all pieces take; the
//    loser is cancelled. At most two askings of a piece.
// 7. The last piece is verified against the digest; when all pieces have passed, the digest is
//    proved (Proved) and the download is over. Where upstream bytes contradict the peers' chain,
//    holders that claim the last piece get limits.peer_budget to prove their chain with it. If they
//    do, the upstream is wrong; else its bytes replace what contradicts them. Pieces of peers and
//    upstream that do not lead to the digest together are forgotten, and the upstream is read
//    alone; its own bytes may fail once, then it is given up as corrupt.
// 8. Every wait is bounded: when nothing is left to ask or to wait for, or no progress was made
//    for limits.give_up, the download ends in GaveUp with the error that says most: the
//    upstream's, else a peer's.
// An empty blob is proved at Start, by its digest alone: UseGeometry, then Proved.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/rng.h"
#include "base/time.h"
#include "fetch/chain.h"
#include "fetch/piece.h"

namespace shoal::fetch {

struct DownloadLimits {
  Bytes piece{1 << 20};       // of blobs that we fetch from the upstream
  int parallel_pieces = 16;   // asked at once, all sources together
  int parallel_min = 4;       // asked at once whatever was measured
  int parallel_per_peer = 4;  // see architecture, figures to design by
  int run_pieces_max = 1;     // neighbours in one request; more than 1 leaves the holder no choice
  int options_max = 15;       // further pieces that a request names
  int window_pieces = 32;     // ahead of the slowest reader
  int holders_max = 24;       // asked for maps at once
  Duration resolve = std::chrono::milliseconds(50);  // index.resolve_timeout
  Duration peer_budget = std::chrono::seconds(1);    // fetch.peer_budget
  Duration stall = std::chrono::milliseconds(500);   // fetch.stall
  Duration upstream_stall =
      std::chrono::seconds(10);  // token, redirect and cold cache take seconds
  Duration ban = std::chrono::minutes(5);
  Duration give_up = std::chrono::seconds(30);
  int upstream_tries = 4;                          // of retryable errors, in a row
  bool arbitrated = false;                         // there is somebody to ask who leads
  Duration lead_budget = std::chrono::seconds(3);  // without a byte from anybody
  Duration lead_modesty{0};  // before the lead is wished: of hosts that lead other blobs
  Duration retry_after_max = std::chrono::seconds(10);  // a wish of the upstream that is waited for
};

inline constexpr Duration kPenaltyMax = std::chrono::seconds(30);

using RequestId = std::uint64_t;  // unique within a download, never 0

// Ask `peer` for its map of the blob. `known`: pieces of it that we know it has; when not 0 the
// peer may hold its answer back until it has more (long poll).
struct FetchMap {
  RequestId id;
  PeerId peer;
  std::int32_t known;
};
// Ask `peer` for pieces [first, first + count), or for one of `options` instead, best first.
struct FetchPieces {
  RequestId id;
  PeerId peer;
  PieceIndex first;
  std::int32_t count;
  std::vector<PieceIndex> options;  // only with count 1
  std::int32_t known =
      0;  // pieces that we know it has, so that it may tell of more; 0: it need not
};
// Ask the upstream for bytes from piece `first` on: to the end, or for `count` pieces if given.
struct FetchUpstream {
  RequestId id;
  PieceIndex first;
  std::optional<std::int32_t> count;
};
struct CancelRequest {
  RequestId id;
};
// Tell the arbiters what we are to this blob; answer with OnSwarm or OnSwarmFailed. A better
// arbiter that answers later may be passed on as well (OnSwarm). After the last one nothing is
// answered.
struct AskSwarm {
  bool wants_lead = false;
  bool whole = false;
  bool leaving = false;
  std::int64_t progress = 0;  // bytes from the upstream
  bool waiting = false;       // the request to the upstream waits for its turn
  bool misses_lead = false;   // whom we were told of does not answer
};
// Look for holders in the peer index; answer with OnHolders and then OnResolved.
struct ResolveHolders {};
struct BanPeer {
  PeerId peer;
  Duration duration;
  std::string reason;
};
// The geometry is known now, or another: open the partial blob with it (dropping pieces on change).
struct UseGeometry {
  Geometry geometry;
};
// These pieces were verified under a chain that proved false, and these states were part of it.
// LearnState follows for states that are replaced.
struct ForgetPieces {
  std::vector<PieceIndex> pieces;
  std::vector<PieceIndex> states;
};
// Persist this state: it became part of the chain we go by.
struct LearnState {
  PieceIndex piece;
  ChainState state;
};
struct Proved {};
struct GaveUp {
  Error error;
};
using DownloadAction =
    std::variant<FetchMap, FetchPieces, FetchUpstream, CancelRequest, ResolveHolders, AskSwarm,
                 BanPeer, UseGeometry, ForgetPieces, LearnState, Proved, GaveUp>;
using DownloadActions = std::vector<DownloadAction>;

// What a holder says about a blob. `chain` holds the states it knows (a prefix).
struct HolderMap {
  Chain chain;    // with the geometry
  PieceMap have;  // of geometry().count()
};

// An arbiter's answer, as far as it matters here.
struct SwarmView {
  bool we_lead = false;
  std::optional<PeerId> lead;  // somebody else
  std::vector<PeerId> members;
  Duration lease{0};        // until then it need not ask again
  bool lead_waits = false;  // for its turn at the upstream
  Duration pace{0};         // how long to wait before asking again; the lead need not
};

// Where the bytes came from, for status, metrics and `Shoal-Source`.
struct SourceBytes {
  std::map<PeerId, Bytes> peers;
  Bytes upstream;
  Bytes resumed;  // here before this download started
  Bytes wasted;   // corrupt, doubled in the end game, or forgotten
};

class Download {
 public:
  // has_upstream  whether FetchUpstream can be carried out at all.
  Download(Digest digest, DownloadLimits limits, bool has_upstream, Rng rng);
  ~Download();

  // Goes on from what an earlier run left in the store. Before Start.
  void Resume(const Chain& chain, const PieceMap& have);
  // known: holders from the catalog; may be empty.
  void Start(Time now, const std::vector<PeerId>& known, DownloadActions& out);

  // More holders, or possible holders, from the peer index. Known ones are ignored.
  void OnHolders(Time now, const std::vector<PeerId>& peers, DownloadActions& out);
  // The peer index has said all it will say for now.
  void OnResolved(Time now, DownloadActions& out);
  void OnPeerGone(Time now, const PeerId& peer, DownloadActions& out);
  // This peer asks us for the blob, so it fetches it too.
  void OnMember(Time now, const PeerId& peer, DownloadActions& out);
  // What an arbiter said: who leads (nobody if absent), and further members.
  void OnSwarm(Time now, const SwarmView& view, DownloadActions& out);
  // No arbiter answered.
  void OnSwarmFailed(Time now, DownloadActions& out);

  // The answer to a FetchMap; ends that request.
  void OnMap(Time now, RequestId id, const HolderMap& map, DownloadActions& out);
  // What a holder told of itself beside the answer to another request. Nothing when it tells of no
  // more pieces than we know it has.
  void OnNews(Time now, const PeerId& peer, const HolderMap& map, DownloadActions& out);
  // The holder sends this piece, of those that were asked for.
  void OnChosen(Time now, RequestId id, PieceIndex piece, DownloadActions& out);
  // The holder has no slot; ends the request. others: whom it named instead.
  void OnBusy(Time now, RequestId id, Duration retry, const std::vector<PeerId>& others,
              DownloadActions& out);
  // The upstream's headers: the blob's whole length. For every FetchUpstream.
  void OnUpstreamSize(Time now, RequestId id, Bytes size, DownloadActions& out);
  // The request has not been sent yet: it waits for others of ours to the same host to end, or its
  // peer is being dialled for no longer than that usually takes.
  void OnWaiting(Time now, RequestId id, DownloadActions& out);
  void OnBytes(Time now, RequestId id, Bytes count, DownloadActions& out);
  // A piece of this request was hashed from chain().Before(piece) and written. `after` is the state
  // it led to (meaningless for the last piece); `digest_ok` says, for the last piece only, whether
  // it led to the digest. The core compares with the chain, or extends it. All of a request's
  // pieces come before its end. have() says afterwards whether the piece counts as here.
  void OnPieceHashed(Time now, RequestId id, PieceIndex piece, const ChainState& after,
                     bool digest_ok, DownloadActions& out);
  void OnRequestDone(Time now, RequestId id, DownloadActions& out);
  void OnRequestFailed(Time now, RequestId id, const Error& error, DownloadActions& out);
  // A reader waits for the piece at `piece` and what follows it; {count()} when it needs no more.
  void OnReader(Time now, int reader, PieceIndex piece, DownloadActions& out);
  void OnDeadline(Time now, DownloadActions& out);
  [[nodiscard]] Time NextDeadline() const;

  // nullopt until the size is known.
  [[nodiscard]] const Chain* chain() const;
  [[nodiscard]] const PieceMap& have() const;
  [[nodiscard]] bool finished() const;
  // What we had from the upstream, while that is ours to ask: nobody else may have it yet. nullptr
  // while it is not.
  [[nodiscard]] const PieceMap* firsthand() const;
  [[nodiscard]] bool leads() const;  // the upstream is ours to ask, by an arbiter's word
  [[nodiscard]] const SourceBytes& sources() const;
  [[nodiscard]] const Digest& digest() const;
  // Holders contradict each other and nothing has shown yet who is right: what is here passed under
  // a chain that may turn out false. No reader should be let at it.
  [[nodiscard]] bool doubtful() const;

  void CheckInvariants() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::fetch
