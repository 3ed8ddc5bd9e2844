#include "agent/agent.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "agent/data_folder.h"
#include "agent/registry_setup.h"
#include "index/dht/dht_index.h"
#include "index/keyfile/keyfile.h"
#include "index/lan/lan_index.h"
#include "index/rendezvous/rendezvous_index.h"
#include "index/static/static_index.h"
#include "registry-proxy/upstream/clock.h"

namespace shoal::agent {
namespace {

// Address space for LMDB, not memory: about 20 million catalog entries.
constexpr Bytes kDatabaseMax{std::int64_t{8} << 30};
constexpr std::size_t kAddressesMax = 8;  // so that a beacon fits one datagram
constexpr int kDataThreads = 2;
constexpr int kPoolThreads = 2;
constexpr int kConnectionsPerPeer = 8;

std::string HostName() {
  char name[65] = "host";
  gethostname(name, sizeof name - 1);
  return name;
}

bool IsAny(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

// Where other hosts can reach this one: every address of an interface that is up; the loopback's
// only when there is no other, which is a host by itself.
std::vector<std::string> HostAddresses() {
  std::vector<std::string> addresses;
  std::vector<std::string> loopback;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {"127.0.0.1"};
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0) continue;
    char text[INET6_ADDRSTRLEN] = "";
    if (entry->ifa_addr->sa_family == AF_INET) {
      const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
      inet_ntop(AF_INET, &address->sin_addr, text, sizeof text);
    } else if (entry->ifa_addr->sa_family == AF_INET6) {
      const auto* address = reinterpret_cast<const sockaddr_in6*>(entry->ifa_addr);
      // Link-local addresses mean nothing without the interface's name.
      if (IN6_IS_ADDR_LINKLOCAL(&address->sin6_addr)) continue;
      inet_ntop(AF_INET6, &address->sin6_addr, text, sizeof text);
    } else {
      continue;
    }
    ((entry->ifa_flags & IFF_LOOPBACK) != 0 ? loopback : addresses).emplace_back(text);
  }
  freeifaddrs(list);
  // IPv4 first: dialled first, and seldom filtered inside a cluster.
  std::stable_partition(addresses.begin(), addresses.end(),
                        [](const auto& text) { return text.find(':') == std::string::npos; });
  if (addresses.empty()) addresses = loopback;
  if (addresses.size() > kAddressesMax) addresses.resize(kAddressesMax);
  return addresses;
}

// Those at which a listener on a wildcard is reached: an IPv4 one cannot be by IPv6.
std::vector<std::string> ReachableAddresses(const std::string& wildcard) {
  auto addresses = HostAddresses();
  if (wildcard == "0.0.0.0") {
    std::erase_if(addresses, [](const auto& text) { return text.find(':') != std::string::npos; });
  }
  return addresses;
}

fetch::DownloadLimits LimitsOf(const Config& config) {
  fetch::DownloadLimits limits;
  limits.piece = config.fetch.piece;
  limits.parallel_pieces = config.fetch.parallel_pieces;
  limits.stall = config.fetch.stall;
  limits.peer_budget = config.fetch.peer_budget;
  limits.resolve = config.index.resolve_timeout;
  return limits;
}

std::unique_ptr<fetch::RateLimiter> MakeLimiter(Bytes rate, fetch::RateLimiter::Of what) {
  return rate == Bytes(0) ? nullptr : std::make_unique<fetch::RateLimiter>(rate, what);
}

}  // namespace

Result<std::unique_ptr<Agent>> Agent::Start(const Config& config) {
  auto lock = TakeDataFolder(config.agent.data_dir);
  if (!lock) return lock.error();
  auto key = index::LoadOrMakeKey(config.agent.data_dir + "/identity");
  if (!key) return key.error();
  std::unique_ptr<Agent> agent(new Agent(config, *key));
  agent->lock_ = std::move(*lock);
  for (auto step : {&Agent::OpenDisk, &Agent::OpenRooms, &Agent::MakeCore, &Agent::MakeIndexes,
                    &Agent::Listen}) {
    if (auto done = (agent.get()->*step)(); !done) {
      agent->Stop();
      return done.error();
    }
  }
  return agent;
}

