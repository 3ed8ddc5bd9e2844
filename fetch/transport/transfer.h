// Transfer: carries out one Download's decisions with real peers, a real upstream and a real disk.
//
// Lives on the loop thread. Disk work that may block goes to the pool; actions that need the
// partial blob wait, in order, until it is open.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "fetch/download.h"
#include "fetch/store/blob_store.h"
#include "fetch/transport/counters.h"
#include "fetch/transport/http_client.h"
#include "fetch/transport/live_blob.h"
#include "fetch/transport/map_codec.h"
#include "fetch/transport/piece_receiver.h"
#include "fetch/upstream_port.h"
#include "index/record.h"
#include "index/swarm_table.h"

namespace shoal::fetch {

// What a transfer needs from its surroundings. All is called on the loop thread.
struct TransferPorts {
  Loop& loop;
  Executor& pool;
  BlobStore& store;
  HttpClient& client;
  UpstreamPort& upstream;
  Counters& counters;
  StreamMode mode = StreamMode::kVerified;

  // Where a peer can be asked for this blob now; nullopt when it is unknown, gone or banned, or
  // must not know that we want it.
  std::function<std::optional<index::Endpoint>(const PeerId&, const Digest&)> dial;
  // Nobody answered there: another endpoint next time.
  std::function<void(const PeerId&)> on_unreachable;
  // Finds holders: calls `some` any number of times, then `done` once.
  std::function<void(const Digest&, std::function<void(std::vector<PeerId>)> some,
                     std::function<void()> done)>
      resolve;
  std::function<void(const PeerId&, Duration, const std::string& reason)> ban;
  // Tells the arbiters of the ask's digest (its peer is ours to fill in): calls `met` any number of
  // times with members, then `done`, with nothing when none answered, and again for an answer that
  // comes later from a better one. Null: there are none.
  std::function<void(const index::SwarmAsk&, std::function<void(std::vector<PeerId>)> met,
                     std::function<void(std::optional<index::SwarmAnswer>)> done)>
      ask_arbiters;
  // Whether ask_arbiters reaches anybody now.
  std::function<bool(const Digest&)> has_arbiters;
  PeerId self;
};

// Somebody's interest in a fetch, for whoever may lose it. On the loop only.
struct Wish {
  bool dropped = false;
  bool keeps = false;  // the transfer is kept running for it
};
using SharedWish = std::shared_ptr<Wish>;  // owners: who asks, and the callbacks on his behalf

struct FetchRequest {
  Digest digest;
  std::optional<UpstreamRef> upstream;
  // From the manifest that names the blob: a peer or upstream that says otherwise is wrong.
  std::optional<Bytes> expected_size;
  Bytes first_offset;
  std::string why;  // for logs: "mirror 10.0.0.1", "pull 7"
  SharedWish wish;  // nullptr: it stays wanted
};

class Transfer : public std::enable_shared_from_this<Transfer> {
 public:
  using Ready = std::function<void(Result<std::shared_ptr<LiveBlob>>)>;

  struct Hooks {
    std::function<void()> on_pieces;                   // has pieces to offer, or more of them
    std::function<void(Result<Bytes> size)> on_ended;  // proved and committed, or gave up
    std::function<void(std::shared_ptr<LiveBlob>)> on_live;
  };

  Transfer(TransferPorts ports, DownloadLimits limits, FetchRequest request, Rng rng, Hooks hooks);
  ~Transfer();

  void Start(std::vector<PeerId> known);
  // Called once the first piece may be read, or it failed.
  void WhenReady(Ready ready, SharedWish wish = nullptr);
  void OnPeerAppeared(const PeerId& peer);
  void OnPeerGone(const PeerId& peer);
  // It asked us for the blob, so it fetches it too.
  void OnMember(const PeerId& peer);
  // Calls `ready` with the live blob, now or as soon as there is one; with nullptr at once when
  // we are not about to have anything, or when it ends.
  void WhenLive(std::function<void(std::shared_ptr<LiveBlob>)> ready);
  // Nobody wants it any more: stops; the pieces stay on disk.
  void Abandon(const std::string& why);

