#include "agent/status_api.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <utility>

#include "agent/dashboard.h"
#include "agent/feed_reply.h"
#include "agent/json_parts.h"
#include "agent/openapi.h"
#include "agent/relay_reply.h"
#include "agent/search_reply.h"
#include "registry-proxy/image_name.h"

namespace shoal::agent {
namespace {

constexpr int kPageMax = 1000;

Json TextArray(const std::vector<std::string>& texts) {
  Json array = Json::array();
  for (const auto& text : texts) array[array.size()] = Text(text);
  return array;
}

std::int64_t FromPeers(const fetch::SourceBytes& sources) {
  std::int64_t bytes = 0;
  for (const auto& [peer, count] : sources.peers) bytes += count.count();
  return bytes;
}

std::string_view StateName(PullState state) {
  switch (state) {
    case PullState::kRunning:
      return "running";
    case PullState::kDone:
      return "done";
    case PullState::kFailed:
      return "failed";
  }
  return "unknown";
}

}  // namespace

StatusApi::StatusApi(Parts parts)
    : parts_(parts),
      holder_search_({parts.loop, parts.discovery, parts.catalog, parts.tags}),
      started_(parts.loop.Now()) {}

AdminReply StatusApi::Answer(const AdminRequest& request) {
  try {
    return Route(request);
  } catch (const std::exception& error) {
    return ErrorReply({Code::kInvalid, error.what()});
  }
}

void StatusApi::SampleRates() {
  rates_.Sample(parts_.loop.Now(), parts_.counters.Peers());
  parts_.loop.After(Rates::kEvery, [this] { SampleRates(); });
}

AdminReply StatusApi::Route(const AdminRequest& request) {
  const auto& path = request.path;
  const auto is = [&](std::initializer_list<std::string_view> parts) {
    return std::equal(path.begin(), path.end(), parts.begin(), parts.end());
  };
  // The trees in which something can be done.
  const bool may_change = path.size() >= 2 && path[0] == "v1" &&
                          (path[1] == "pulls" || path[1] == "rooms" || path[1] == "preheats");
  if (!IsRead(request) && !may_change) return WrongMethod(request.method);
  if (path.empty()) return {200, "text/html; charset=utf-8", std::string(DashboardPage())};
  if (is({"healthz"})) return {200, "text/plain", "ok\n"};
  if (is({"readyz"})) {
    return ready_ ? AdminReply{200, "text/plain", "ready\n"}
                  : AdminReply{503, "text/plain", "the mirror is not serving\n"};
  }
  if (is({"metrics"})) {
    // Gauges of the loop's objects are read there, all at one time.
    return {200, "text/plain; version=0.0.4",
            parts_.loop.Ask([&] { return RenderMetrics(MakeMetrics()); })};
  }
  if (is({"openapi.json"})) return JsonReply(OpenApi());
  if (is({"v1", "status"})) return JsonReply(parts_.loop.Ask([&] { return Overview(); }));
  if (is({"v1", "peers"})) return JsonReply(parts_.loop.Ask([&] { return Peers(); }));
  if (is({"v1", "images"})) return JsonReply(parts_.loop.Ask([&] { return Images(); }));
  if (is({"v1", "who-has"})) return holder_search_.Answer(request);
  if (is({"v1", "events"})) {
    if (request.method == "HEAD") return {200, "text/event-stream", "", nullptr};
    auto stream = parts_.loop.Ask([&] { return parts_.events.Listen(); });
    if (!stream) return ErrorReply(stream.error());
    return {200, "text/event-stream", "", *stream};
  }
  if (is({"v1", "search"})) return SearchReply(parts_.finder, request);
  if (is({"v1", "blobs"})) {
    std::optional<Error> error;
    Json blobs = parts_.loop.Ask([&] { return Blobs(request, error); });
    return error ? ErrorReply(*error) : JsonReply(blobs);
  }
  if (path.size() == 3 && path[0] == "v1" && path[1] == "blobs") {
    auto digest = ParseDigest(path[2]);
    if (!digest) return ErrorReply(digest.error());
    auto blob = parts_.loop.Ask([&]() -> Result<Json> {
      std::optional<fetch::TransferView> active;
      for (auto& view : parts_.fetcher.Active()) {
        if (view.digest == *digest) active = view;
      }
      return Blob(*digest, active);
    });
    if (blob && blob->at("state").as_string() == "partial") {
      // Of an earlier run: not from the loop, as its map may have to be read.
      if (const auto partial = parts_.store.FindPartial(*digest)) {
        const fetch::PieceMap have = (*partial)->have();
        (*blob)["pieces"] = Count(have.size());
        (*blob)["have"] = Count(have.count());
      }
    }
    return blob ? JsonReply(*blob) : ErrorReply(blob.error());
  }
  if (may_change && path[1] == "preheats") {
    return PreheatReply({parts_.loop, parts_.preheats, parts_.rooms,
                         [this](const PeerId& peer) { return NameOf(peer); }},
                        request);
  }
  if (may_change) return path[1] == "rooms" ? RoomsRoute(request) : PullsRoute(request);
  return ErrorReply({Code::kNotFound, "no such path; /openapi.json lists them"});
}

Json StatusApi::Overview() const {
  Json status = Json::object();
  const auto& self = parts_.discovery.self();
  status["id"] = Text(self.id().Hex());
  status["name"] = Text(self.record().name);
  status["version"] = Text(SHOAL_VERSION);
  status["uptime_s"] =
      Count(std::chrono::duration_cast<std::chrono::seconds>(parts_.loop.Now() - started_).count());
  status["room"] = TextArray(parts_.rooms.Names(parts_.rooms.Ours()));
  Json indexes = Json::array();
  for (const auto& index : parts_.discovery.IndexStatus()) {
    Json entry = Json::object();
    entry["kind"] = Text(index.kind);
    entry["target"] = Text(index.target);
    entry["ok"] = Json::boolean(index.ok);
    entry["text"] = Text(index.text);
    entry["nodes"] = index.nodes ? Count(*index.nodes) : Json::null();
    Push(indexes, std::move(entry));
  }
  status["index"] = indexes;
  const auto& roster = parts_.discovery.roster();
  status["peers"]["known"] = Count(static_cast<std::int64_t>(roster.known_count()));
  status["peers"]["alive"] = Count(static_cast<std::int64_t>(roster.alive_count()));
  const auto size = parts_.discovery.passing().Size();
  status["peers"]["estimated_network_size"] = Count(std::llround(size.peers));
  status["peers"]["estimated_network_size_error"] = Count(std::llround(std::ceil(size.error)));
  const auto usage = parts_.store.usage();
  status["store"]["blobs"] = Count(usage.blobs);
  status["store"]["bytes"] = Count(usage.bytes.count());
  status["store"]["max_bytes"] = Count(usage.max.count());
  const auto& counters = parts_.counters;
  status["bytes"]["from_peers"] = Count(counters.from_peers);
  status["bytes"]["from_upstream"] = Count(counters.from_upstream);
  status["bytes"]["to_peers"] = Count(counters.to_peers);
  status["bytes"]["to_runtime"] = Count(counters.to_runtime);
  status["pulls"]["active"] =
      Count(parts_.pulls.active() + static_cast<std::int64_t>(parts_.fetcher.active_count()));
  status["pulls"]["done"] = Count(counters.fetches_done);
  status["pulls"]["failed"] = Count(counters.fetches_failed);
  if (parts_.containerd == nullptr) {
    status["containerd"] = Text("none configured");
  } else {
    const auto containerd = parts_.containerd->status();
    status["containerd"] = Text(containerd.connected ? "connected, " + containerd.version
                                                     : "away: " + containerd.text);
  }
  status["relay"] =
      RelayReply(parts_.relaying, [this](const PeerId& peer) { return NameOf(peer); });
  return status;
}

std::string StatusApi::NameOf(const PeerId& peer) const {
  if (peer == parts_.discovery.self().id()) return parts_.discovery.self().record().name;
  const auto* view = parts_.discovery.roster().Find(peer);
  return view == nullptr ? "" : view->record.record().name;
}

Json StatusApi::Peers() const {
  Json peers = Json::array();
  const Time now = parts_.loop.Now();
  const WallTime wall = parts_.loop.Wall();
  for (const auto& view : parts_.discovery.roster().Peers()) {
    const auto& record = view.record.record();
    const PeerId id = view.record.id();
    const auto bytes = parts_.counters.Of(id);
    Json peer = Json::object();
    peer["id"] = Text(id.Hex());
    peer["name"] = Text(record.name);
    std::vector<std::string> endpoints;
    for (const auto& endpoint : record.endpoints) endpoints.push_back(ToString(endpoint));
    peer["endpoints"] = TextArray(endpoints);
    const auto dialled = parts_.discovery.Dial(id);
    peer["relay"] = Text(dialled && dialled->relay ? dialled->relay->Hex() : "");
    peer["rooms"] = TextArray(parts_.rooms.Names(parts_.rooms.RoomsOf(id)));
    peer["state"] = Text(std::string(ToString(view.state)));
    peer["last_seen"] =
        Count(view.last_heard == Time{} ? 0 : ToUnixMs(wall - (now - view.last_heard)));
    peer["blobs"] = Count(static_cast<std::int64_t>(parts_.catalog.BlobCountOf(id)));
    const PeerRate rate = rates_.Of(id);
    peer["rate_in_bps"] = Count(rate.in_bps);
    peer["rate_out_bps"] = Count(rate.out_bps);
    peer["bytes_in"] = Count(bytes.in);
    peer["bytes_out"] = Count(bytes.out);
    const auto banned = parts_.discovery.BannedUntil(id);
    peer["banned_until"] = Count(banned ? ToUnixMs(*banned) : 0);
    // 1 for a peer that answers, less with each sync in a row that failed, 0 while banned.
    peer["score"] = Json::number(banned ? 0.0 : 1.0 / (1 + view.failures));
    Push(peers, std::move(peer));
  }
  return peers;
}

Json StatusApi::Blobs(const AdminRequest& request, std::optional<Error>& error) const {
  int limit = kPageMax;
  if (const auto it = request.query.find("limit"); it != request.query.end()) {
    const auto& text = it->second;
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), limit);
    if (wrong != std::errc() || end != text.data() + text.size() || limit < 1) {
      error = Error{Code::kInvalid, "limit must be a number from 1 to 1000"};
      return Json::array();
    }
    limit = std::min(limit, kPageMax);
  }
  std::optional<Digest> after;
  if (const auto it = request.query.find("after"); it != request.query.end()) {
    auto digest = ParseDigest(it->second);
    if (!digest) {
      error = digest.error();
      return Json::array();
    }
    after = *digest;
  }
  Json blobs = Json::array();
  for (const auto& blob : parts_.holdings.inventory().Blobs(after, limit)) {
    Json entry = Json::object();
    entry["digest"] = Text(ToString(blob.digest));
    entry["size"] = Count(blob.size.count());
    entry["state"] = Text(blob.complete ? "complete" : "partial");
    entry["in_containerd"] = Json::boolean(parts_.holdings.InContainerd(blob.digest));
    Push(blobs, std::move(entry));
  }
  return blobs;
}

