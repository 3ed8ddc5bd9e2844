#include "registry-proxy/auth.h"

#include <algorithm>

#include "base/json.h"
#include "registry-proxy/names.h"

namespace shoal::proxy {
namespace {

constexpr std::string_view kTokenSigns = "!#$%&'*+-.^_`|~";  // RFC 9110, 5.6.2

bool IsTokenChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         kTokenSigns.find(c) != std::string_view::npos;
}

// A reader of header fields; every method moves on only over what it took.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  [[nodiscard]] bool AtEnd() const { return rest_.empty(); }
  void SkipSpace() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t'))
      rest_.remove_prefix(1);
  }
  void SkipCommas() {
    SkipSpace();
    while (Take(',')) SkipSpace();
  }
  bool Take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view Word() {
    std::size_t end = 0;
    while (end < rest_.size() && IsTokenChar(rest_[end])) ++end;
    const auto word = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return word;
  }
  // A quoted string or a token. nullopt for a quote that is never closed.
  std::optional<std::string> Value() {
    if (!Take('"')) {
      // Not only token characters: some registries do not quote URLs.
      const auto end = std::min(rest_.find_first_of(", \t"), rest_.size());
      std::string value(rest_.substr(0, end));
      rest_.remove_prefix(end);
      return value;
    }
    std::string value;
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') return value;
      if (c == '\\' && !rest_.empty()) {
        value.push_back(rest_.front());
        rest_.remove_prefix(1);
      } else {
        value.push_back(c);
      }
    }
    return std::nullopt;
  }

 private:
  std::string_view rest_;
};

bool IsPrintable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

constexpr Duration kLifetimeDefault = std::chrono::seconds(60);
constexpr std::int64_t kLifetimeSecondsMax = 86'400;

}  // namespace

std::string Challenge::Param(const std::string& name) const {
  const auto it = params.find(name);
  return it == params.end() ? std::string() : it->second;
}

std::vector<Challenge> ParseChallenges(std::string_view header) {
  std::vector<Challenge> challenges;
  if (header.size() > kChallengeBytesMax) return challenges;
  Reader reader(header);
  for (;;) {
    reader.SkipCommas();
    if (reader.AtEnd()) return challenges;
    const auto word = reader.Word();
    if (word.empty()) return challenges;
    reader.SkipSpace();
    if (!challenges.empty() && reader.Take('=')) {
      reader.SkipSpace();
      auto value = reader.Value();
      if (!value) return challenges;
      challenges.back().params[LowerCase(word)] = std::move(*value);
      continue;
    }
    if (challenges.size() == kChallengesMax) return challenges;
    challenges.push_back({LowerCase(word), {}});
  }
}

std::string PullScope(std::string_view repository) {
  return "repository:" + std::string(repository) + ":pull";
}

Result<TokenRequest> MakeTokenRequest(const Challenge& challenge, std::string_view registry_url,
                                      std::string_view scope,
                                      const std::optional<Credentials>& credentials) {
  const std::string realm = challenge.Param("realm");
  const bool tls = realm.starts_with("https://");
  if ((!tls && !realm.starts_with("http://")) || !IsPrintable(realm)) {
    return Error{Code::kInvalid, "the registry at " + std::string(registry_url) +
                                     " names no URL where tokens are given"};
  }
  if (!tls && registry_url.starts_with("https://")) {
    return Error{Code::kInvalid, "the registry at " + std::string(registry_url) +
                                     " wants credentials to be sent without TLS to " + realm};
  }
  TokenRequest request;
  request.url = realm;
  const std::string service = challenge.Param("service");
  std::string query;
  if (!service.empty()) query = "service=" + PercentEncode(service) + "&";
  query += "scope=" + PercentEncode(scope);
  if (credentials && !credentials->identity_token.empty()) {
    request.form = "grant_type=refresh_token&" + query +
                   "&client_id=shoal&refresh_token=" + PercentEncode(credentials->identity_token);
    return request;
  }
  request.basic = credentials.has_value();
  request.url += (realm.find('?') == std::string::npos ? "?" : "&") + query;
  return request;
}

Result<Token> ParseToken(std::string_view body) {
  auto json = ParseJson(body, kTokenAnswerBytesMax);
  if (!json) return json.error().In("the token server's answer");
  auto value = GetString(*json, "token", kTokenBytesMax);
  if (!value || value->empty()) value = GetString(*json, "access_token", kTokenBytesMax);
  if (!value || value->empty() || !IsPrintable(*value)) {
    return Error{Code::kInvalid, "the token server's answer has no usable token"};
  }
  Token token{std::move(*value), kLifetimeDefault, ""};
  if (auto seconds = GetInt(*json, "expires_in", 1, std::int64_t{1} << 53)) {
    token.lifetime = std::chrono::seconds(std::min(*seconds, kLifetimeSecondsMax));
  }
  if (auto refresh = GetString(*json, "refresh_token", kTokenBytesMax)) {
    token.refresh_token = std::move(*refresh);
  }
  return token;
}

Result<std::string> FromBase64(std::string_view text) {
  std::string url;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    if (c == '-' || c == '_') return Error{Code::kInvalid, "not base64"};
    url.push_back(c == '+' ? '-' : c == '/' ? '_' : c);
  }
  auto bytes = FromBase64Url(url);
  if (!bytes) return bytes.error();
  return std::string(AsText(*bytes));
}

std::string ToBase64(std::string_view bytes) {
  std::string text = ToBase64Url(AsBytes(bytes));
  for (char& c : text) c = c == '-' ? '+' : c == '_' ? '/' : c;
  while (text.size() % 4 != 0) text.push_back('=');
  return text;
}

TokenCache::TokenCache(std::size_t entries_max) : entries_max_(entries_max) {
  SHOAL_CHECK(entries_max >= 1);
}

std::optional<std::string> TokenCache::Find(Time now, const std::string& registry,
                                            const std::string& scope) {
  const auto it = by_key_.find({registry, scope});
  if (it == by_key_.end()) return std::nullopt;
  if (now < it->second.until) return it->second.value;
  Forget(registry, scope);
  return std::nullopt;
}

void TokenCache::Put(Time now, const std::string& registry, const std::string& scope,
                     const Token& token) {
  Forget(registry, scope);
  if (by_key_.size() >= entries_max_) {
    by_key_.erase(ages_.front());
    ages_.pop_front();
  }
  // A tenth early, so that a request under way does not meet the expiry.
  const Time until = now + token.lifetime - token.lifetime / 10;
  const auto age = ages_.insert(ages_.end(), Key{registry, scope});
  by_key_.emplace(Key{registry, scope}, Entry{token.value, until, age});
}

void TokenCache::Forget(const std::string& registry, const std::string& scope) {
  const auto it = by_key_.find({registry, scope});
  if (it == by_key_.end()) return;
  ages_.erase(it->second.age);
  by_key_.erase(it);
}

}  // namespace shoal::proxy
