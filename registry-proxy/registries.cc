#include "registry-proxy/registries.h"

#include <algorithm>
#include <utility>

#include "registry-proxy/names.h"

namespace shoal::proxy {
namespace {

bool IsLoopback(std::string_view host) {
  const auto is = [host](std::string_view name) {
    return host == name || (host.starts_with(name) && host.substr(name.size()).starts_with(':'));
  };
  // An address, and not 127.example.com.
  const bool ipv4 = host.find_first_not_of("0123456789.:") == std::string_view::npos;
  return is("localhost") || is("[::1]") || (ipv4 && host.starts_with("127."));
}

}  // namespace

std::string BaseUrl(const RegistryConfig& config) {
  if (!config.url.empty()) {
    std::string url = config.url;
    while (url.ends_with('/')) url.pop_back();
    if (url.ends_with("/v2")) url.resize(url.size() - 3);
    return url;
  }
  const std::string host = NormalRegistry(config.host);
  if (host == kDockerHub) return "https://registry-1.docker.io";
  return (config.insecure || IsLoopback(host) ? "http://" : "https://") + host;
}

Status CheckConfig(const RegistryConfig& config) {
  if (!IsRegistry(config.host)) {
    return Error{Code::kInvalid, "registry.host \"" + config.host +
                                     "\" must be host or host:port, as in image names"};
  }
  if (config.url.empty()) return Ok();
  const auto scheme = config.url.find("://");
  const auto name = config.url.substr(0, scheme);
  const bool known = scheme != std::string::npos && (name == "http" || name == "https");
  const auto rest = known ? std::string_view(config.url).substr(scheme + 3) : std::string_view();
  if (!known || !IsRegistry(rest.substr(0, rest.find('/')))) {
    return Error{Code::kInvalid,
                 "registry.url \"" + config.url + "\" must be like https://registry.example:5000"};
  }
  return Ok();
}

Registries::Registries(std::vector<RegistryConfig> configured)
    : configured_(std::move(configured)) {
  for (auto& config : configured_) config.host = NormalRegistry(config.host);
}

RegistryConfig Registries::Find(std::string_view registry) const {
  const auto it = std::find_if(configured_.begin(), configured_.end(),
                               [&](const RegistryConfig& c) { return c.host == registry; });
  if (it != configured_.end()) return *it;
  RegistryConfig config;
  config.host = registry;
  return config;
}

}  // namespace shoal::proxy