Result<Json> StatusApi::Blob(const Digest& digest,
                             std::optional<fetch::TransferView> active) const {
  const auto held = parts_.holdings.inventory().FindBlob(digest);
  const auto holders = parts_.catalog.HoldersOf(digest);
  if (!held && holders.empty() && !active) {
    return Error{Code::kNotFound, ToString(digest) + " is neither here nor at a known peer"};
  }
  Json blob = Json::object();
  blob["digest"] = Text(ToString(digest));
  const Bytes size = held               ? held->size
                     : !holders.empty() ? holders.front().size
                                        : active->size.value_or(Bytes(0));
  blob["size"] = Count(size.count());
  blob["state"] = Text(held && held->complete ? "complete"
                       : active               ? "fetching"
                       : held                 ? "partial"
                                              : "absent");
  const auto chain = parts_.store.FindChain(digest);
  const std::int64_t pieces = active ? active->pieces : chain ? chain->geometry().count() : 0;
  blob["pieces"] = Count(pieces);
  blob["have"] = Count(active ? active->have : held && held->complete ? pieces : 0);
  blob["in_containerd"] = Json::boolean(parts_.holdings.InContainerd(digest));
  Json list = Json::array();
  for (const auto& holder : holders) {
    Push(list, holder_search_.Holder(holder.peer, holder.complete ? "complete" : "partial"));
  }
  blob["holders"] = list;
  return blob;
}

