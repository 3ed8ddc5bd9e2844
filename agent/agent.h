// Agent: owns every object of a running agent, and the order in which they begin and end.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/admin_server.h"
#include "agent/arbiters.h"
#include "agent/asio_loop.h"
#include "agent/config.h"
#include "agent/describer.h"
#include "agent/discovery.h"
#include "agent/event_hub.h"
#include "agent/feeds.h"
#include "agent/held_names.h"
#include "agent/held_tags.h"
#include "agent/holdings.h"
#include "agent/image_finder.h"
#include "agent/known_peers.h"
#include "agent/preheats.h"
#include "agent/pulls.h"
#include "agent/relaying.h"
#include "agent/replicator.h"
#include "agent/repository_table.h"
#include "agent/rooms.h"
#include "agent/slot_keeper.h"
#include "agent/status_api.h"
#include "fetch/containerd/containerd.h"
#include "fetch/store/blob_store.h"
#include "fetch/store/work_pool.h"
#include "fetch/transport/fetcher.h"
#include "fetch/transport/http_client.h"
#include "fetch/transport/http_server.h"
#include "fetch/transport/peer_client.h"
#include "fetch/transport/peer_server.h"
#include "fetch/transport/rate_limiter.h"
#include "index/dht/dht_index.h"
#include "index/lmdb/catalog.h"
#include "index/lmdb/env.h"
#include "index/lmdb/feed_table.h"
#include "index/net/io_thread.h"
#include "registry-proxy/http/mirror.h"
#include "registry-proxy/http/tag_table.h"
#include "registry-proxy/upstream/ranged_upstream.h"
#include "registry-proxy/upstream/upstream.h"

namespace shoal::agent {

// How long answers that are being sent may take to finish on a stop.
inline constexpr Duration kStopGrace = std::chrono::seconds(10);

class Agent {
 public:
  // Everything listens when it returns. Errors: one sentence that says what to do.
  static Result<std::unique_ptr<Agent>> Start(const Config& config);
  ~Agent();

  // Lets answers finish for kStopGrace; state is kept. Called once.
  void Stop();

  [[nodiscard]] const PeerId& id() const { return key_.id(); }
  [[nodiscard]] bool InAnyRoom() const;

 private:
  Agent(const Config& config, const index::SigningKey& key) : config_(config), key_(key) {}

  Status OpenDisk();
  Status MakeCore();
  Status OpenRooms();
  // Those that are not there yet: of the configuration, and of the places of rooms.
  void MakeSearch(Rng& rng);
  // The rooms' feeds, and preheat upon them.
  Status MakeFeeds(Rng& rng);
  // What to be a relay, and to be reached through one, takes.
  fetch::PeerRelaying MakeRelaying(const fetch::TlsIdentity& identity, Rng& rng);
  void CheckImage(const std::string& image, std::function<void(Status)> done);
  Result<Preheats::Pull> PullForPreheat(const std::string& image);
  [[nodiscard]] std::optional<PreheatReport> PullProgress(std::uint64_t pull) const;
  Status MakeIndexes();
  void AddDht(index::PeerIndex::OnRecord on_record);
  Status Listen();
  // Not before there is somebody to answer.
  Status ListenToPeers();
  // A room was joined while we run. Not on the loop.
  Status ReloadRooms();
  [[nodiscard]] bool Uses(std::string_view kind) const;
  std::vector<index::Endpoint> AdvertisedEndpoints() const;
  fetch::PeerGate MakeGate();
  // A blob is of this repository: rooms that it is of may see it. Any thread.
  void Note(const Digest& digest, const std::string& repository);
  // What of our inventory `asker` may see. On the loop.
  index::KeysPage KeysFor(const PeerId& asker, std::uint64_t epoch, std::uint64_t after,
                          int limit) const;
  Result<index::SwarmAnswer> OnSwarmAsk(const std::string& room, const index::SwarmAsk& ask);
  [[nodiscard]] std::optional<std::string> ReadHere(const Digest& digest,
                                                    std::size_t bytes_max) const;

  const Config config_;
  const index::SigningKey key_;

  // In the order of their making; each may use what stands above it.
  fetch::SharedFile lock_;
  std::unique_ptr<index::LmdbEnv> env_;
  std::unique_ptr<index::LmdbEnv> catalog_env_;
  std::unique_ptr<index::LmdbCatalog> catalog_;
  std::unique_ptr<proxy::TagTable> tag_table_;
  std::unique_ptr<HeldTags> held_tags_;
  AsioLoop loop_;
  EventHub events_{loop_};
  std::unique_ptr<index::IoThread> io_;
  std::unique_ptr<fetch::WorkPool> database_;
  std::unique_ptr<fetch::WorkPool> pool_;
  fetch::Counters counters_;
  std::unique_ptr<fetch::RateLimiter> upload_rate_;    // null: no limit
  std::unique_ptr<fetch::RateLimiter> download_rate_;  // null: no limit
  std::unique_ptr<fetch::BlobStore> store_;
  std::unique_ptr<fetch::HttpClient> client_;
  std::unique_ptr<proxy::Upstream> upstream_;
  std::unique_ptr<proxy::RangedUpstream> ranged_upstream_;  // blobs, by several connections
  std::unique_ptr<fetch::PeerClient> peer_client_;
  std::unique_ptr<ImageFinder> finder_;
  std::unique_ptr<Holdings> holdings_;
  std::unique_ptr<Rooms> rooms_;
  std::unique_ptr<RepositoryTable> repositories_;
  std::unique_ptr<HeldNames> held_names_;
  std::unique_ptr<fetch::Containerd> containerd_;
  std::unique_ptr<fetch::LocalBlobs> locals_;
  std::unique_ptr<Describer> describer_;
  std::unique_ptr<Discovery> discovery_;
  std::unique_ptr<KnownPeers> known_peers_;
  std::unique_ptr<Arbiters> arbiters_;
  std::shared_ptr<SlotKeeper> slots_;  // owners: this; what it waits for holds it weakly
  std::unique_ptr<fetch::Fetcher> fetcher_;
  std::unique_ptr<proxy::TagResolver> tags_;
  std::unique_ptr<proxy::ManifestSource> manifests_;
  std::unique_ptr<Pulls> pulls_;
  std::unique_ptr<Replicator> replicator_;
  std::unique_ptr<index::FeedTable> feed_table_;
  std::unique_ptr<Feeds> feeds_;
  std::unique_ptr<Preheats> preheats_;
  std::unique_ptr<Relaying> relaying_;
  std::shared_ptr<fetch::PeerServer> peer_handler_;
  std::shared_ptr<proxy::Mirror> mirror_handler_;
  std::mutex peer_server_mutex_;
  bool stopping_ = false;  // under it
  std::unique_ptr<fetch::HttpServer> peer_server_;
  std::unique_ptr<fetch::HttpServer> mirror_server_;
  bool has_lan_ = false;             // these four before the loop starts, then on it
  index::DhtIndex* dht_ = nullptr;   // of discovery_
  std::set<std::string> servers_;    // of index servers that are used
  std::set<index::Endpoint> fixed_;  // peers that are looked for at their endpoints
  std::unique_ptr<StatusApi> status_;
  std::unique_ptr<AdminServer> admin_;
};

}  // namespace shoal::agent