Status Agent::OpenDisk() {
  const std::string& folder = config_.agent.data_dir;
  auto env = OpenDatabase(folder + "/db", kDatabaseMax);
  if (!env) return env.error();
  env_ = std::move(*env);
  // What others hold can be learnt again: its commits do not wait for the disk.
  auto catalog_env = OpenDatabase(folder + "/catalog", kDatabaseMax, index::LmdbSync::kNever);
  if (!catalog_env) return catalog_env.error();
  catalog_env_ = std::move(*catalog_env);
  auto catalog = index::LmdbCatalog::Open(*catalog_env_, key_.id());
  if (!catalog) return catalog.error();
  catalog_ = std::move(*catalog);
  auto tags = proxy::TagTable::Open(*env_);
  if (!tags) return tags.error();
  tag_table_ = std::make_unique<proxy::TagTable>(*tags);
  auto held_tags = HeldTags::Open(*env_);
  if (!held_tags) return held_tags.error();
  held_tags_ = std::make_unique<HeldTags>(*held_tags);

  fetch::BlobStore::Options options;
  options.dir = folder + "/store";
  options.max = config_.store.max;
  options.on_evicted = [this](const Digest& digest) {
    loop_.Post([this, digest] {
      if (holdings_) holdings_->RemoveStored(digest);
    });
  };
  auto store = fetch::BlobStore::Open(std::move(options), *env_);
  if (!store) return store.error();
  store_ = std::move(*store);
  return Ok();
}

Status Agent::OpenRooms() {
  database_ = std::make_unique<fetch::WorkPool>(1);
  auto rooms = Rooms::Open(config_.agent.data_dir + "/rooms", key_.id(), config_.room.open,
                           {[] { return index::WallNow(); },
                            [this](const PeerId& peer) {
                              loop_.Post([this, peer] {
                                if (discovery_) discovery_->OnAdmitted(peer);
                              });
                            },
                            [this] {
                              loop_.Post([this] {
                                if (discovery_) discovery_->OnRoomsChanged();
                                if (feeds_) feeds_->OnRoomsChanged();
                              });
                            },
                            database_.get(), config_.shares});
  if (!rooms) return rooms.error();
  rooms_ = std::move(*rooms);
  auto repositories = RepositoryTable::Open(*env_);
  if (!repositories) return repositories.error();
  repositories_ = std::make_unique<RepositoryTable>(*repositories);
  repositories_->ForEach([this](const Digest& digest, const std::string& repository) {
    rooms_->Note(digest, repository);
  });
  return Ok();
}

void Agent::Note(const Digest& digest, const std::string& repository) {
  const auto news = rooms_->Note(digest, repository);
  if (news == BlobRooms::News::kNone) return;
  if (news == BlobRooms::News::kSeen) {
    loop_.Post([this, digest] { holdings_->Touch(digest); });
  }
  database_->Post([this, digest, repository] {
    if (auto added = repositories_->Add(digest, repository); !added) {
      spdlog::warn("the repository of a blob was not kept: {}", added.error().text);
    }
  });
}

bool Agent::InAnyRoom() const { return rooms_->Ours() != index::kNoRooms; }

bool Agent::Uses(std::string_view kind) const {
  return std::ranges::count(config_.index.use, kind) > 0;
}