  [[nodiscard]] const Digest& digest() const { return request_.digest; }
  [[nodiscard]] const FetchRequest& request() const { return request_; }
  [[nodiscard]] const Download& download() const { return download_; }
  [[nodiscard]] const std::shared_ptr<LiveBlob>& live() const { return live_; }
  [[nodiscard]] Time started() const { return started_; }
  // Whether nobody reads it now, or waits for its first piece; and since when.
  [[nodiscard]] bool idle() const;
  [[nodiscard]] Time idle_since() const { return idle_since_; }

 private:
  // What the data threads and the loop share about the file being written.
  struct Shared;
  struct Call {
    std::optional<HttpClient::CallId> peer_call;
    std::optional<UpstreamPort::CallId> upstream_call;
    std::optional<PeerId> peer;
    std::optional<HeldChain> held;                 // of a map: what its answer may leave out
    std::shared_ptr<std::atomic<bool>> map_waits;  // of a map: not its turn yet
    std::shared_ptr<PieceReceiver> receiver;       // not for maps
    std::int64_t seen = 0;                         // of receiver->received()
  };

  using Event = std::function<void(Time, DownloadActions&)>;
  void Feed(const Event& event);
  void Run(DownloadActions actions);
  void RunQueue();
  bool MustWait(const DownloadAction& action) const;
  void Perform(const DownloadAction& action);
  void Do(const FetchMap& action);
  void Do(const FetchPieces& action);
  [[nodiscard]] std::string Held(const PeerId& peer) const;
  void Do(const FetchUpstream& action);
  void Do(const CancelRequest& action);
  void Do(const ResolveHolders& action);
  void Do(const AskSwarm& action);
  void Do(const BanPeer& action);
  void Do(const UseGeometry& action);
  void Do(const ForgetPieces& action);
  void Do(const LearnState& action);
  void Do(const Proved& action);
  void Do(const GaveUp& action);

  void DropUpstreamCalls();
  void Opened(Result<std::shared_ptr<PartialBlob>> partial);
  void MakeLive();
  void OnReader(int reader, PieceIndex piece);
  void OnMapAnswer(RequestId id, const PeerId& peer, Result<HttpClient::Answer> answer);
  void OnChosen(RequestId id, PieceIndex piece);
  void OnBusy(RequestId id, const HolderBusy& busy);
  void OnNews(const PeerId& peer, const std::string& text);
  void TellLive(const std::shared_ptr<LiveBlob>& live);
  void OnHashed(RequestId id, const HashedPiece& piece);
  void OnCallDone(RequestId id, const Status& status);
  void FailLater(RequestId id, Error error);
  ReceiverEvents EventsFor(RequestId id, std::optional<PeerId> peer);
  void NoteDiskError(const Error& error);
  void PollReceivers();
  void Schedule();
  void Commit();
  void End(Result<Bytes> result);
  // There is a piece, and no doubt about the chain it passed under.
  [[nodiscard]] bool MayRead() const;
  void AnswerReady(Result<std::shared_ptr<LiveBlob>> result);

  TransferPorts ports_;
  DownloadLimits limits_;
  FetchRequest request_;
  Hooks hooks_;
  Download download_;
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<LiveBlob> live_;
  std::map<RequestId, Call> calls_;
  std::deque<DownloadAction> queue_;
  bool opening_ = false;
  bool running_ = false;
  bool ended_ = false;
  // Readers were sent bytes that proved wrong: from then on they get none before the digest is
  // proved, so that it happens once at most.
  bool spoiled_ = false;
  Time scheduled_ = kNever;
  Time started_{};
  std::set<int> readers_;
  std::vector<std::pair<Ready, SharedWish>> waiting_;
  std::vector<std::function<void(std::shared_ptr<LiveBlob>)>> live_waiting_;
  std::map<PeerId, HeldChain> held_;  // what holders told of their chains; as many as the core asks
  Time idle_since_{};
};

}  // namespace shoal::fetch
