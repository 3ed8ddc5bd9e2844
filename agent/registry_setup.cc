#include "agent/registry_setup.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "registry-proxy/docker_config.h"

namespace shoal::agent {
namespace {

Result<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) return Error{Code::kInvalid, "cannot read " + path + "; check it and its permissions"};
  return text.str();
}

Result<std::optional<proxy::Credentials>> CredentialsOf(const RegistryEntry& entry) {
  if (!entry.username.empty()) {
    proxy::Credentials credentials;
    credentials.username = entry.username;
    if (!entry.password_file.empty()) {
      auto password = ReadFile(entry.password_file);
      if (!password) return password.error();
      // One trailing newline is the editor's, not the password's.
      if (password->ends_with('\n')) password->pop_back();
      credentials.password = std::move(*password);
    }
    return std::optional(std::move(credentials));
  }
  if (!entry.docker_config.empty()) {
    auto text = ReadFile(entry.docker_config);
    if (!text) return text.error();
    auto docker = proxy::DockerConfig::Parse(*text);
    if (!docker) return docker.error().In(entry.docker_config);
    return docker->Find(entry.host);
  }
  return std::optional<proxy::Credentials>();
}

}  // namespace

Result<proxy::Registries> MakeRegistries(const Config& config) {
  std::vector<proxy::RegistryConfig> made;
  for (const auto& entry : config.registries) {
    const std::string where = "registry " + entry.host;
    proxy::RegistryConfig registry;
    registry.host = entry.host;
    registry.url = entry.url;
    registry.ca_file = entry.ca;
    registry.insecure = entry.insecure;
    registry.tag_ttl = entry.tag_ttl;
    registry.connections = entry.connections;
    if (!entry.ca.empty()) {
      if (auto read = ReadFile(entry.ca); !read) return read.error().In(where);
    }
    auto credentials = CredentialsOf(entry);
    if (!credentials) return credentials.error().In(where);
    registry.credentials = std::move(*credentials);
    if (auto checked = proxy::CheckConfig(registry); !checked) return checked.error().In(where);
    made.push_back(std::move(registry));
  }
  return proxy::Registries(std::move(made));
}

}  // namespace shoal::agent
