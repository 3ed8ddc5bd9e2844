// Redirects: where registries have sent us for blobs, so that the further ranges of a blob need not
// ask the registry again. Such addresses are signed for a while; whoever uses one that no longer
// answers forgets it and asks the registry.
//
// Limits: kRedirectsMax addresses, the oldest go first; each for kRedirectLife.
#pragma once

#include <cstddef>
#include <list>
#include <map>
#include <string>

#include "base/time.h"

namespace shoal::proxy {

inline constexpr std::size_t kRedirectsMax = 1000;  // about 1 KiB each
// So long a registry's change of mind is not heard of. Addresses are signed for 10 minutes or more.
inline constexpr Duration kRedirectLife = std::chrono::minutes(5);

class Redirects {
 public:
  // Where `url` was redirected to; "" when that is not known.
  std::string Find(Time now, const std::string& url);
  void Note(Time now, const std::string& url, const std::string& target);
  // `target` failed; a newer one stays.
  void Forget(const std::string& url, const std::string& target);

  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::string target;
    Time until;
    std::list<std::string>::iterator place;
  };
  void Erase(std::map<std::string, Entry>::iterator it);

  std::map<std::string, Entry> entries_;
  std::list<std::string> order_;  // the oldest first
};

}  // namespace shoal::proxy
