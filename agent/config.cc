#include "agent/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/config_keys.h"
#include "base/units.h"
#include "index/registry_slots.h"

namespace shoal::agent {
namespace {

const std::vector<std::string> kRegistryFields = {"host",          "url",      "ca",
                                                  "insecure",      "username", "password_file",
                                                  "docker_config", "tag_ttl",  "connections"};
const std::vector<std::string> kReplicateFields = {"images", "copies"};
const std::vector<std::string> kShareFields = {"repositories", "room"};

Error Unknown(std::string_view origin, const std::string& name,
              const std::vector<std::string>& known) {
  return {Code::kInvalid, std::string(origin) + ": there is no key \"" + name +
                              "\"; did you mean \"" + NearestName(name, known) + "\"?"};
}

// A TOML value as the texts that a key's setter takes.
Result<std::vector<std::string>> TextsOf(const toml::node& node, KeyType type) {
  const auto wrong = [](std::string_view must) {
    return Error{Code::kInvalid, "the value must be " + std::string(must)};
  };
  switch (type) {
    case KeyType::kText:
      if (const auto* text = node.as_string()) return std::vector{text->get()};
      return wrong("a string, in double quotes");
    case KeyType::kBool:
      if (const auto* flag = node.as_boolean()) {
        return std::vector{std::string(flag->get() ? "true" : "false")};
      }
      return wrong("true or false");
    case KeyType::kInt:
      if (const auto* number = node.as_integer()) return std::vector{std::to_string(number->get())};
      return wrong("a whole number");
    case KeyType::kList: {
      const auto* array = node.as_array();
      if (array == nullptr) return wrong("a list of strings");
      std::vector<std::string> texts;
      for (const auto& item : *array) {
        const auto* text = item.as_string();
        if (text == nullptr) return wrong("a list of strings");
        texts.push_back(text->get());
      }
      return texts;
    }
  }
  return wrong("of a known type");
}

Status SetFrom(Config& config, const ConfigKey& key, const toml::node& node,
               std::string_view origin) {
  auto texts = TextsOf(node, key.type);
  if (texts) {
    auto set = key.set(config, *texts);
    if (set) return Ok();
    return set.error().In(std::string(origin) + ": " + key.name);
  }
  return texts.error().In(std::string(origin) + ": " + key.name);
}

Status ReadRegistry(Config& config, const toml::table& table, std::string_view origin) {
  RegistryEntry entry;
  const std::string where = std::string(origin) + ": registry";
  for (const auto& [name, node] : table) {
    const std::string field(name.str());
    const auto* text = node.as_string();
    if (std::find(kRegistryFields.begin(), kRegistryFields.end(), field) == kRegistryFields.end()) {
      return Unknown(where, field, kRegistryFields);
    }
    if (field == "insecure") {
      const auto* flag = node.as_boolean();
      if (flag == nullptr) return Error{Code::kInvalid, where + ".insecure must be true or false"};
      entry.insecure = flag->get();
      continue;
    }
    if (field == "connections") {
      const auto* number = node.as_integer();
      if (number == nullptr || number->get() < 0 || number->get() > index::kSlotsMax) {
        return Error{Code::kInvalid, where + ".connections must be a number from 0 (no bound) to " +
                                         std::to_string(index::kSlotsMax)};
      }
      entry.connections = static_cast<int>(number->get());
      continue;
    }
    if (text == nullptr) return Error{Code::kInvalid, where + "." + field + " must be a string"};
    if (field == "host") entry.host = text->get();
    if (field == "url") entry.url = text->get();
    if (field == "ca") entry.ca = text->get();
    if (field == "username") entry.username = text->get();
    if (field == "password_file") entry.password_file = text->get();
    if (field == "docker_config") entry.docker_config = text->get();
    if (field == "tag_ttl") {
      auto ttl = ParseDuration(text->get());
      if (!ttl) return ttl.error().In(where + ".tag_ttl");
      entry.tag_ttl = *ttl;
    }
  }
  if (entry.host.empty()) {
    return Error{Code::kInvalid, where + ": give each [[registry]] its host, as in image names"};
  }
  if (!entry.url.empty() && !entry.url.starts_with("http://") &&
      !entry.url.starts_with("https://")) {
    return Error{Code::kInvalid, where + ".url must start with https:// or http://"};
  }
  config.registries.push_back(std::move(entry));
  return Ok();
}

Status ReadReplicate(Config& config, const toml::table& table, std::string_view origin) {
  ReplicateEntry entry;
  const std::string where = std::string(origin) + ": replicate";
  for (const auto& [name, node] : table) {
    const std::string field(name.str());
    if (field == "images") {
      auto images = TextsOf(node, KeyType::kList);
      if (!images) return images.error().In(where + ".images");
      entry.images = std::move(*images);
    } else if (field == "copies") {
      if (node.value_or(std::string()) != "all") {
        return Error{Code::kInvalid, where + ".copies must be \"all\""};
      }
    } else {
      return Unknown(where, field, kReplicateFields);
    }
  }
  config.replicate.push_back(std::move(entry));
  return Ok();
}

Status ReadShare(Config& config, const toml::table& table, std::string_view origin) {
  ShareEntry entry;
  const std::string where = std::string(origin) + ": share";
  for (const auto& [name, node] : table) {
    const std::string field(name.str());
    if (field == "repositories") {
      auto repositories = TextsOf(node, KeyType::kList);
      if (!repositories) return repositories.error().In(where + ".repositories");
      entry.repositories = std::move(*repositories);
    } else if (field == "room") {
      entry.room = node.value_or(std::string());
    } else {
      return Unknown(where, field, kShareFields);
    }
  }
  if (!index::IsRoomName(entry.room)) {
    return Error{Code::kInvalid, where + ".room must be a room's name or id, or \"open\""};
  }
  if (entry.repositories.empty()) {
    return Error{Code::kInvalid,
                 where + ": give each [[share]] its repositories, like \"reg.example/team-a/*\""};
  }
  config.shares.push_back(std::move(entry));
  return Ok();
}

template <class Reader>
Status ReadTables(Config& config, const toml::node& node, const std::string& name,
                  std::string_view origin, Reader reader) {
  const auto* array = node.as_array();
  if (array == nullptr) {
    return Error{Code::kInvalid, std::string(origin) + ": write " + name + " as [[" + name + "]]"};
  }
  for (const auto& item : *array) {
    const auto* table = item.as_table();
    if (table == nullptr) {
      return Error{Code::kInvalid,
                   std::string(origin) + ": write " + name + " as [[" + name + "]]"};
    }
    if (auto read = reader(config, *table, origin); !read) return read;
  }
  return Ok();
}

Status Apply(Config& config, const toml::table& root, std::string_view origin) {
  for (const auto& [section_name, section] : root) {
    const std::string name(section_name.str());
    if (name == "registry") {
      if (auto s = ReadTables(config, section, name, origin, ReadRegistry); !s) return s;
      continue;
    }
    if (name == "replicate") {
      if (auto s = ReadTables(config, section, name, origin, ReadReplicate); !s) return s;
      continue;
    }
    if (name == "share") {
      if (auto s = ReadTables(config, section, name, origin, ReadShare); !s) return s;
      continue;
    }
    const auto* table = section.as_table();
    if (table == nullptr) return Unknown(origin, name, ConfigKeys());
    for (const auto& [key_name, node] : *table) {
      const std::string full = name + "." + std::string(key_name.str());
      const ConfigKey* key = FindConfigKey(full);
      if (key == nullptr) return Unknown(origin, full, ConfigKeys());
      if (auto s = SetFrom(config, *key, node, origin); !s) return s;
    }
  }
  return Ok();
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    if (comma > 0) items.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return items;
}

Status ApplyText(Config& config, const std::string& name, const std::string& value,
                 const std::string& origin) {
  const ConfigKey* key = FindConfigKey(name);
  if (key == nullptr) return Unknown(origin, name, ConfigKeys());
  auto set = key->set(
      config, key->type == KeyType::kList ? SplitList(value) : std::vector<std::string>{value});
  if (!set) return set.error().In(origin + ": " + name);
  return Ok();
}

// SHOAL_INDEX_SYNC_INTERVAL names index.sync_interval.
std::string VariableOf(const std::string& key) {
  std::string name = "SHOAL_";
  for (const char c : key) {
    name += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// SHOAL_INDEX_...: others are not ours (Kubernetes sets SHOAL_PORT for a service "shoal").
bool NamesASection(std::string_view variable) {
  const auto keys = ConfigKeys();
  return std::any_of(keys.begin(), keys.end(), [&](const std::string& key) {
    return variable.starts_with(VariableOf(key.substr(0, key.find('.') + 1)));
  });
}

Status ApplyEnvironment(Config& config, const ConfigSources& sources) {
  std::vector<std::string> known;
  for (const auto& key : ConfigKeys()) known.push_back(VariableOf(key));
  for (const auto& [variable, value] : sources.environment) {
    if (!NamesASection(variable)) continue;
    const auto it = std::find(known.begin(), known.end(), variable);
    if (it == known.end()) {
      return Error{Code::kInvalid, "environment: " + variable + " names no key; did you mean " +
                                       NearestName(variable, known) + "?"};
    }
    const auto& key = ConfigKeyTable()[static_cast<std::size_t>(it - known.begin())].name;
    if (auto set = ApplyText(config, key, value, "environment"); !set) return set;
  }
  return Ok();
}

Status CheckWhole(const Config& config) {
  const auto uses = [&](std::string_view kind) {
    return std::find(config.index.use.begin(), config.index.use.end(), kind) !=
           config.index.use.end();
  };
  if (uses("rendezvous") && config.index.rendezvous.empty()) {
    return Error{Code::kInvalid,
                 "index.use names rendezvous, but index.rendezvous lists no server; add one like "
                 "\"https://host:7383\""};
  }
  const auto& servers = config.rendezvous;
  if (servers.ttl_min > servers.ttl_default || servers.ttl_default > servers.ttl_max) {
    return Error{
        Code::kInvalid,
        "rendezvous.ttl_default must lie between rendezvous.ttl_min and rendezvous.ttl_max"};
  }
  if (config.agent.data_dir.empty()) {
    return Error{Code::kInvalid, "agent.data_dir must name a folder"};
  }
  return Ok();
}

Status ApplyToml(Config& config, std::string_view text, std::string_view origin) {
  try {
    return Apply(config, toml::parse(text, origin), origin);
  } catch (const toml::parse_error& error) {
    std::ostringstream where;
    where << origin << ": line " << error.source().begin.line << ": " << error.description();
    return Error{Code::kInvalid, where.str()};
  }
}

}  // namespace

Result<Config> ParseConfig(std::string_view text, std::string_view origin) {
  Config config;
  if (auto applied = ApplyToml(config, text, origin); !applied) return applied.error();
  if (auto checked = CheckWhole(config); !checked) return checked.error();
  return config;
}

Result<Config> LoadConfig(const ConfigSources& sources) {
  Config config;
  errno = 0;
  std::ifstream file(sources.path);
  const int why = errno;
  std::error_code unknown;  // whatever cannot be looked at cannot be read either
  if (std::filesystem::is_directory(sources.path, unknown)) {
    return Error{Code::kInvalid, "the configuration " + sources.path + " is a folder; name a file"};
  }
  if (file) {
    std::ostringstream text;
    text << file.rdbuf();
    if (file.bad()) return Error{Code::kInvalid, "cannot read " + sources.path};
    if (auto applied = ApplyToml(config, text.str(), sources.path); !applied) {
      return applied.error();
    }
  } else if (sources.path_given || (why != ENOENT && why != ENOTDIR)) {
    return Error{Code::kInvalid, "cannot read the configuration " + sources.path + ": " +
                                     std::strerror(why) + "; check the path and its permissions"};
  }
  if (auto applied = ApplyEnvironment(config, sources); !applied) return applied.error();
  for (const auto& set : sources.sets) {
    const auto equals = set.find('=');
    if (equals == std::string::npos) {
      return Error{Code::kInvalid, "--set " + set + ": write --set section.key=value"};
    }
    if (auto applied = ApplyText(config, set.substr(0, equals), set.substr(equals + 1), "--set");
        !applied) {
      return applied.error();
    }
  }
  if (auto checked = CheckWhole(config); !checked) return checked.error();
  return config;
}

std::string ShowConfig(const Config& config) {
  std::string text;
  std::string section;
  for (const auto& key : ConfigKeyTable()) {
    const auto dot = key.name.find('.');
    if (key.name.substr(0, dot) != section) {
      section = key.name.substr(0, dot);
      text += (text.empty() ? "[" : "\n[") + section + "]\n";
    }
    text += key.name.substr(dot + 1) + " = " + key.show(config) + "\n";
  }
  for (const auto& entry : config.registries) {
    text += "\n[[registry]]\nhost = " + Quote(entry.host) + "\n";
    const auto add = [&text](std::string_view name, const std::string& value) {
      if (!value.empty()) text += std::string(name) + " = " + Quote(value) + "\n";
    };
    add("url", entry.url);
    add("ca", entry.ca);
    if (entry.insecure) text += "insecure = true\n";
    add("username", entry.username);
    add("password_file", entry.password_file);
    add("docker_config", entry.docker_config);
    add("tag_ttl", FormatDuration(entry.tag_ttl));
    if (entry.connections > 0) text += "connections = " + std::to_string(entry.connections) + "\n";
  }
  for (const auto& entry : config.replicate) {
    text += "\n[[replicate]]\nimages = [";
    for (std::size_t i = 0; i < entry.images.size(); ++i) {
      text += (i > 0 ? ", " : "") + Quote(entry.images[i]);
    }
    text += "]\ncopies = " + Quote(entry.copies) + "\n";
  }
  for (const auto& entry : config.shares) {
    text += "\n[[share]]\nrepositories = [";
    for (std::size_t i = 0; i < entry.repositories.size(); ++i) {
      text += (i > 0 ? ", " : "") + Quote(entry.repositories[i]);
    }
    text += "]\nroom = " + Quote(entry.room) + "\n";
  }
  return text;
}

}  // namespace shoal::agent