Json StatusApi::Images() const {
  struct Row {
    bool here = false;
    std::set<PeerId> holders;
    Bytes size;
    std::string platforms;
    void Learn(Bytes said, const std::string& on) {
      if (said > Bytes(0)) size = said;
      if (!on.empty()) platforms = on;
    }
  };
  std::map<std::pair<std::string, Digest>, Row> rows;
  for (const auto& image : parts_.holdings.inventory().Images()) {
    auto& row = rows[{image.name, image.digest}];
    row.here = true;
    row.Learn(image.size, image.platforms);
  }
  for (const auto& image : parts_.catalog.Images("", kPageMax)) {
    auto& row = rows[{image.name, image.digest}];
    row.holders.insert(image.peer);
    row.Learn(image.size, image.platforms);
  }
  Json images = Json::array();
  for (const auto& [key, row] : rows) {
    Json image = Json::object();
    image["name"] = Text(key.first);
    image["digest"] = Text(ToString(key.second));
    image["size"] = Count(row.size.count());
    image["platforms"] = PlatformList(row.platforms);
    image["here"] = Json::boolean(row.here);
    image["holders"] = Count(static_cast<std::int64_t>(row.holders.size()));
    Push(images, std::move(image));
  }
  return images;
}

Json StatusApi::PullOf(const PullView& pull) const {
  Json json = Json::object();
  json["id"] = Text(std::to_string(pull.id));
  json["image"] = Text(pull.image);
  json["digest"] = pull.digest ? Text(ToString(*pull.digest)) : Json::null();
  json["state"] = Text(std::string(StateName(pull.state)));
  json["error"] = Text(pull.error);
  json["in_containerd"] = Json::boolean(pull.in_containerd);
  const Time end = pull.state == PullState::kRunning ? parts_.loop.Now() : pull.ended;
  json["took_ms"] =
      Count(std::chrono::duration_cast<std::chrono::milliseconds>(end - pull.started).count());
  const auto transfers = parts_.fetcher.Active();
  Json blobs = Json::array();
  std::int64_t size = 0;
  std::int64_t peers = 0;
  std::int64_t upstream = 0;
  std::set<PeerId> sources;
  for (const auto& blob : pull.blobs) {
    const auto active = std::find_if(transfers.begin(), transfers.end(),
                                     [&](const auto& view) { return view.digest == blob.digest; });
    const bool running = active != transfers.end() && !blob.done;
    const auto& bytes = running ? active->sources : blob.sources;
    Json entry = Json::object();
    entry["digest"] = Text(ToString(blob.digest));
    entry["size"] = Count(blob.size.count());
    entry["state"] = Text(blob.done ? "done" : running ? "fetching" : "waiting");
    std::int64_t have = blob.done ? blob.size.count() : 0;
    if (running && active->pieces > 0) {
      have = blob.size.count() * active->have / active->pieces;
    }
    entry["have_bytes"] = Count(have);
    entry["local"] = Json::boolean(blob.local);
    entry["from_peers"] = Count(FromPeers(bytes));
    entry["from_upstream"] = Count(bytes.upstream.count());
    Json by_peer = Json::object();
    for (const auto& [peer, count] : bytes.peers) {
      by_peer[peer.Hex()] = Count(count.count());
      sources.insert(peer);
    }
    entry["sources"] = by_peer;
    size += blob.size.count();
    peers += FromPeers(bytes);
    upstream += bytes.upstream.count();
    Push(blobs, std::move(entry));
  }
  json["blobs"] = blobs;
  json["size"] = Count(size);
  json["from_peers"] = Count(peers);
  json["from_upstream"] = Count(upstream);
  std::vector<std::string> names;
  for (const auto& peer : sources) {
    const std::string name = NameOf(peer);
    names.push_back(name.empty() ? peer.Short() : name);
  }
  if (upstream > 0) names.emplace_back("upstream");
  json["sources"] = TextArray(names);
  return json;
}

