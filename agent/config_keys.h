// The table of configuration keys: how each is read and shown.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"

namespace shoal::agent {

enum class KeyType { kText, kBool, kInt, kList };

struct ConfigKey {
  std::string name;  // "index.sync_interval"
  KeyType type;
  // Takes the value as text (kList: one item a string).
  std::function<Status(Config&, const std::vector<std::string>&)> set;
  // The value as TOML.
  std::function<std::string(const Config&)> show;
};

const std::vector<ConfigKey>& ConfigKeyTable();
const ConfigKey* FindConfigKey(std::string_view name);
// The known name that is fewest edits away.
std::string NearestName(std::string_view name, const std::vector<std::string>& known);
// A TOML basic string.
std::string Quote(std::string_view text);

}  // namespace shoal::agent
