// TagResolver: which digest a tag has now. On the loop.
//
// A fresh cached answer is given at once. Else the upstream is asked (one question a tag, however
// many wait). When it cannot answer (unreachable, 429, 5xx, or slower than kStaleAfter while an
// older answer is known) the last known answer is given, or what most peers say, marked stale. An
// upstream that was found unreachable is not waited for again for kRestAfterTrouble where there is
// such an answer.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "fetch/transport/live_blob.h"
#include "index/catalog.h"
#include "registry-proxy/tag_cache.h"

namespace shoal::proxy {

inline constexpr Duration kStaleAfter = std::chrono::seconds(2);
inline constexpr Duration kRestAfterTrouble = std::chrono::seconds(5);

struct TagAnswer {
  Digest digest;
  std::string media_type;  // "" when unknown: look into the manifest
  Bytes size{-1};          // -1 when unknown
  bool stale = false;      // the upstream could not be asked
  // Who said so: this host (the cache, or what it holds), the upstream, or peers.
  fetch::BlobOrigin origin;
};

class TagResolver {
 public:
  struct Ports {
    Loop& loop;
    // HEAD at the upstream; `done` is called once, on any thread.
    std::function<void(const std::string& registry, const std::string& repository,
                       const std::string& tag, std::function<void(Result<TagEntry>)> done)>
        ask_upstream;
    std::function<Duration(const std::string& registry)> tag_ttl;
    // What peers hold under a name, from the catalog.
    std::function<std::vector<index::CatalogImage>(const std::string& name)> ask_catalog;
    // What this host holds under it (containerd, earlier pulls).
    std::function<std::optional<Digest>(const std::string& name)> ask_inventory;
    // Keeps entries over restarts.
    std::function<void(const TagEntry&)> on_learnt;
    // The upstream says that there is no such tag: not to be kept any more.
    std::function<void(const std::string& name)> on_forgotten;
  };

  TagResolver(Ports ports, const std::vector<TagEntry>& kept);

  using Done = std::function<void(Result<TagAnswer>)>;
  // Errors: kNotFound and kDenied as the upstream said; kRetryLater when nobody could say.
  void Resolve(const std::string& registry, const std::string& repository, const std::string& tag,
               Done done);

 private:
  struct Question {
    std::string registry;
    Time slow_at{};  // whoever has a last known answer waits no longer
    std::vector<Done> waiting;
  };

  void Answered(const std::string& name, const Result<TagEntry>& answer);
  [[nodiscard]] std::optional<TagAnswer> LastKnown(const std::string& name);

  Ports ports_;
  TagCache cache_;
  std::map<std::string, Question> asked_;
  std::map<std::string, Time> resting_;  // registry -> until when it is not waited for
};

// "docker.io/library/nginx:1.25"
std::string TagName(const std::string& registry, const std::string& repository,
                    const std::string& tag);

}  // namespace shoal::proxy