Status Agent::MakeCore() {
  auto registries = MakeRegistries(config_);
  if (!registries) return registries.error();
  auto identity = fetch::TlsIdentity::Make(key_);
  if (!identity) return identity.error();
  upload_rate_ = MakeLimiter(config_.limits.upload_rate, fetch::RateLimiter::Of::kUploads);
  download_rate_ = MakeLimiter(config_.limits.download_rate, fetch::RateLimiter::Of::kDownloads);
  fetch::HttpClient::Options client_options;
  client_options.threads = kDataThreads;
  client_options.identity = *identity;
  client_options.connections_per_peer_max = kConnectionsPerPeer;
  client_options.rate = download_rate_.get();
  client_options.user_agent = std::string("shoal/") + SHOAL_VERSION;
  auto client = fetch::HttpClient::Start(std::move(client_options));
  if (!client) return client.error();
  client_ = std::move(*client);
  proxy::Upstream::Options upstream_options;
  upstream_options.registries = *registries;
  upstream_ = std::make_unique<proxy::Upstream>(*client_, std::move(upstream_options));
  ranged_upstream_ = std::make_unique<proxy::RangedUpstream>(
      proxy::RangedUpstream::Ports{
          [this](const fetch::UpstreamRef& ref, const Digest& digest, Bytes offset, Bytes end,
                 bool exact, std::shared_ptr<fetch::ByteSink> sink) {
            return upstream_->FetchRange(ref, digest, offset, end, exact, std::move(sink));
          },
          [this](fetch::UpstreamPort::CallId call) { upstream_->Cancel(call); }, proxy::Now,
          [this](const std::string& registry) { return upstream_->ConfigOf(registry).connections; },
          [this](fetch::UpstreamPort::CallId call, const std::string& registry) {
            loop_.Post([this, call, registry] { slots_->OnUse(call, registry); });
          }},
      proxy::RangedUpstream::Options{});
  peer_client_ = std::make_unique<fetch::PeerClient>(*client_);

  pool_ = std::make_unique<fetch::WorkPool>(kPoolThreads);
  io_ = std::make_unique<index::IoThread>();
  Rng rng(index::RandomSeed());

  MakeSearch(rng);
  for (const auto& blob : store_->List()) holdings_->SetStored(blob.digest, blob.size);
  for (const auto& [digest, size] : store_->ListPartials()) holdings_->SetPartial(digest, size);
  held_tags_->ForEach(
      [this](const std::string& name, const Digest& digest) { holdings_->LoadTag(name, digest); });

  locals_ = std::make_unique<fetch::LocalBlobs>(
      *store_, *pool_, config_.fetch.piece,
      fetch::LocalBlobs::Ports{
          config_.store.containerd.empty()
              ? std::function<Result<fetch::SharedFile>(const Digest&)>()
              : [this](const Digest& digest) { return containerd_->OpenBlob(digest); },
          [this](const Digest& digest) {
            loop_.Post([this, digest] { holdings_->Drop(digest); });
          }});
  if (!config_.store.containerd.empty()) {
    containerd_ = fetch::Containerd::Start(
        {.socket = config_.store.containerd, .name_space = config_.store.name_space}, loop_,
        [this](const fetch::ContainerdInventory& inventory) {
          for (const auto& blob : inventory.blobs) {
            // It will say so again after a restart.
            for (const auto& repository : blob.repositories) rooms_->Note(blob.digest, repository);
          }
          holdings_->SetContainerd(inventory);
          describer_->OnBlob(Bytes(0));  // any of them
        });
  }

  Discovery::Options options;
  options.name = config_.agent.name.empty() ? HostName() : config_.agent.name;
  if (options.name.size() > 64) options.name.resize(64);
  std::replace_if(
      options.name.begin(), options.name.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  options.endpoints = AdvertisedEndpoints();
  options.roster.sync_interval = config_.index.sync_interval;
  options.resolve_timeout = config_.index.resolve_timeout;
  discovery_ = std::make_unique<Discovery>(
      std::move(options), key_,
      Discovery::Ports{loop_, *database_, *catalog_, *peer_client_, holdings_->inventory(), *rooms_,
                       [this](const PeerId& peer) {
                         const auto* view = discovery_->roster().Find(peer);
                         if (dht_ != nullptr && view != nullptr) dht_->OnPeer(view->record);
                         fetcher_->OnPeerAppeared(peer);
                         feeds_->OnPeersChanged();
                         status_->OnPeer(peer, "alive");
                         relaying_->OnPeersChanged();
                       },
                       [this](const PeerId& peer) {
                         feeds_->OnPeersChanged();
                         status_->OnPeer(peer, "gone");
                         arbiters_->OnPeerGone(peer);
                         fetcher_->OnPeerGone(peer);
                       },
                       [this] { replicator_->OnCatalogChanged(); }},
      Rng(rng.Next()));

  Arbiters::Ports arbiter_ports{
      loop_,
      key_.id(),
      [this](const Digest& digest) { return discovery_->LivingInSwarm(digest); },
      [this](const PeerId& peer, const index::SwarmAsk& ask, Arbiters::Done done) {
        discovery_->AskSwarm(peer, ask, std::move(done));
      },
      [this](const index::SwarmAsk& ask, Arbiters::Done done) {
        discovery_->AskServers(ask, std::move(done));
      },
      [this] { return !servers_.empty(); },
      [this](const Digest& digest) {
        auto name = rooms_->SwarmDigest(rooms_->SwarmRoom(digest), digest);
        return name ? *name : digest;
      }};
  arbiters_ = std::make_unique<Arbiters>(std::move(arbiter_ports));
  slots_ = std::make_shared<SlotKeeper>(
      SlotKeeper::Ports{
          loop_, key_.id(),
          [this](const std::string& registry) { return upstream_->ConfigOf(registry).connections; },
          [this](SlotKeeper::CallId call) { return ranged_upstream_->UseOf(call); },
          [this](SlotKeeper::CallId call, int connections) {
            return ranged_upstream_->SetShare(call, connections);
          },
          [this](const index::SwarmAsk& ask, auto done) {
            arbiters_->Ask(
                ask, [](const auto&) {}, std::move(done));
          }},
      Rng(rng.Next()));
  fetch::TransferPorts ports{
      loop_,
      *pool_,
      *store_,
      *client_,
      *ranged_upstream_,
      counters_,
      config_.mirror.stream == "proved" ? fetch::StreamMode::kProved : fetch::StreamMode::kVerified,
      [this](const PeerId& peer, const Digest& digest) {
        return discovery_->DialFor(peer, digest);
      },
      [this](const PeerId& peer) { discovery_->OnUnreachable(peer); },
      [this](const Digest& digest, auto some, auto done) {
        discovery_->Resolve(digest, std::move(some), std::move(done));
      },
      [this](const PeerId& peer, Duration duration, const std::string& reason) {
        discovery_->Ban(peer, duration, reason);
        status_->OnPeer(peer, "banned");
      },
      [this](const index::SwarmAsk& ask, auto met, auto done) {
        arbiters_->Ask(ask, std::move(met), std::move(done));
      },
      [this](const Digest& digest) { return arbiters_->any(digest); },
      key_.id()};
  fetch::Fetcher::Hooks hooks;
  hooks.on_wanted = [this](const Digest& digest, const fetch::UpstreamRef& from) {
    Note(digest, from.registry + "/" + from.repository);
  };
  hooks.on_holding = [this](const Digest& digest, Bytes size, bool complete) {
    if (complete) {
      holdings_->SetStored(digest, size);
      describer_->OnBlob(size);
    } else {
      holdings_->SetPartial(digest, size);
    }
  };
  hooks.on_transfer_started = [this](const Digest& digest) {
    discovery_->OnTransfer(digest, true);
    status_->OnTransferStarted(digest);
  };
  hooks.on_transfer_ended = [this](const fetch::TransferView& view, const Status& status) {
    discovery_->OnTransfer(view.digest, false);
    if (!status) {
      const bool corrupt = status.error().code == Code::kCorrupt;
      holdings_->EndPartial(view.digest, view.have > 0 && !corrupt);
    }
    pulls_->OnTransferEnded(view);
    status_->OnTransferEnded(view, status);
  };
  fetcher_ = std::make_unique<fetch::Fetcher>(
      std::move(ports), LimitsOf(config_), *locals_,
      [this](const Digest& digest) { return discovery_->HoldersOf(digest); }, Rng(rng.Next()),
      std::move(hooks));

  tags_ = std::make_unique<proxy::TagResolver>(
      proxy::TagResolver::Ports{
          loop_,
          [this](const std::string& registry, const std::string& repository, const std::string& tag,
                 std::function<void(Result<proxy::TagEntry>)> done) {
            upstream_->Resolve(
                {registry, repository}, tag,
                [done = std::move(done)](Result<proxy::ResolvedTag> resolved) {
                  if (!resolved) return done(resolved.error());
                  done(proxy::TagEntry{
                      "", resolved->digest, resolved->media_type, resolved->size, {}});
                });
          },
          [this](const std::string& registry) { return upstream_->ConfigOf(registry).tag_ttl; },
          [this](const std::string& name) { return catalog_->ImagesNamed(name); },
          [this](const std::string& name) -> std::optional<Digest> {
            const auto image = holdings_->inventory().FindImage(name);
            if (!image) return std::nullopt;
            return image->digest;
          },
          [this](const proxy::TagEntry& entry) {
            database_->Post([this, entry] {
              if (auto saved = tag_table_->Save(entry); !saved) {
                spdlog::warn("tag {} was not kept: {}", entry.name, saved.error().text);
              }
            });
          },
          [this](const std::string& name) {
            holdings_->ForgetTag(name);
            database_->Post([this, name] {
              if (auto removed = tag_table_->Remove(name); !removed) {
                spdlog::warn("tag {} was not forgotten: {}", name, removed.error().text);
              }
            });
          }},
      tag_table_->Load(proxy::kTagsMax));
  manifests_ = std::make_unique<proxy::ManifestSource>(*fetcher_, *pool_);
  held_names_ = std::make_unique<HeldNames>(holdings_->inventory(), *rooms_);
  const auto on_image = [this](const std::string& name, const Digest& digest) {
    holdings_->SetTag(name, digest);
  };
  pulls_ = std::make_unique<Pulls>(
      Pulls::Ports{loop_, *pool_, *fetcher_, *locals_, *manifests_, *tags_, containerd_.get(),
                   on_image, [this](const PullView& pull) { status_->OnPull(pull); }});
  replicator_ = std::make_unique<Replicator>(
      config_.replicate,
      Replicator::Ports{loop_, *catalog_, holdings_->inventory(), [this](const std::string& image) {
                          auto started = pulls_->Start(image);
                          if (!started) {
                            spdlog::warn("replicating {}: {}", image, started.error().text);
                          }
                        }});

  if (Status made = MakeFeeds(rng); !made) return made;
  mirror_handler_ = std::make_shared<proxy::Mirror>(proxy::MirrorPorts{
      loop_, *pool_, *fetcher_, counters_, *manifests_, *tags_,
      [this](const proxy::PullRequest& pull, std::function<void(Result<proxy::PassedOn>)> done) {
        auto answer = [done = std::move(done)](Result<proxy::PassedDocument> document) {
          if (!document) return done(document.error());
          proxy::PassedOn passed;
          passed.media_type = document->media_type;
          passed.body = std::move(document->body);
          if (!document->link.empty()) passed.headers.emplace_back("Link", document->link);
          if (!document->filters_applied.empty()) {
            passed.headers.emplace_back("OCI-Filters-Applied", document->filters_applied);
          }
          done(std::move(passed));
        };
        const proxy::RepositoryRef repository{pull.registry, pull.repository};
        if (pull.kind == proxy::PullKind::kReferrers) {
          upstream_->GetReferrers(repository, *pull.digest, pull.query, std::move(answer));
        } else {
          upstream_->GetTags(repository, pull.query, std::move(answer));
        }
      },
      on_image});
  fetch::UploadLimits uploads;
  if (config_.limits.upload_slots > 0) uploads.slots = config_.limits.upload_slots;
  peer_handler_ = std::make_shared<fetch::PeerServer>(
      fetch::PeerServerPorts{
          loop_, *pool_, *fetcher_, counters_, [this] { return discovery_->self().envelope(); },
          std::bind_front(&PeersOfPeers::NamesFor, &discovery_->passing()),
          std::bind_front(&PeersOfPeers::RecordsFor, &discovery_->passing()),
          [this](const PeerId& asker, std::uint64_t epoch, std::uint64_t after, int limit) {
            return KeysFor(asker, epoch, after, limit);
          },
          [this](const std::string& room, const index::SwarmAsk& ask) {
            return OnSwarmAsk(room, ask);
          },
          MakeGate(),
          [this](const PeerId& peer, const std::string& room, const index::FeedFrame& frame) {
            return feeds_->OnFrame(peer, room, frame);
          },
          [this](const PeerId& peer, const std::string& room, std::uint64_t sequence,
                 const std::string& body) -> Status {
            if (!rooms_->IsInRoom(peer, room)) {
              return Error{Code::kDenied, "the peer is not in this room"};
            }
            return preheats_->OnAnswer(peer, room, sequence, body);
          },
          [this](const index::SignedRecord& record) { discovery_->OnRecord(record); }},
      uploads, MakeRelaying(*identity, rng));
  known_peers_ = std::make_unique<KnownPeers>(KnownPeers::Ports{
      loop_, *database_, config_.agent.data_dir + "/peers",
      [this](std::size_t count_max) {
        auto ids = discovery_->roster().Alive();
        std::ranges::sort(ids);
        if (ids.size() > count_max) ids.resize(count_max);
        std::vector<index::SignedRecord> records;
        for (const auto& id : ids) records.push_back(discovery_->roster().Find(id)->record);
        return records;
      },
      [this](const index::SignedRecord& record) { discovery_->OnRecord(record); },
      [this](const index::Endpoint& endpoint) { discovery_->OnEndpoint(endpoint); }});
  status_ = std::make_unique<StatusApi>(
      StatusApi::Parts{loop_, *discovery_, *holdings_, *fetcher_, *locals_, *store_, *pulls_,
                       *catalog_, *tags_, counters_, containerd_.get(), *finder_, *rooms_, events_,
                       *feeds_, *preheats_, *relaying_, [this] { return ReloadRooms(); }});
  return Ok();
}

fetch::PeerGate Agent::MakeGate() {
  return {
      [this](const PeerId& peer) {
        // Through us as its relay we dial a peer ourselves.
        return peer == key_.id() || rooms_->RoomsOf(peer) != index::kNoRooms;
      },
      [this](const PeerId& peer, const Digest& digest) { return rooms_->MayShare(peer, digest); },
      [this](const PeerId& one, const PeerId& other) { return rooms_->InOneRoom(one, other); },
      [this](const PeerId& peer, std::string_view room, std::string_view body) {
        auto id = index::ParseRoomId(room);
        return id ? rooms_->Answer(peer, *id, body) : Result<std::string>(id.error());
      }};
}

index::KeysPage Agent::KeysFor(const PeerId& asker, std::uint64_t epoch, std::uint64_t after,
                               int limit) const {
  const auto& inventory = holdings_->inventory();
  if (rooms_->MaySeeAll(asker)) return inventory.Page(epoch, after, limit);
  const index::RoomMask rooms = rooms_->RoomsOf(asker);
  return inventory.Page(epoch, after, limit, [&](const index::Holding& holding) {
    const auto* blob = std::get_if<index::BlobHolding>(&holding);
    const index::RoomMask seen =
        blob != nullptr ? rooms_->RoomsOfBlob(blob->digest)
                        : rooms_->RoomsOfImage(std::get<index::ImageHolding>(holding).name);
    return (seen & rooms) != index::kNoRooms;
  });
}

Result<index::SwarmAnswer> Agent::OnSwarmAsk(const std::string& room, const index::SwarmAsk& ask) {
  auto name = rooms_->SwarmDigest(room, ask.digest);
  if (!name) return name.error();
  if (!rooms_->IsInRoom(ask.peer, room)) {
    return Error{Code::kDenied, "the peer is not in this room"};
  }
  index::SwarmAsk own = ask;
  own.digest = *name;
  return arbiters_->OnAsk(own);
}

// What is here, and how it is found beside what others have.
void Agent::MakeSearch(Rng& rng) {
  finder_ = std::make_unique<ImageFinder>(rng.Next(), [this] { return loop_.Now(); });
  catalog_->Watch([this](const auto& changes) { finder_->OnPeers(changes); });
  database_->Post([this] { finder_->Load(*catalog_); });
  describer_ = std::make_unique<Describer>(Describer::Ports{
      loop_, *pool_,
      [this](const Digest& digest, std::size_t bytes_max) { return ReadHere(digest, bytes_max); },
      [this](const Digest& top, const proxy::ImageFacts& facts) {
        holdings_->SetFacts(top, facts);
      }});
  Holdings::Hooks hooks;
  hooks.on_changed = [this] {
    if (discovery_) discovery_->OnInventoryChanged();
  };
  hooks.on_image = [this](const index::ImageChange& change) {
    database_->Post([this, change] { finder_->OnOurs(change); });
    if (status_) status_->OnImage(change);  // not yet while the store is read at the start
    if (change.after && !holdings_->HasFacts(change.after->digest)) {
      describer_->Want(change.after->digest);
    }
  };
  hooks.on_tag = [this](const std::string& name, const std::optional<Digest>& digest) {
    database_->Post([this, name, digest] {
      if (auto kept = digest ? held_tags_->Set(name, *digest) : held_tags_->Remove(name); !kept) {
        spdlog::warn("what tag {} means was not kept: {}", name, kept.error().text);
      }
    });
  };
  holdings_ = std::make_unique<Holdings>(rng.Below(std::uint64_t{1} << 53), std::move(hooks));
}

// Not proved: it is read to describe it to people.
std::optional<std::string> Agent::ReadHere(const Digest& digest, std::size_t bytes_max) const {
  auto file = store_->OpenBlob(digest);
  if (!file && containerd_ != nullptr) file = containerd_->OpenBlob(digest);
  if (!file) return std::nullopt;
  const auto size = (*file)->Size();
  if (!size || *size > Bytes(static_cast<std::int64_t>(bytes_max))) return std::nullopt;
  std::string body(static_cast<std::size_t>(size->count()), '\0');
  if (!(*file)->ReadAt(Bytes(0), std::as_writable_bytes(std::span(body)))) return std::nullopt;
  return body;
}

std::vector<index::Endpoint> Agent::AdvertisedEndpoints() const {
  std::vector<index::Endpoint> endpoints;
  for (const auto& text : config_.peer.advertise) endpoints.push_back(*index::ParseEndpoint(text));
  if (!endpoints.empty()) return endpoints;
  const index::Endpoint listen = *index::ParseEndpoint(config_.peer.listen);
  if (!IsAny(listen.host)) return {listen};
  for (const auto& address : ReachableAddresses(listen.host)) {
    endpoints.push_back({address, listen.port});
  }
  return endpoints;
}

Status Agent::MakeIndexes() {
  if (!InAnyRoom()) {
    spdlog::warn("this host is in no room: it shares nothing and asks no peer");
    return Ok();
  }
  const auto on_record = [this](const index::SignedRecord& record) {
    discovery_->OnRecord(record);
  };
  if (Uses("lan") && !has_lan_) {
    std::vector<index::Endpoint> groups = {*index::ParseEndpoint(config_.lan.group)};
    if (!config_.lan.group6.empty()) groups.push_back(*index::ParseEndpoint(config_.lan.group6));
    auto lan = index::LanIndex::Start(
        {std::move(groups), config_.lan.interval}, *io_, loop_, key_, on_record,
        [this](const PeerId& peer, std::uint64_t epoch, std::uint64_t head) {
          discovery_->OnHead(peer, epoch, head);
        },
        [this](const PeerId& asker, const index::Key& key) {
          return held_names_->Holds(asker, key);
        });
    if (!lan) return lan.error();
    discovery_->Add(std::move(*lan));
    has_lan_ = true;
  }
  if (Uses("dht") && dht_ == nullptr) AddDht(on_record);
  // Where its rooms are found a host looks without being told by its configuration.
  const index::RoomPlaces places = rooms_->Places();
  std::vector<index::Endpoint> endpoints;
  const auto add_endpoint = [&](const index::Endpoint& endpoint) {
    if (fixed_.insert(endpoint).second) endpoints.push_back(endpoint);
  };
  if (Uses("static")) {
    for (const auto& text : config_.index.fixed) add_endpoint(*index::ParseEndpoint(text));
  }
  for (const auto& endpoint : places.fixed) add_endpoint(endpoint);
  if (!endpoints.empty()) {
    discovery_->AddStatic(std::make_unique<index::StaticIndex>(
        index::StaticIndex::Options{endpoints, config_.index.sync_interval}, *io_, loop_,
        [this](const index::Endpoint& endpoint) { discovery_->OnEndpoint(endpoint); }));
  }
  std::vector<std::string> urls;
  const auto add_server = [&](const std::string& url) {
    if (servers_.insert(url).second) urls.push_back(url);
  };
  if (Uses("rendezvous")) std::ranges::for_each(config_.index.rendezvous, add_server);
  std::ranges::for_each(places.rendezvous, add_server);
  if (!urls.empty()) {
    auto rendezvous =
        index::RendezvousIndex::Start({.urls = urls,
                                       .pin_file = config_.agent.data_dir + "/index-servers",
                                       .sync_interval = config_.index.sync_interval},
                                      *io_, loop_, key_, on_record);
    if (!rendezvous) return rendezvous.error();
    discovery_->Add(std::move(*rendezvous));
  }
  return Ok();
}

void Agent::AddDht(index::PeerIndex::OnRecord on_record) {
  index::DhtIndex::Options options;
  const index::Endpoint listen = *index::ParseEndpoint(config_.dht.listen);
  options.listen = [listen]() -> std::vector<index::Endpoint> {
    if (!IsAny(listen.host)) return {listen};
    std::vector<index::Endpoint> endpoints;
    for (const auto& address : ReachableAddresses(listen.host)) {
      endpoints.push_back({address, listen.port});
    }
    return endpoints;
  };
  options.target = config_.dht.listen;
  for (const auto& text : config_.dht.bootstrap) {
    options.bootstrap.push_back(*index::ParseEndpoint(text));
  }
  options.others_port = listen.port;
  options.state_file = config_.agent.data_dir + "/dht";
  options.self = key_.id();
  auto dht = std::make_unique<index::DhtIndex>(
      std::move(options), *io_, loop_,
      [this](const index::Endpoint& endpoint, auto done) {
        peer_client_->FetchRecord(endpoint, discovery_->self().envelope(), std::move(done));
      },
      std::move(on_record));
  dht_ = dht.get();
  discovery_->Add(std::move(dht));
}

Status Agent::ListenToPeers() {
  const std::lock_guard lock(peer_server_mutex_);
  if (peer_server_ || stopping_ || !InAnyRoom()) return Ok();
  auto identity = fetch::TlsIdentity::Make(key_);
  if (!identity) return identity.error();
  fetch::HttpServer::Limits limits;
  limits.connections_max = config_.limits.connections;
  limits.unsent_max = fetch::kUnsentMax;
  auto peers = fetch::HttpServer::Start(
      {.listen = *index::ParseEndpoint(config_.peer.listen),
       .name = "peer",
       .threads = kDataThreads,
       .limits = limits,
       .tls = *identity,
       .rate = upload_rate_.get()},
      [handler = peer_handler_](fetch::HttpRequest request, fetch::HttpServer::Responder respond) {
        handler->Handle(std::move(request), std::move(respond));
      });
  if (!peers) return peers.error();
  peer_server_ = std::move(*peers);
  return Ok();
}

Status Agent::ReloadRooms() {
  auto changed = rooms_->Reload();
  if (!changed) return changed.error();
  if (!*changed) return Ok();
  if (Status listening = ListenToPeers(); !listening) return listening;
  return loop_.Ask([this] {
    Status made = MakeIndexes();
    discovery_->OnRoomsChanged();
    feeds_->OnRoomsChanged();
    holdings_->Restart(Rng(index::RandomSeed()).Below(std::uint64_t{1} << 53));
    return made;
  });
}

Status Agent::Listen() {
  fetch::HttpServer::Limits limits;
  limits.connections_max = config_.limits.connections;
  auto mirror =
      fetch::HttpServer::Start({.listen = *index::ParseEndpoint(config_.mirror.listen),
                                .name = "mirror",
                                .threads = kDataThreads,
                                .limits = limits,
                                .refusal = proxy::Mirror::Refuse},
                               [handler = mirror_handler_](fetch::HttpRequest request,
                                                           fetch::HttpServer::Responder respond) {
                                 handler->Handle(std::move(request), std::move(respond));
                               });
  if (!mirror) return mirror.error();
  mirror_server_ = std::move(*mirror);
  if (Status listening = ListenToPeers(); !listening) return listening;
  auto admin =
      AdminServer::Start(*index::ParseEndpoint(config_.agent.admin),
                         [this](const AdminRequest& request) { return status_->Answer(request); });
  if (!admin) return admin.error();
  admin_ = std::move(*admin);
  loop_.Start();
  loop_.Post([this] {
    discovery_->Start();
    feeds_->Start();
    known_peers_->Start();
    relaying_->Start();
    status_->Start();
  });
  status_->SetReady(true);
  return Ok();
}

void Agent::Stop() {
  if (status_) status_->SetReady(false);
  // Both at once: what they send may take kStopGrace, not twice that.
  std::thread peers([this] {
    {
      const std::lock_guard lock(peer_server_mutex_);
      stopping_ = true;
    }
    if (peer_server_) peer_server_->Stop(kStopGrace);
  });
  if (mirror_server_) mirror_server_->Stop(kStopGrace);
  peers.join();
  if (loop_.running()) {
    loop_.Ask([this] {
      events_.Stop();
      return 0;
    });
  }
  admin_.reset();
  if (containerd_) containerd_->Stop();
  if (admin_ == nullptr && loop_.running()) {
    loop_.Ask([this] {
      dht_ = nullptr;
      discovery_->StopIndexes();
      feeds_->Stop();
      relaying_->Stop();
      slots_->Stop();
      fetcher_->StopAll();
      return 0;
    });
  }
  // The client's and upstream's threads end before what their callbacks post to.
  ranged_upstream_.reset();
  upstream_.reset();
  client_.reset();
  if (relaying_) relaying_->StopTaking();
  pool_.reset();
  database_.reset();
  loop_.Stop();
}

Agent::~Agent() = default;

}  // namespace shoal::agent