Json StatusApi::TransferOf(const fetch::TransferView& view, const std::string& state,
                           const std::string& error, std::int64_t took_ms) const {
  Json json = Json::object();
  json["id"] = Text("");
  json["digest"] = Text(ToString(view.digest));
  json["why"] = Text(view.why);
  json["state"] = Text(state);
  json["error"] = Text(error);
  json["size"] = Count(view.size.value_or(Bytes(0)).count());
  json["pieces"] = Count(view.pieces);
  json["have"] = Count(view.have);
  json["from_peers"] = Count(FromPeers(view.sources));
  json["from_upstream"] = Count(view.sources.upstream.count());
  json["resumed"] = Count(view.sources.resumed.count());
  json["wasted"] = Count(view.sources.wasted.count());
  json["took_ms"] = Count(took_ms);
  Json bytes = Json::object();
  std::vector<std::string> names;
  for (const auto& [peer, count] : view.sources.peers) {
    bytes[peer.Hex()] = Count(count.count());
    const std::string name = NameOf(peer);
    names.push_back(name.empty() ? peer.Short() : name);
  }
  if (view.sources.upstream > Bytes(0)) names.emplace_back("upstream");
  json["bytes_by_peer"] = bytes;
  json["sources"] = TextArray(names);
  return json;
}

