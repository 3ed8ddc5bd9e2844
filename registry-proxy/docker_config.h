// Docker's config.json, for the credentials in it. Source: docker/cli, config/configfile.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "registry-proxy/auth.h"

namespace shoal::proxy {

inline constexpr std::size_t kDockerConfigBytesMax = 1 << 20;

class DockerConfig {
 public:
  // Errors  kInvalid naming what is wrong, kExhausted over kDockerConfigBytesMax.
  static Result<DockerConfig> Parse(std::string_view text);

  // registry  as in image names: "docker.io", "reg.example:5000".
  // Returns   nullopt when the file has nothing for it.
  // Errors    kUnsupported when a credential helper has it: shoal runs no other programs.
  [[nodiscard]] Result<std::optional<Credentials>> Find(std::string_view registry) const;

 private:
  std::map<std::string, Credentials> auths_;    // by normal registry
  std::map<std::string, std::string> helpers_;  // by normal registry
  std::set<std::string> empty_;                 // listed without credentials
  std::string store_;                           // credsStore
};

}  // namespace shoal::proxy
