// How a registry lets us in: challenges, scopes, tokens. Source: RFC 9110, section 11; the
// distribution project's "Token Authentication Specification".
#pragma once

#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"

namespace shoal::proxy {

struct Credentials {
  std::string username;
  std::string password;
  std::string identity_token;  // an OAuth2 refresh token; instead of the password
  bool operator==(const Credentials&) const = default;
};

struct Challenge {
  std::string scheme;                         // lower case: "bearer", "basic"
  std::map<std::string, std::string> params;  // names in lower case

  // "" when absent.
  [[nodiscard]] std::string Param(const std::string& name) const;
};

inline constexpr std::size_t kChallengeBytesMax = 8 << 10;
inline constexpr std::size_t kChallengesMax = 16;
inline constexpr std::size_t kTokenAnswerBytesMax = 64 << 10;
inline constexpr std::size_t kTokenBytesMax = 32 << 10;

// Reads the value of one WWW-Authenticate header, which may hold several challenges.
//
// Returns what could be read; a malformed rest is dropped.
std::vector<Challenge> ParseChallenges(std::string_view header);

// "repository:library/nginx:pull".
std::string PullScope(std::string_view repository);

// Where to ask for a token.
struct TokenRequest {
  std::string url;     // of a GET, with service and scope; of a POST, without
  std::string form;    // of a POST (application/x-www-form-urlencoded); "" for a GET
  bool basic = false;  // send username and password along
};

// challenge      a bearer one.
// registry_url   where it came from: a realm without TLS is refused when this has TLS.
// Errors         kInvalid for a realm that is no URL, or a downgrade.
Result<TokenRequest> MakeTokenRequest(const Challenge& challenge, std::string_view registry_url,
                                      std::string_view scope,
                                      const std::optional<Credentials>& credentials);

struct Token {
  std::string value;
  Duration lifetime;
  std::string refresh_token;  // "" none
};

// Reads {"token" or "access_token", "expires_in"}. A lifetime that is absent is 60 s; it is bounded
// to 24 h.
Result<Token> ParseToken(std::string_view body);

// RFC 4648, section 4, padding required; what docker's config.json has under "auth".
Result<std::string> FromBase64(std::string_view text);
std::string ToBase64(std::string_view bytes);

// Tokens by registry and scope, until shortly before they expire. Bounded: the oldest goes.
class TokenCache {
 public:
  explicit TokenCache(std::size_t entries_max = 1000);

  // The token, if it is good for some time yet.
  std::optional<std::string> Find(Time now, const std::string& registry, const std::string& scope);
  void Put(Time now, const std::string& registry, const std::string& scope, const Token& token);
  // The registry refused it.
  void Forget(const std::string& registry, const std::string& scope);
  [[nodiscard]] std::size_t size() const { return by_key_.size(); }

 private:
  using Key = std::pair<std::string, std::string>;
  struct Entry {
    std::string value;
    Time until;
    std::list<Key>::iterator age;
  };
  std::size_t entries_max_;
  std::map<Key, Entry> by_key_;
  std::list<Key> ages_;  // the oldest first
};

}  // namespace shoal::proxy
