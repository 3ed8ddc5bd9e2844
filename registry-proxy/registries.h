// Where a registry is, and how it is spoken to.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "registry-proxy/auth.h"

namespace shoal::proxy {

// One [[registry]] of the configuration. Files named there are read by whoever makes this.
struct RegistryConfig {
  std::string host;       // as in image names: "docker.io", "reg.example:5000"
  std::string url;        // "" derives it from the host
  std::string ca_file;    // trusted besides the system's; "" none
  bool insecure = false;  // http when no url is given; https is not verified
  std::optional<Credentials> credentials;
  Duration tag_ttl = std::chrono::seconds(60);
  int connections = 0;  // that read blobs, of all hosts together; 0: no bound
};

// The URL to put "/v2/..." behind, without a slash at its end.
//
// Returns  config.url if given; https://registry-1.docker.io for docker.io; http:// for insecure
//          registries, localhost and 127.0.0.0/8 and [::1] (as docker does); else https://.
std::string BaseUrl(const RegistryConfig& config);

// Errors  kInvalid for a host or URL that is none.
Status CheckConfig(const RegistryConfig& config);

// All registries: what was configured, and defaults for the others.
class Registries {
 public:
  explicit Registries(std::vector<RegistryConfig> configured = {});
  // registry  normal form.
  [[nodiscard]] RegistryConfig Find(std::string_view registry) const;

 private:
  std::vector<RegistryConfig> configured_;  // a handful
};

}  // namespace shoal::proxy
