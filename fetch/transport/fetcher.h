// Fetcher: the door to blobs. Whoever wants one asks here: local, being fetched, or fetched now.
//
// One Transfer a digest, however many ask. A transfer that nobody reads or waits for any more is
// abandoned after kAbandonAfter; its pieces stay on disk and are offered to peers.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/executor.h"
#include "fetch/transport/local_blobs.h"
#include "fetch/transport/transfer.h"

namespace shoal::fetch {

inline constexpr Duration kAbandonAfter = std::chrono::seconds(30);
inline constexpr std::size_t kTransfersMax = 512;
// Pieces asked at once by all transfers together: bounds memory and keeps shares fair.
inline constexpr int kPiecesAskedMax = 48;

// A host that leads already wishes the lead of a further blob so much later for each that it leads,
// so that the leads of an image's layers spread over the hosts that pull it. About what hosts that
// begin together differ by.
inline constexpr Duration kLeadModesty = std::chrono::milliseconds(5);
inline constexpr Duration kLeadModestyMax = std::chrono::milliseconds(20);

// A transfer as `shoal pulls` and the status API show it.
struct TransferView {
  Digest digest;
  std::string why;
  std::optional<Bytes> size;
  std::int32_t pieces = 0;
  std::int32_t have = 0;
  SourceBytes sources;
  Time started;
};

class Fetcher {
 public:
  struct Hooks {
    // Any thread: somebody asks for this blob under this name, before anything is done about it.
    std::function<void(const Digest&, const UpstreamRef&)> on_wanted;
    // On the loop: what this host can offer of a blob has changed.
    std::function<void(const Digest&, Bytes size, bool complete)> on_holding;
    std::function<void(const Digest&)> on_transfer_started;
    // A transfer ended: what it came to and where its bytes came from.
    std::function<void(const TransferView&, const Status&)> on_transfer_ended;
  };

  // ports.ban, dial and resolve as in Transfer; known: holders by the catalog. On the loop.
  Fetcher(TransferPorts ports, DownloadLimits limits, LocalBlobs& locals,
          std::function<std::vector<PeerId>(const Digest&)> known, Rng rng, Hooks hooks);

  using Ready = Transfer::Ready;

  // Any thread but the loop. `ready` is called once, here or on the loop, when the first bytes are
  // there or it failed. Errors: kNotFound, kDenied, kRetryLater, kExhausted, kCorrupt.
  void Open(FetchRequest request, Ready ready);
  // Keeps a transfer running though nobody reads it yet; `done` is called once on the loop, with
  // kCancelled when the request's wish was dropped.
  void Fetch(FetchRequest request, std::function<void(Status)> done);
  // Whether a transfer of it runs: when a LiveBlob has failed, whether another took its place. Any
  // thread; `done` is called on the loop.
  void AskRunning(const Digest& digest, std::function<void(bool)> done);
  // What can be offered to a peer now, without fetching: whole, or some pieces of it. Any thread
  // but the loop. nullptr: nothing.
  std::shared_ptr<LiveBlob> Find(const Digest& digest);

  // On the loop.
  // The wish of an Open or Fetch is no longer there: the transfer ends unless others want it. Its
  // pieces stay.
  void Drop(const Digest& digest, Wish& wish);
  // `peer` asked for this blob, of which there is nothing to Find: calls `ready` as
  // Transfer::WhenLive does, at the latest after `wait`.
  void OnMemberAsked(const Digest& digest, const PeerId& peer, Duration wait,
                     std::function<void(std::shared_ptr<LiveBlob>)> ready);
  // `peer` asked for a blob that may be under way here: it fetches it too.
  void OnMember(const Digest& digest, const PeerId& peer);
  // It may hold what is being fetched: running transfers ask it.
  void OnPeerAppeared(const PeerId& peer);
  void OnPeerGone(const PeerId& peer);
  // Download::firsthand of the transfer of it, if one runs.
  [[nodiscard]] const PieceMap* Firsthand(const Digest& digest) const;
  [[nodiscard]] std::vector<TransferView> Active() const;
  [[nodiscard]] std::size_t active_count() const { return transfers_.size(); }
  // Abandons all; their pieces stay.
  void StopAll();

 private:
  void OpenOnLoop(FetchRequest request, Ready ready);
  void Keep(const FetchRequest& request, const std::shared_ptr<LiveBlob>& live,
            const std::function<void(Status)>& done);
  void OnKeptEnd(const FetchRequest& request, const std::shared_ptr<LiveBlob>& live, bool proved,
                 const std::function<void(Status)>& done);
  void Unkeep(const Digest& digest);
  std::shared_ptr<Transfer> Begin(FetchRequest request);
  // By value: the map's owner goes meanwhile.
  void Ended(std::shared_ptr<Transfer> transfer, const Result<Bytes>& result);
  void Sweep();
  // A copy: what is done to each may end it.
  [[nodiscard]] std::vector<std::shared_ptr<Transfer>> All() const;
  TransferView ViewOf(const Transfer& transfer) const;

  TransferPorts ports_;
  DownloadLimits limits_;
  LocalBlobs& locals_;
  std::function<std::vector<PeerId>(const Digest&)> known_;
  Rng rng_;
  Hooks hooks_;
  std::unordered_map<Digest, std::shared_ptr<Transfer>> transfers_;
  std::unordered_map<Digest, int> kept_;  // Fetch callers still waiting
  bool sweeping_ = false;
  bool stopping_ = false;
  // The token dies with us: late loop callbacks see it.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);

  mutable std::mutex mutex_;
  std::unordered_map<Digest, std::weak_ptr<LiveBlob>> live_;
};

}  // namespace shoal::fetch
