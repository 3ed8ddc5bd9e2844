#include "index/dht/dht_session.h"

#include <libtorrent/alert_types.hpp>
#include <libtorrent/disabled_disk_io.hpp>
#include <libtorrent/session.hpp>
#include <libtorrent/session_params.hpp>
#include <libtorrent/session_stats.hpp>

namespace shoal::index {
namespace {

// Answers to a key that 100 peers are under have 1 KiB; libtorrent's 8 kB/s would drop them.
constexpr int kUploadBytesPerSecond = 512 * 1024;
// From one address, before it is not listened to for a while. Many agents may be behind one.
constexpr int kPacketsPerSecond = 500;
// What we keep for others: 10,000 keys of at most 100 peers, some 40 MB at the very worst.
constexpr int kKeysKept = 10'000;
constexpr int kPeersOfKeyKept = 100;

std::string ToList(const std::vector<Endpoint>& endpoints) {
  std::string list;
  for (const auto& endpoint : endpoints) list += (list.empty() ? "" : ",") + ToString(endpoint);
  return list;
}

lt::settings_pack SettingsOf(const std::vector<Endpoint>& listen) {
  using S = lt::settings_pack;
  S s;
  s.set_str(S::listen_interfaces, ToList(listen));
  // Switched on once the session is there: with it on from the start libtorrent 2.0 opens its
  // sockets with new node ids, whatever was kept.
  s.set_bool(S::enable_dht, false);
  for (const int off :
       {S::enable_lsd, S::enable_upnp, S::enable_natpmp, S::enable_incoming_tcp,
        S::enable_outgoing_tcp, S::enable_incoming_utp, S::enable_outgoing_utp,
        S::enable_ip_notifier, S::listen_system_port_fallback,
        // Right for the public network; a cluster is hosts of one /24, or of one address.
        S::dht_restrict_routing_ips, S::dht_restrict_search_ips, S::dht_prefer_verified_node_ids,
        S::dht_enforce_node_id, S::dht_ignore_dark_internet}) {
    s.set_bool(off, false);
  }
  s.set_str(S::dht_bootstrap_nodes, "");  // not the public network's
  s.set_int(S::max_retry_port_bind, 0);   // the port that we were told, or none
  s.set_int(S::dht_upload_rate_limit, kUploadBytesPerSecond);
  s.set_int(S::dht_block_ratelimit, kPacketsPerSecond);
  // libtorrent's 20 keep hosts that are gone in the table for long, and each lookup waits for them.
  s.set_int(S::dht_max_fail_count, 5);
  s.set_int(S::dht_max_torrents, kKeysKept);
  s.set_int(S::dht_max_peers, kPeersOfKeyKept);
  s.set_int(S::dht_max_dht_items, 1);  // other kinds of content are not kept for others
  s.set_int(S::alert_mask, static_cast<int>(static_cast<std::uint32_t>(
                               lt::alert_category::dht | lt::alert_category::dht_operation |
                               lt::alert_category::error | lt::alert_category::status)));
  return s;
}

lt::sha1_hash ToHash(const DhtKey& key) {
  return lt::sha1_hash(reinterpret_cast<const char*>(key.data()));
}

DhtKey FromHash(const lt::sha1_hash& hash) {
  DhtKey key{};
  std::copy_n(reinterpret_cast<const std::byte*>(hash.data()), key.size(), key.begin());
  return key;
}

// Nothing for what cannot be a peer's endpoint.
std::optional<Endpoint> ToEndpoint(const lt::address& address, int port) {
  if (port < 1 || port > 65535 || address.is_unspecified() || address.is_multicast()) return {};
  if (address.is_v4() && address.to_v4() == lt::address_v4::broadcast()) return {};
  if (address.is_v6() && (address.to_v6().is_link_local() || address.to_v6().is_v4_mapped())) {
    return {};
  }
  return Endpoint{address.to_string(), static_cast<std::uint16_t>(port)};
}

lt::session_params ParamsOf(const std::string& state, const std::vector<Endpoint>& listen) {
  lt::session_params params;
  try {
    params = lt::read_session_params(lt::span<const char>(state.data(), std::ssize(state)),
                                     lt::session_handle::save_dht_state);
  } catch (const std::exception&) {
    params = {};  // of another version, or damaged: we begin anew
  }
  params.settings = SettingsOf(listen);
  params.extensions.clear();
  params.disk_io_constructor = lt::disabled_disk_io_constructor;
  return params;
}

}  // namespace

struct DhtSession::Session {
  explicit Session(lt::session_params params) : session(RememberNodes(std::move(params))) {}

