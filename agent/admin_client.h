// AdminClient: how the verbs ask the agent on this host.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace shoal::agent {

class AdminClient {
 public:
  // admin: "127.0.0.1:7382", as agent.admin.
  explicit AdminClient(std::string admin) : admin_(std::move(admin)) {}

  // Errors: kRetryLater when nobody answers there (exit 3), kDenied... as the agent's own error
  // otherwise, with its sentence.
  Result<Json> Get(const std::string& path) const { return Call("GET", path, Json::null()); }
  Result<Json> Post(const std::string& path, const Json& body) const {
    return Call("POST", path, body);
  }
  Result<Json> Delete(const std::string& path) const { return Call("DELETE", path, Json::null()); }

 private:
  Result<Json> Call(const std::string& method, const std::string& path, const Json& body) const;

  std::string admin_;
};

// For a path's last component or a query value.
std::string UrlEncode(const std::string& text);

}  // namespace shoal::agent