Json StatusApi::PullList() const {
  Json list = Json::array();
  for (const auto& pull : parts_.pulls.List()) Push(list, PullOf(pull));
  for (const auto& view : parts_.fetcher.Active()) {
    const auto took =
        std::chrono::duration_cast<std::chrono::milliseconds>(parts_.loop.Now() - view.started);
    Push(list, TransferOf(view, "running", "", took.count()));
  }
  for (const auto& ended : ended_) {
    Push(list, TransferOf(ended.view, ended.error.empty() ? "done" : "failed", ended.error,
                          ended.took_ms));
  }
  return list;
}

AdminReply StatusApi::RoomsRoute(const AdminRequest& request) {
  const auto& path = request.path;
  const auto done = [](const Status& status) {
    return status ? JsonReply(Json::object()) : ErrorReply(status.error());
  };
  if (path.size() == 2 && IsRead(request)) {
    Json list = Json::array();
    for (const auto& view : parts_.rooms.List()) {
      Json room = Json::object();
      room["name"] = Text(view.name);
      room["id"] = Text(view.id.Hex());
      room["member"] = Json::boolean(view.in_force);
      room["until"] = Count(ToUnixMs(view.until));
      room["members"] = Count(static_cast<std::int64_t>(view.members));
      room["revocations"] = Count(static_cast<std::int64_t>(view.revocations));
      Push(list, std::move(room));
    }
    return JsonReply(list);
  }
  if (path.size() == 3 && path[2] == "reload" && request.method == "POST") {
    return done(parts_.reload_rooms());
  }
  if (path.size() == 4 && path[3] == "feed" && IsRead(request)) {
    return parts_.loop.Ask([&] {
      const std::string room = parts_.rooms.RecordName(parts_.rooms.BitOf(path[2]));
      return FeedReply(parts_.feeds.Find(room),
                       [this](const PeerId& peer) { return NameOf(peer); });
    });
  }
  if (path.size() == 4 && path[3] == "revocations" && request.method == "POST") {
    auto room = index::ParseRoomId(path[2]);
    if (!room) return ErrorReply(room.error());
    auto text = GetString(request.body, "revocation", index::kRevocationBytesMax);
    if (!text) return ErrorReply(text.error());
    return done(parts_.rooms.Revoke(*room, *text));
  }
  if (path.size() == 2 || (path.size() == 3 && path[2] == "reload") ||
      (path.size() == 4 && (path[3] == "revocations" || path[3] == "feed"))) {
    return WrongMethod(request.method);
  }
  return ErrorReply({Code::kNotFound, "no such path; /openapi.json lists them"});
}

AdminReply StatusApi::PullsRoute(const AdminRequest& request) {
  const auto& path = request.path;
  if (path.size() == 2 && IsRead(request)) {
    return JsonReply(parts_.loop.Ask([&] { return PullList(); }));
  }
  if (path.size() == 2 && request.method == "POST") {
    auto image = GetString(request.body, "image");
    if (!image) return ErrorReply(image.error());
    auto id = parts_.loop.Ask([&] { return parts_.pulls.Start(*image); });
    if (!id) return ErrorReply(id.error());
    Json answer = Json::object();
    answer["id"] = Text(std::to_string(*id));
    return JsonReply(answer, 202);
  }
  if (path.size() == 2) return WrongMethod(request.method);
  std::uint64_t id = 0;
  const std::string& text = path.size() == 3 ? path[2] : "";
  const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (wrong != std::errc() || end != text.data() + text.size()) {
    return ErrorReply({Code::kNotFound, "a pull's id is a number"});
  }
  if (request.method == "DELETE") {
    auto cancelled = parts_.loop.Ask([&] { return parts_.pulls.Cancel(id); });
    return cancelled ? JsonReply(Json::object()) : ErrorReply(cancelled.error());
  }
  if (!IsRead(request)) return WrongMethod(request.method);
  auto pull = parts_.loop.Ask([&]() -> Result<Json> {
    const PullView* view = parts_.pulls.Find(id);
    if (view == nullptr) return Error{Code::kNotFound, "there is no pull " + std::to_string(id)};
    return PullOf(*view);
  });
  return pull ? JsonReply(*pull) : ErrorReply(pull.error());
}

