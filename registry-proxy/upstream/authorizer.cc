#include "registry-proxy/upstream/authorizer.h"

#include <algorithm>
#include <utility>

#include "registry-proxy/upstream/clock.h"

namespace shoal::proxy {
namespace {

constexpr Duration kTokenTimeMax = std::chrono::seconds(15);
// Registries in the set of those that want Basic; more are asked twice, each time.
constexpr std::size_t kBasicMax = 1000;

std::string BasicOf(const Credentials& credentials) {
  return "Basic " + ToBase64(credentials.username + ":" + credentials.password);
}

const Challenge* FindScheme(const std::vector<Challenge>& challenges, std::string_view scheme) {
  const auto it = std::find_if(challenges.begin(), challenges.end(),
                               [&](const Challenge& c) { return c.scheme == scheme; });
  return it == challenges.end() ? nullptr : &*it;
}

// What the token server's answer means.
Result<Token> TokenOf(const std::string& url, Result<fetch::HttpClient::Answer> answer) {
  if (!answer) return answer.error();
  const int status = answer->head.status;
  const std::string what = "the token server " + url + " answers " + std::to_string(status);
  if (status == 200) return ParseToken(answer->body);
  if (status == 429 || status >= 500) return Error{Code::kRetryLater, what};
  if (status == 401 || status == 403) {
    return Error{Code::kDenied, what + "; check the credentials of the [[registry]]"};
  }
  return Error{Code::kDenied, what};
}

}  // namespace

std::string Authorizer::Known(const RegistryConfig& registry, const std::string& scope) {
  const std::lock_guard lock(mutex_);
  if (basic_.contains(registry.host) && registry.credentials) {
    return BasicOf(*registry.credentials);
  }
  const auto token = tokens_.Find(Now(), registry.host, scope);
  return token ? "Bearer " + *token : std::string();
}

void Authorizer::Authorize(const RegistryConfig& registry, const std::string& scope,
                           const std::vector<Challenge>& challenges, const std::string& refused,
                           const Done& done) {
  const Challenge* bearer = FindScheme(challenges, "bearer");
  if (bearer == nullptr) {
    if (FindScheme(challenges, "basic") == nullptr) {
      return done(Error{Code::kDenied, registry.host + " asks for no credentials shoal knows of"});
    }
    if (!registry.credentials || registry.credentials->username.empty()) {
      return done(Error{Code::kDenied, registry.host +
                                           " wants a user and a password; give username and "
                                           "password_file in its [[registry]]"});
    }
    const std::string value = BasicOf(*registry.credentials);
    if (value == refused) {
      return done(
          Error{Code::kDenied, registry.host + " refuses the user or password given for it"});
    }
    {
      const std::lock_guard lock(mutex_);
      if (basic_.size() < kBasicMax) basic_.insert(registry.host);
    }
    return done(value);
  }
  // Most challenges name the scope themselves, and may know better.
  const std::string wanted = bearer->Param("scope");
  auto request = MakeTokenRequest(*bearer, BaseUrl(registry), wanted.empty() ? scope : wanted,
                                  registry.credentials);
  if (!request) return done(request.error());
  const Key key{registry.host, scope};
  std::string value;
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    const auto token = tokens_.Find(Now(), key.first, key.second);
    if (token && "Bearer " + *token != refused) {
      value = "Bearer " + *token;  // another call fetched it meanwhile
    } else {
      tokens_.Forget(key.first, key.second);
      auto& waiting = waiting_[key];
      first = waiting.empty();
      waiting.push_back(done);
    }
  }
  if (!value.empty()) return done(value);
  if (first) RequestToken(registry, key, *request);
}

void Authorizer::RequestToken(const RegistryConfig& registry, const Key& key,
                              const TokenRequest& request) {
  fetch::HttpCall call;
  call.url = request.url;
  call.ca_file = registry.ca_file;
  call.insecure = registry.insecure;
  call.follow_redirects = request.form.empty();
  call.total_timeout = kTokenTimeMax;
  call.headers = {{"Accept", "application/json"}};
  if (!request.form.empty()) {
    call.method = "POST";
    call.body = request.form;
    call.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
  } else if (request.basic && registry.credentials) {
    call.headers.emplace_back("Authorization", BasicOf(*registry.credentials));
  }
  const std::string url = request.url.substr(0, request.url.find('?'));
  const auto id = client_.Get(std::move(call), kTokenAnswerBytesMax,
                              [this, key, url](Result<fetch::HttpClient::Answer> answer) {
                                OnAnswer(key, url, std::move(answer));
                              });
  bool cancel = false;
  {
    const std::lock_guard lock(mutex_);
    // Over already when nobody waits any more.
    if (waiting_.contains(key)) running_[key] = id;
    cancel = cancelled_;
  }
  if (cancel) client_.Cancel(id);
}

void Authorizer::OnAnswer(const Key& key, const std::string& url,
                          Result<fetch::HttpClient::Answer> answer) {
  auto token = TokenOf(url, std::move(answer));
  std::vector<Done> waiting;
  {
    const std::lock_guard lock(mutex_);
    if (token) tokens_.Put(Now(), key.first, key.second, *token);
    const auto it = waiting_.find(key);
    if (it != waiting_.end()) waiting = std::move(it->second);
    waiting_.erase(key);
    running_.erase(key);
  }
  for (const auto& done : waiting) {
    if (token) {
      done("Bearer " + token->value);
    } else {
      done(token.error());
    }
  }
}

void Authorizer::CancelAll() {
  std::vector<fetch::HttpClient::CallId> ids;
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
    for (const auto& [key, id] : running_) ids.push_back(id);
  }
  for (const auto id : ids) client_.Cancel(id);
}

}  // namespace shoal::proxy
