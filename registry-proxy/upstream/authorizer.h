// Authorizer: answers registries' challenges, and keeps the tokens. Thread-safe.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fetch/transport/http_client.h"
#include "registry-proxy/auth.h"
#include "registry-proxy/registries.h"

namespace shoal::proxy {

class Authorizer {
 public:
  // The value of an Authorization header; "" when none helps.
  using Done = std::function<void(Result<std::string>)>;

  // client  outlives the authorizer.
  explicit Authorizer(fetch::HttpClient& client) : client_(client) {}

  // What an earlier challenge taught, if it is good still; "" when nothing.
  std::string Known(const RegistryConfig& registry, const std::string& scope);

  // Answers a challenge. Askers for the same registry and scope share one token request.
  //
  // refused  the Authorization value that the registry did not take, "" none; it is forgotten.
  // done     called once, in this call or on a data thread. Errors: kDenied when there are no
  //          credentials or they are refused, kRetryLater, kInvalid, kCancelled.
  void Authorize(const RegistryConfig& registry, const std::string& scope,
                 const std::vector<Challenge>& challenges, const std::string& refused,
                 const Done& done);

  // Cuts token requests short; their askers hear kCancelled.
  void CancelAll();

 private:
  using Key = std::pair<std::string, std::string>;  // registry, scope

  void RequestToken(const RegistryConfig& registry, const Key& key, const TokenRequest& request);
  void OnAnswer(const Key& key, const std::string& url, Result<fetch::HttpClient::Answer> answer);

  fetch::HttpClient& client_;
  std::mutex mutex_;  // guards what follows; never held while anybody is called
  TokenCache tokens_;
  std::set<std::string> basic_;  // registries that want Basic; a handful
  std::map<Key, std::vector<Done>> waiting_;
  std::map<Key, fetch::HttpClient::CallId> running_;
  bool cancelled_ = false;
};

}  // namespace shoal::proxy