std::vector<Metric> StatusApi::MakeMetrics() const {
  using Kind = Metric::Kind;
  const auto counter = [](const std::atomic<std::int64_t>& value) {
    return [&value] { return static_cast<double>(value.load()); };
  };
  const auto of_indexes = [this](auto read) {
    return [this, read] {
      double sum = 0;
      for (const auto& status : parts_.discovery.IndexStatus()) {
        sum += static_cast<double>(read(status));
      }
      return sum;
    };
  };
  const auto& counters = parts_.counters;
  const auto usage = parts_.store.usage();
  std::vector<Metric> metrics = RelayMetrics(parts_.relaying);
  std::vector<Metric> others = {
      {"shoal_received_peer_bytes_total", "Bytes received from peers.", Kind::kCounter,
       counter(counters.from_peers)},
      {"shoal_received_upstream_bytes_total", "Bytes received from upstream registries.",
       Kind::kCounter, counter(counters.from_upstream)},
      {"shoal_sent_peer_bytes_total", "Bytes sent to peers.", Kind::kCounter,
       counter(counters.to_peers)},
      {"shoal_sent_runtime_bytes_total", "Bytes sent to container runtimes.", Kind::kCounter,
       counter(counters.to_runtime)},
      {"shoal_corrupt_pieces_total", "Pieces that failed verification.", Kind::kCounter,
       counter(counters.corrupt_pieces)},
      {"shoal_peer_bans_total", "Times a peer was banned.", Kind::kCounter, counter(counters.bans)},
      {"shoal_fetches_done_total", "Blobs fetched.", Kind::kCounter,
       counter(counters.fetches_done)},
      {"shoal_fetches_failed_total", "Blobs that could not be fetched.", Kind::kCounter,
       counter(counters.fetches_failed)},
      {"shoal_fetches_active", "Blobs being fetched.", Kind::kGauge,
       [this] { return static_cast<double>(parts_.fetcher.active_count()); }},
      {"shoal_peers_alive", "Peers that answer.", Kind::kGauge,
       [this] { return static_cast<double>(parts_.discovery.roster().alive_count()); }},
      {"shoal_network_peers", "Hosts in the network, estimated; this one is one.", Kind::kGauge,
       [this] { return parts_.discovery.passing().Size().peers; }},
      {"shoal_network_peers_error", "Standard error of shoal_network_peers.", Kind::kGauge,
       [this] { return parts_.discovery.passing().Size().error; }},
      {"shoal_dht_nodes", "Nodes in the DHT's routing table.", Kind::kGauge,
       of_indexes([](const auto& status) { return status.nodes.value_or(0); })},
      {"shoal_dht_dials_total", "Endpoints dialled because the DHT named them.", Kind::kCounter,
       of_indexes([](const auto& status) { return status.dials; })},
      {"shoal_inventory_blobs", "Blobs that this host holds.", Kind::kGauge,
       [this] { return static_cast<double>(parts_.holdings.inventory().blob_count()); }},
      {"shoal_search_images", "Images that can be searched, here or at peers.", Kind::kGauge,
       [this] { return static_cast<double>(parts_.finder.size()); }},
      {"shoal_feed_messages_total", "Messages of rooms that were given out here.", Kind::kCounter,
       [this] { return static_cast<double>(parts_.feeds.Counts().given); }},
      {"shoal_feed_copies_total", "Messages of rooms that came, known ones too.", Kind::kCounter,
       [this] { return static_cast<double>(parts_.feeds.Counts().copies); }},
      {"shoal_feed_refused_total", "Messages of rooms that were refused.", Kind::kCounter,
       [this] { return static_cast<double>(parts_.feeds.Counts().refused); }},
      {"shoal_feed_standing", "Messages of rooms that stand.", Kind::kGauge,
       [this] { return static_cast<double>(parts_.feeds.Standing()); }},
      {"shoal_store_bytes", "Bytes in the store.", Kind::kGauge,
       [usage] { return static_cast<double>(usage.bytes.count()); }},
      {"shoal_store_max_bytes", "Bound on the bytes in the store.", Kind::kGauge,
       [usage] { return static_cast<double>(usage.max.count()); }},
      {"shoal_store_blobs", "Blobs in the store.", Kind::kGauge,
       [usage] { return static_cast<double>(usage.blobs); }},
  };
  std::ranges::move(metrics, std::back_inserter(others));
  return others;
}

}  // namespace shoal::agent
