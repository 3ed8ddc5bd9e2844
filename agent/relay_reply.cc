#include "agent/relay_reply.h"

namespace shoal::agent {
namespace {

fetch::RelayService::View ViewOf(const Relaying& relaying) {
  return relaying.service() ? relaying.service()->view() : fetch::RelayService::View{};
}

}  // namespace

Json RelayReply(const Relaying& relaying,
                const std::function<std::string(const PeerId&)>& name_of) {
  Json reply = Json::object();
  reply["dialable"] = Json::string(std::string(ToString(relaying.reach())));
  Json through = Json::array();
  for (const auto& endpoint : relaying.Through()) {
    Json entry = Json::object();
    entry["id"] = Json::string(endpoint.relay->Hex());
    entry["name"] = Json::string(name_of(*endpoint.relay));
    entry["endpoint"] = Json::string(ToString(index::Endpoint{endpoint.host, endpoint.port}));
    through[through.size()] = std::move(entry);
  }
  reply["through"] = std::move(through);
  const auto view = ViewOf(relaying);
  reply["serves"] = Json::boolean(relaying.service() != nullptr);
  reply["slots"] = Json::number(view.slots);
  reply["places"] = Json::number(static_cast<std::int64_t>(view.peers.size()));
  reply["circuits"] = Json::number(view.circuits);
  reply["bytes"] = Json::number(view.bytes);
  return reply;
}

std::vector<Metric> RelayMetrics(const Relaying& relaying) {
  using Kind = Metric::Kind;
  return {
      {"shoal_relay_held", "Relays that this host is reached through.", Kind::kGauge,
       [&relaying] { return static_cast<double>(relaying.Through().size()); }},
      {"shoal_relay_answered", "Connections that peers have to this host through relays.",
       Kind::kGauge, [&relaying] { return static_cast<double>(relaying.taken()); }},
      {"shoal_relay_places", "Peers that are reached through this host.", Kind::kGauge,
       [&relaying] { return static_cast<double>(ViewOf(relaying).peers.size()); }},
      {"shoal_relay_circuits", "Connections that run through this host.", Kind::kGauge,
       [&relaying] { return static_cast<double>(ViewOf(relaying).circuits); }},
      {"shoal_relay_calls_total", "Connections made through this host.", Kind::kCounter,
       [&relaying] { return static_cast<double>(ViewOf(relaying).calls); }},
      {"shoal_relay_refused_total", "Places and connections that were refused to others.",
       Kind::kCounter, [&relaying] { return static_cast<double>(ViewOf(relaying).refused); }},
      {"shoal_relay_carried_bytes_total", "Bytes carried between others.", Kind::kCounter,
       [&relaying] { return static_cast<double>(ViewOf(relaying).bytes); }},
  };
}

}  // namespace shoal::agent