  lt::session_params RememberNodes(lt::session_params params) {
    for (const auto* nodes : {&params.dht_state.nodes, &params.dht_state.nodes6}) {
      for (const auto& node : *nodes) {
        if (auto endpoint = ToEndpoint(node.address(), node.port())) {
          remembered.push_back(*std::move(endpoint));
        }
      }
    }
    return params;
  }

  void Take(const lt::alert* alert, DhtNews& news) const {
    if (const auto* reply = lt::alert_cast<lt::dht_get_peers_reply_alert>(alert)) {
      DhtNews::Found found{FromHash(reply->info_hash), {}, false};
      for (const auto& peer : reply->peers()) {
        if (auto endpoint = ToEndpoint(peer.address(), peer.port())) {
          found.endpoints.push_back(*std::move(endpoint));
        }
      }
      news.found.push_back(std::move(found));
    } else if (const auto* heard = lt::alert_cast<lt::dht_announce_alert>(alert)) {
      if (auto endpoint = ToEndpoint(heard->ip, heard->port)) {
        news.found.push_back({FromHash(heard->info_hash), {*std::move(endpoint)}, true});
      }
    } else if (const auto* stats = lt::alert_cast<lt::session_stats_alert>(alert)) {
      if (nodes_metric >= 0) news.nodes = static_cast<int>(stats->counters()[nodes_metric]);
    } else if (const auto* up = lt::alert_cast<lt::listen_succeeded_alert>(alert)) {
      if (up->socket_type == lt::socket_type_t::utp) {
        news.listening.push_back({up->address.to_string(), static_cast<std::uint16_t>(up->port)});
      }
    } else if (const auto* failed = lt::alert_cast<lt::listen_failed_alert>(alert)) {
      news.trouble = "cannot listen on " + failed->address.to_string() + ":" +
                     std::to_string(failed->port) + ": " + failed->error.message();
    }
  }

  std::vector<Endpoint> remembered;
  lt::session session;
  int nodes_metric = lt::find_metric_idx("dht.dht_nodes");
};

DhtSession::DhtSession(const std::string& state, const std::vector<Endpoint>& listen,
                       const std::function<void()>& wake)
    : session_(std::make_unique<Session>(ParamsOf(state, listen))) {
  session_->session.set_alert_notify(wake);
  lt::settings_pack settings;
  settings.set_bool(lt::settings_pack::enable_dht, true);
  session_->session.apply_settings(std::move(settings));
}

DhtSession::~DhtSession() { session_->session.set_alert_notify({}); }

void DhtSession::Listen(const std::vector<Endpoint>& endpoints) {
  lt::settings_pack settings;
  settings.set_str(lt::settings_pack::listen_interfaces, ToList(endpoints));
  session_->session.apply_settings(std::move(settings));
}

void DhtSession::AddNode(const Endpoint& endpoint) {
  session_->session.add_dht_node({endpoint.host, endpoint.port});
}

void DhtSession::Announce(const DhtKey& key, std::uint16_t port) {
  session_->session.dht_announce(ToHash(key), port);
}

void DhtSession::Look(const DhtKey& key) { session_->session.dht_get_peers(ToHash(key)); }

void DhtSession::Count() { session_->session.post_session_stats(); }

DhtNews DhtSession::Poll() {
  std::vector<lt::alert*> alerts;
  session_->session.pop_alerts(&alerts);
  DhtNews news;
  for (const auto* alert : alerts) session_->Take(alert, news);
  return news;
}

std::string DhtSession::State() const {
  const auto params = session_->session.session_state(lt::session_handle::save_dht_state);
  const auto bytes = lt::write_session_params_buf(params, lt::session_handle::save_dht_state);
  return {bytes.begin(), bytes.end()};
}

const std::vector<Endpoint>& DhtSession::remembered() const { return session_->remembered; }

}  // namespace shoal::index
