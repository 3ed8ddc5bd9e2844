// StatusApi: what GET /v1/... answers (docs/OPERATING.md, "Status API").
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "agent/admin_server.h"
#include "agent/asio_loop.h"
#include "agent/discovery.h"
#include "agent/event_hub.h"
#include "agent/feeds.h"
#include "agent/holder_search.h"
#include "agent/holdings.h"
#include "agent/image_finder.h"
#include "agent/metrics.h"
#include "agent/preheats.h"
#include "agent/pulls.h"
#include "agent/rates.h"
#include "agent/relaying.h"
#include "agent/rooms.h"
#include "fetch/store/blob_store.h"
#include "fetch/transport/fetcher.h"
#include "registry-proxy/http/tag_resolver.h"

namespace shoal::agent {

class StatusApi {
 public:
  struct Parts {
    AsioLoop& loop;
    Discovery& discovery;
    Holdings& holdings;
    fetch::Fetcher& fetcher;
    fetch::LocalBlobs& locals;
    fetch::BlobStore& store;
    Pulls& pulls;
    index::Catalog& catalog;
    proxy::TagResolver& tags;
    fetch::Counters& counters;
    fetch::Containerd* containerd;
    ImageFinder& finder;
    Rooms& rooms;
    EventHub& events;
    Feeds& feeds;
    Preheats& preheats;
    Relaying& relaying;
    // Takes in what `shoal join` wrote. Not on the loop.
    std::function<Status()> reload_rooms;
  };

  explicit StatusApi(Parts parts);

  // On the status API's threads.
  AdminReply Answer(const AdminRequest& request);
  // What is told by /v1/events; all on the loop. The second is remembered for /v1/pulls too.
  void OnTransferStarted(const Digest& digest);
  void OnTransferEnded(const fetch::TransferView& transfer, const Status& status);
  void OnPull(const PullView& pull);
  void OnImage(const index::ImageChange& change);
  // state: "alive", "gone" or "banned".
  void OnPeer(const PeerId& peer, std::string_view state);
  // On the loop, once: begins to measure rates.
  void Start() { SampleRates(); }
  // The mirror serves now, or no longer.
  void SetReady(bool ready) { ready_ = ready; }

 private:
  struct Ended {
    fetch::TransferView view;
    std::string error;
    std::int64_t took_ms = 0;
  };
  static constexpr std::size_t kEndedMax = 200;

  void SampleRates();
  AdminReply Route(const AdminRequest& request);
  Json Overview() const;
  Json Peers() const;
  Json Blobs(const AdminRequest& request, std::optional<Error>& error) const;
  Result<Json> Blob(const Digest& digest, std::optional<fetch::TransferView> active) const;
  Json Images() const;
  Json PullList() const;
  // A blob's transfer as /v1/pulls and /v1/events have it.
  Json TransferOf(const fetch::TransferView& view, const std::string& state,
                  const std::string& error, std::int64_t took_ms) const;
  Json PullOf(const PullView& pull) const;
  AdminReply RoomsRoute(const AdminRequest& request);
  AdminReply PullsRoute(const AdminRequest& request);
  std::string NameOf(const PeerId& peer) const;
  std::vector<Metric> MakeMetrics() const;

  Parts parts_;
  HolderSearch holder_search_;
  Time started_;
  std::atomic<bool> ready_{false};
  std::deque<Ended> ended_;
  Rates rates_;
};

}  // namespace shoal::agent
