#include "agent/index_status.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "agent/metrics.h"
#include "agent/search_reply.h"
#include "index/net/io_thread.h"

namespace shoal::agent {
namespace {

constexpr std::uint64_t kPeersDefault = 100;
constexpr std::uint64_t kPeersMax = 1000;  // of one answer: each is read anew

Json Number(std::int64_t n) { return Json::number(n); }
template <class T>
Json CountOf(T n) {
  return Json::number(static_cast<std::int64_t>(n));
}

// Errors: kInvalid.
Result<std::uint64_t> NumberIn(const AdminRequest& request, const std::string& name,
                               std::uint64_t otherwise) {
  const auto it = request.query.find(name);
  if (it == request.query.end()) return otherwise;
  std::uint64_t number = 0;
  const std::string& text = it->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Error{Code::kInvalid, name + " must be a whole number"};
  }
  return number;
}

Json ToJson(const index::RendezvousService::Peer& peer, const index::Record& record) {
  Json out = Json::object();
  out["id"] = Json::string(record.id().Hex());
  out["name"] = Json::string(record.name);
  Json endpoints = Json::array(record.endpoints.size());
  for (std::size_t i = 0; i < record.endpoints.size(); ++i) {
    endpoints[i] = Json::string(index::ToString(record.endpoints[i]));
  }
  Json rooms = Json::array(record.rooms.size());
  for (std::size_t i = 0; i < record.rooms.size(); ++i) rooms[i] = Json::string(record.rooms[i]);
  out["endpoints"] = std::move(endpoints);
  out["rooms"] = std::move(rooms);
  out["server"] = Json::string(peer.server ? peer.server->Hex() : "");
  out["registrations"] = CountOf(peer.shown.registrations);
  out["expires_ms"] = Number(ToUnixMs(record.expires));
  out["after"] = CountOf(peer.shown.number);
  return out;
}

}  // namespace

AdminReply IndexStatus::Answer(const AdminRequest& request) const {
  std::string path;
  for (const auto& part : request.path) path += (path.empty() ? "" : "/") + part;
  if (request.method != "GET" && request.method != "HEAD") return WrongMethod(request.method);
  if (path == "healthz" || path == "readyz") return {200, "text/plain", "ok\n"};
  if (path == "metrics") return Metrics();
  if (path == "v1/status") return Status();
  if (path == "v1/servers") return Servers();
  if (path == "v1/peers") return Peers(request);
  if (path == "v1/search" && server_.reader() != nullptr) {
    return SearchReply(server_.reader()->finder(), request);
  }
  if (path == "v1/search") {
    return ErrorReply(
        {Code::kNotFound, "this index server does not search: see rendezvous.search"});
  }
  return ErrorReply({Code::kNotFound, "no such path"});
}

AdminReply IndexStatus::Metrics() const {
  const auto counts = server_.counts();
  const auto servers = server_.service().servers();
  const auto away = static_cast<std::size_t>(
      std::ranges::count_if(servers, [](const auto& server) { return !server.line.works; }));
  const auto gauge = [](const char* name, const char* help, std::size_t n) {
    return Metric{name, help, Metric::Kind::kGauge, [n] { return static_cast<double>(n); }};
  };
  std::vector<Metric> metrics = {
      gauge("shoal_index_peers", "Peers registered, here or elsewhere.", counts.peers),
      gauge("shoal_index_registrations", "Registrations of all peers.", counts.registrations),
      gauge("shoal_index_copied_registrations", "Those that another server has told.",
            counts.copied),
      gauge("shoal_index_servers", "Other servers that federate.", servers.size() - 1),
      gauge("shoal_index_servers_away", "Those that do not answer.", away),
      gauge("shoal_index_waiters", "Requests that wait for news.", counts.waiters),
      gauge("shoal_index_swarms", "Blobs asked about lately.", counts.swarms),
      gauge("shoal_index_connections", "Connections of agents.",
            static_cast<std::size_t>(server_.connections())),
      Metric{"shoal_index_left_out_total",
             "Registrations of other servers for which there was no room.", Metric::Kind::kCounter,
             [n = counts.left_out] { return static_cast<double>(n); }}};
  if (const auto* reader = server_.reader(); reader != nullptr) {
    const auto read = reader->counts();
    metrics.push_back(gauge("shoal_search_images", "Images of the open room that can be found.",
                            reader->finder().size()));
    metrics.push_back(gauge("shoal_index_read_peers", "Peers whose images are read.", read.peers));
    metrics.push_back(
        Metric{"shoal_index_read_refused_total", "Answers of such peers that went beyond a limit.",
               Metric::Kind::kCounter, [n = read.refused] { return static_cast<double>(n); }});
  }
  return {200, "text/plain; version=0.0.4", RenderMetrics(metrics)};
}

AdminReply IndexStatus::Status() const {
  const auto counts = server_.counts();
  Json status = Json::object();
  status["id"] = Json::string(id_.Hex());
  status["version"] = Json::string(SHOAL_VERSION);
  status["uptime_s"] = Number(
      std::chrono::duration_cast<std::chrono::seconds>(index::SteadyNow() - started_).count());
  status["peers"] = CountOf(counts.peers);
  status["registrations"] = CountOf(counts.registrations);
  status["copied"] = CountOf(counts.copied);
  status["swarms"] = CountOf(counts.swarms);
  status["servers"] = CountOf(server_.service().servers().size());
  return JsonReply(status);
}

AdminReply IndexStatus::Servers() const {
  const auto servers = server_.service().servers();
  Json out = Json::array(servers.size());
  for (std::size_t i = 0; i < servers.size(); ++i) {
    const auto& [line, trouble] = servers[i];
    Json server = Json::object();
    server["id"] = Json::string(line.id.Hex());
    server["url"] = Json::string(line.url);
    server["state"] = Json::string(i == 0 ? "self" : line.works ? "works" : "away");
    server["trouble"] = Json::string(trouble);
    server["listed"] = Json::boolean(line.is_ours);
    server["epoch"] = CountOf(line.epoch);
    server["read"] = CountOf(line.cursor);
    server["heard_s"] = Number(line.heard_s);
    server["registrations"] = Number(line.registrations);
    out[i] = std::move(server);
  }
  return JsonReply(out);
}

AdminReply IndexStatus::Peers(const AdminRequest& request) const {
  const auto limit = NumberIn(request, "limit", kPeersDefault);
  const auto after = NumberIn(request, "after", 0);
  if (!limit) return ErrorReply(limit.error());
  if (!after) return ErrorReply(after.error());
  const auto most = static_cast<std::size_t>(std::min(*limit, kPeersMax));
  Json out = Json::array();
  for (const auto& peer : server_.service().peers(*after, most)) {
    const auto record = index::SignedRecord::Parse(*peer.shown.envelope);
    if (record) out[out.size()] = ToJson(peer, record->record());
  }
  return JsonReply(out);
}

}  // namespace shoal::agent
