#include "agent/config_keys.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "base/units.h"
#include "fetch/rate_limit.h"

namespace shoal::agent {
namespace {

using Values = std::vector<std::string>;

Error Wrong(std::string_view value, std::string_view must) {
  return Error{Code::kInvalid, "\"" + std::string(value) + "\" is not " + std::string(must)};
}

template <class Section>
ConfigKey TextKey(std::string name, Section Config::*section, std::string Section::*field,
                  std::function<Status(const std::string&)> check = {}) {
  return {std::move(name), KeyType::kText,
          [=](Config& config, const Values& values) -> Status {
            if (check) {
              if (auto checked = check(values.front()); !checked) return checked;
            }
            config.*section.*field = values.front();
            return Ok();
          },
          [=](const Config& config) { return Quote(config.*section.*field); }};
}

template <class Section>
ConfigKey FlagKey(std::string name, Section Config::*section, bool Section::*field) {
  return {
      std::move(name), KeyType::kBool,
      [=](Config& config, const Values& values) -> Status {
        if (values.front() != "true" && values.front() != "false") {
          return Wrong(values.front(), "true or false");
        }
        config.*section.*field = values.front() == "true";
        return Ok();
      },
      [=](const Config& config) { return std::string(config.*section.*field ? "true" : "false"); }};
}

template <class Section>
ConfigKey NumberKey(std::string name, Section Config::*section, int Section::*field, int min,
                    int max) {
  return {std::move(name), KeyType::kInt,
          [=](Config& config, const Values& values) -> Status {
            const std::string& text = values.front();
            int number = 0;
            const auto [end, error] =
                std::from_chars(text.data(), text.data() + text.size(), number);
            if (error != std::errc() || end != text.data() + text.size() || number < min ||
                number > max) {
              return Wrong(text, "a whole number from " + std::to_string(min) + " to " +
                                     std::to_string(max));
            }
            config.*section.*field = number;
            return Ok();
          },
          [=](const Config& config) { return std::to_string(config.*section.*field); }};
}

template <class Section>
ConfigKey ListKey(std::string name, Section Config::*section, Values Section::*field,
                  std::function<Status(const std::string&)> check) {
  return {std::move(name), KeyType::kList,
          [=](Config& config, const Values& values) -> Status {
            for (const auto& value : values) {
              if (auto checked = check(value); !checked) return checked;
            }
            config.*section.*field = values;
            return Ok();
          },
          [=](const Config& config) {
            std::string text = "[";
            for (const auto& value : config.*section.*field) {
              if (text.size() > 1) text += ", ";
              text += Quote(value);
            }
            return text + "]";
          }};
}

template <class Section>
ConfigKey TimeKey(std::string name, Section Config::*section, Duration Section::*field,
                  Duration min, Duration max) {
  return {std::move(name), KeyType::kText,
          [=](Config& config, const Values& values) -> Status {
            auto value = ParseDuration(values.front());
            if (!value) return value.error();
            if (*value < min || *value > max) {
              return Wrong(values.front(),
                           "from " + FormatDuration(min) + " to " + FormatDuration(max));
            }
            config.*section.*field = *value;
            return Ok();
          },
          [=](const Config& config) { return Quote(FormatDuration(config.*section.*field)); }};
}

template <class Section>
ConfigKey SizeKey(std::string name, Section Config::*section, Bytes Section::*field, Bytes min,
                  Bytes max, std::int64_t multiple) {
  return {std::move(name), KeyType::kText,
          [=](Config& config, const Values& values) -> Status {
            auto value = ParseSize(values.front());
            if (!value) return value.error();
            if (*value < min || *value > max || value->count() % multiple != 0) {
              std::string must = "from " + FormatSize(min) + " to " + FormatSize(max);
              if (multiple > 1) must += ", a multiple of " + std::to_string(multiple) + " bytes";
              return Wrong(values.front(), must);
            }
            config.*section.*field = *value;
            return Ok();
          },
          [=](const Config& config) { return Quote(FormatSize(config.*section.*field)); }};
}

template <class Section>
ConfigKey RateKey(std::string name, Section Config::*section, Bytes Section::*field) {
  return {std::move(name), KeyType::kText,
          [=](Config& config, const Values& values) -> Status {
            auto value = ParseRate(values.front());
            if (!value) return value.error();
            if (*value != Bytes(0) && (*value < fetch::kRateMin || *value > fetch::kRateMax)) {
              return Wrong(values.front(), "0 for no limit, or from " +
                                               FormatRate(fetch::kRateMin) + " to " +
                                               FormatRate(fetch::kRateMax));
            }
            config.*section.*field = *value;
            return Ok();
          },
          [=](const Config& config) { return Quote(FormatRate(config.*section.*field)); }};
}

std::function<Status(const std::string&)> OneOf(Values words) {
  return [words = std::move(words)](const std::string& value) -> Status {
    if (std::find(words.begin(), words.end(), value) != words.end()) return Ok();
    std::string list;
    for (const auto& word : words) list += (list.empty() ? "" : ", ") + word;
    return Wrong(value, "one of " + list);
  };
}

Status IsEndpoint(const std::string& value) {
  auto endpoint = index::ParseEndpoint(value);
  if (!endpoint) return endpoint.error();
  return Ok();
}

// What MulticastSocket can join.
Status IsGroup(const std::string& value) {
  auto endpoint = index::ParseEndpoint(value);
  if (!endpoint) return endpoint.error();
  in_addr address{};
  if (inet_pton(AF_INET, endpoint->host.c_str(), &address) == 1 &&
      IN_MULTICAST(ntohl(address.s_addr))) {
    return Ok();
  }
  return Wrong(value, "an IPv4 multicast address and a port, like 239.255.73.80:7385");
}

Status IsGroup6(const std::string& value) {
  if (value.empty()) return Ok();
  auto endpoint = index::ParseEndpoint(value);
  if (!endpoint) return endpoint.error();
  in6_addr address{};
  if (inet_pton(AF_INET6, endpoint->host.c_str(), &address) == 1 &&
      IN6_IS_ADDR_MULTICAST(&address) && !IN6_IS_ADDR_MC_LINKLOCAL(&address)) {
    return Ok();
  }
  return Wrong(value, "an IPv6 multicast address and a port, like [ff15::7368:6f61]:7385, or \"\"");
}

// As containerd has it (its pkg/identifiers): words of letters and digits, parted by . _ or -.
Status IsNamespace(const std::string& value) {
  bool part = false;  // the last one was a letter or a digit
  bool right = value.size() <= 76;
  for (const char c : value) {
    const bool word = std::isalnum(static_cast<unsigned char>(c)) != 0;
    right = right && (word || (part && (c == '.' || c == '_' || c == '-')));
    part = word;
  }
  if (right && part) return Ok();
  return Wrong(value, "a namespace of containerd, like k8s.io");
}

Status IsServerUrl(const std::string& value) {
  constexpr std::string_view kScheme = "https://";
  if (!value.starts_with(kScheme))
    return Wrong(value, "like https://host:7383 or https://host:7383#PEERID");
  const auto mark = value.find('#');
  auto endpoint = index::ParseEndpoint(value.substr(
      kScheme.size(), mark == std::string::npos ? std::string::npos : mark - kScheme.size()));
  if (!endpoint) return endpoint.error();
  if (mark == std::string::npos) return Ok();
  auto id = ParsePeerId(std::string_view(value).substr(mark + 1));
  if (!id) return id.error();
  return Ok();
}

Status IsName(const std::string& value) {
  const bool printable =
      std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (value.size() <= 64 && printable) return Ok();
  return Wrong(value, "at most 64 bytes of printable ASCII");
}

Status IsAbsolute(const std::string& value) {
  return value.empty() || value.front() == '/' ? Ok() : Status(Wrong(value, "an absolute path"));
}

Status IsPattern(const std::string& value) {
  if (!value.empty() && value.size() <= 512) return Ok();
  return Wrong(value, "a pattern of 1 to 512 bytes, like reg.example/prod/*");
}

std::vector<ConfigKey> MakeTable() {
  using C = Config;
  using std::chrono::hours;
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  return {
      TextKey("agent.name", &C::agent, &C::Agent::name, IsName),
      TextKey("agent.data_dir", &C::agent, &C::Agent::data_dir, IsAbsolute),
      TextKey("agent.log_level", &C::agent, &C::Agent::log_level,
              OneOf({"trace", "debug", "info", "warn", "error", "off"})),
      TextKey("agent.log_format", &C::agent, &C::Agent::log_format, OneOf({"text", "json"})),
      TextKey("agent.admin", &C::agent, &C::Agent::admin, IsEndpoint),
      TextKey("mirror.listen", &C::mirror, &C::Mirror::listen, IsEndpoint),
      TextKey("mirror.stream", &C::mirror, &C::Mirror::stream, OneOf({"verified", "proved"})),
      TextKey("peer.listen", &C::peer, &C::Peer::listen, IsEndpoint),
      ListKey("peer.advertise", &C::peer, &C::Peer::advertise, IsEndpoint),
      ListKey("index.use", &C::index, &C::Index::use,
              OneOf({"lan", "rendezvous", "dht", "static"})),
      ListKey("index.rendezvous", &C::index, &C::Index::rendezvous, IsServerUrl),
      ListKey("index.static", &C::index, &C::Index::fixed, IsEndpoint),
      TimeKey("index.sync_interval", &C::index, &C::Index::sync_interval, milliseconds(100),
              hours(1)),
      TimeKey("index.resolve_timeout", &C::index, &C::Index::resolve_timeout, milliseconds(1),
              seconds(10)),
      TextKey("lan.group", &C::lan, &C::Lan::group, IsGroup),
      TextKey("lan.group6", &C::lan, &C::Lan::group6, IsGroup6),
      TimeKey("lan.interval", &C::lan, &C::Lan::interval, milliseconds(100), hours(1)),
      TextKey("dht.listen", &C::dht, &C::Dht::listen, IsEndpoint),
      ListKey("dht.bootstrap", &C::dht, &C::Dht::bootstrap, IsEndpoint),
      TextKey("rendezvous.listen", &C::rendezvous, &C::Rendezvous::listen, IsEndpoint),
      TimeKey("rendezvous.ttl_min", &C::rendezvous, &C::Rendezvous::ttl_min, seconds(1), hours(72)),
      TimeKey("rendezvous.ttl_max", &C::rendezvous, &C::Rendezvous::ttl_max, seconds(1), hours(72)),
      TimeKey("rendezvous.ttl_default", &C::rendezvous, &C::Rendezvous::ttl_default, seconds(1),
              hours(72)),
      ListKey("rendezvous.federate", &C::rendezvous, &C::Rendezvous::federate, IsServerUrl),
      FlagKey("rendezvous.search", &C::rendezvous, &C::Rendezvous::search),
      FlagKey("room.open", &C::room, &C::Room::open),
      SizeKey("store.max", &C::store, &C::Store::max, Bytes(1 << 20), Bytes(std::int64_t{1} << 50),
              1),
      TextKey("store.containerd", &C::store, &C::Store::containerd, IsAbsolute),
      TextKey("store.namespace", &C::store, &C::Store::name_space, IsNamespace),
      SizeKey("fetch.piece", &C::fetch, &C::Fetch::piece, Bytes(64 << 10), Bytes(64 << 20), 64),
      NumberKey("fetch.parallel_pieces", &C::fetch, &C::Fetch::parallel_pieces, 1, 256),
      TimeKey("fetch.stall", &C::fetch, &C::Fetch::stall, milliseconds(50), hours(1)),
      TimeKey("fetch.peer_budget", &C::fetch, &C::Fetch::peer_budget, milliseconds(10), hours(1)),
      ListKey("preheat.images", &C::preheat, &C::Preheat::images, IsPattern),
      FlagKey("preheat.open", &C::preheat, &C::Preheat::open),
      FlagKey("relay.use", &C::relay, &C::Relay::use),
      FlagKey("relay.serve", &C::relay, &C::Relay::serve),
      NumberKey("relay.slots", &C::relay, &C::Relay::slots, 1, 256),
      RateKey("relay.rate", &C::relay, &C::Relay::rate),
      TimeKey("relay.time", &C::relay, &C::Relay::time, seconds(1), hours(24)),
      RateKey("limits.upload_rate", &C::limits, &C::Limits::upload_rate),
      RateKey("limits.download_rate", &C::limits, &C::Limits::download_rate),
      NumberKey("limits.upload_slots", &C::limits, &C::Limits::upload_slots, 0, 1024),
      NumberKey("limits.connections", &C::limits, &C::Limits::connections, 16, 65536),
  };
}

int EditDistance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<int>(j);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    int diagonal = std::exchange(row[0], static_cast<int>(i));
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const int above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

}  // namespace

const std::vector<ConfigKey>& ConfigKeyTable() {
  static const std::vector<ConfigKey> kTable = MakeTable();
  return kTable;
}

const ConfigKey* FindConfigKey(std::string_view name) {
  for (const auto& key : ConfigKeyTable()) {
    if (key.name == name) return &key;
  }
  return nullptr;
}

std::vector<std::string> ConfigKeys() {
  std::vector<std::string> names;
  for (const auto& key : ConfigKeyTable()) names.push_back(key.name);
  return names;
}

std::string NearestName(std::string_view name, const std::vector<std::string>& known) {
  return *std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
    return EditDistance(name, a) < EditDistance(name, b);
  });
}

std::string Quote(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      constexpr std::string_view kHex = "0123456789abcdef";
      quoted += "\\u00";
      quoted += kHex[static_cast<unsigned char>(c) >> 4];
      quoted += kHex[static_cast<unsigned char>(c) & 15];
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

}  // namespace shoal::agent
