#include "registry-proxy/docker_config.h"

#include <utility>

#include "base/json.h"
#include "registry-proxy/names.h"

namespace shoal::proxy {
namespace {

constexpr std::size_t kSecretBytesMax = 32 << 10;

// "https://index.docker.io/v1/", "reg.example:5000/v2/", "reg.example" -> the registry.
std::string RegistryOfKey(std::string_view key) {
  if (const auto scheme = key.find("://"); scheme != std::string_view::npos) {
    key.remove_prefix(scheme + 3);
  }
  return NormalRegistry(key.substr(0, key.find('/')));
}

Result<Credentials> ReadAuth(const Json& json) {
  Credentials out;
  if (!json.is_object()) return Error{Code::kInvalid, "must be an object"};
  if (auto name = GetString(json, "username", kSecretBytesMax)) out.username = std::move(*name);
  if (auto word = GetString(json, "password", kSecretBytesMax)) out.password = std::move(*word);
  if (auto token = GetString(json, "identitytoken", kSecretBytesMax)) {
    out.identity_token = std::move(*token);
  }
  const auto auth = GetString(json, "auth", kSecretBytesMax);
  if (auth && !auth->empty()) {
    auto decoded = FromBase64(*auth);
    const auto colon = decoded ? decoded->find(':') : std::string::npos;
    if (!decoded || colon == std::string::npos || colon == 0) {
      return Error{Code::kInvalid, "\"auth\" must be base64 of user:password"};
    }
    out.username = decoded->substr(0, colon);
    out.password = decoded->substr(colon + 1);
    while (out.password.ends_with('\0')) out.password.pop_back();  // old dockers pad with these
  }
  return out;
}

}  // namespace

Result<DockerConfig> DockerConfig::Parse(std::string_view text) {
  auto json = ParseJson(text, kDockerConfigBytesMax);
  if (!json) return json.error().In("docker's config.json");
  if (!json->is_object()) return Error{Code::kInvalid, "docker's config.json must be an object"};
  DockerConfig config;
  if (json->has_object_field("auths")) {
    for (const auto& [key, value] : json->at("auths").as_object()) {
      auto auth = ReadAuth(value);
      if (!auth) return auth.error().In("docker's config.json, auths[\"" + key + "\"]");
      const std::string registry = RegistryOfKey(key);
      if (*auth == Credentials{}) {
        config.empty_.insert(registry);
      } else {
        config.auths_[registry] = std::move(*auth);
      }
    }
  }
  if (json->has_object_field("credHelpers")) {
    for (const auto& [key, value] : json->at("credHelpers").as_object()) {
      if (value.is_string()) config.helpers_[RegistryOfKey(key)] = value.as_string();
    }
  }
  if (auto store = GetString(*json, "credsStore", 255)) config.store_ = std::move(*store);
  return config;
}

Result<std::optional<Credentials>> DockerConfig::Find(std::string_view registry) const {
  const std::string key = NormalRegistry(registry);
  if (const auto it = auths_.find(key); it != auths_.end()) {
    return std::optional<Credentials>(it->second);
  }
  std::string helper;
  if (const auto it = helpers_.find(key); it != helpers_.end()) {
    helper = it->second;
  } else if (empty_.contains(key)) {
    helper = store_;  // an empty entry says that the store has it
  }
  if (helper.empty()) return std::optional<Credentials>();
  return Error{Code::kUnsupported,
               "the credentials for " + key + " are in docker-credential-" + helper +
                   ", which shoal does not run; give username and password_file in [[registry]]"};
}

}  // namespace shoal::proxy
