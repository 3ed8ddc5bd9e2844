// Mirror: answers container runtimes. A handler for fetch::HttpServer; owns no socket.
//
// It keeps to what real clients bear (see the fault table in docs/OPERATING.md): headers inside
// kHeaderTimeMax, 404 or 503 when there is nothing to give, never 401, 403 or 429, only verified
// bytes, and FIN rather than RST on trouble in a body.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/executor.h"
#include "fetch/transport/counters.h"
#include "fetch/transport/fetcher.h"
#include "fetch/transport/http_server.h"
#include "registry-proxy/http/manifest_source.h"
#include "registry-proxy/http/tag_resolver.h"
#include "registry-proxy/pull_path.h"

namespace shoal::proxy {

// containerd waits for headers for minutes and asks nobody else meanwhile.
inline constexpr Duration kHeaderTimeMax = std::chrono::seconds(20);

// An upstream's answer that is passed on as it is.
struct PassedOn {
  int status = 200;
  std::string media_type;
  std::string body;
  fetch::HttpHeaders headers;  // Link, OCI-Filters-Applied
};

struct MirrorPorts {
  Loop& loop;
  Executor& pool;
  fetch::Fetcher& fetcher;
  fetch::Counters& counters;
  ManifestSource& manifests;
  TagResolver& tags;
  // Asks the upstream for tags/list or referrers; `done` once, on any thread.
  std::function<void(const PullRequest&, std::function<void(Result<PassedOn>)> done)> pass_on;
  // A tag was resolved; its manifest may come later, or never. On the loop.
  std::function<void(const std::string& name, const Digest& digest)> on_tag;
};

class Mirror : public std::enable_shared_from_this<Mirror> {
 public:
  explicit Mirror(MirrorPorts ports) : ports_(std::move(ports)) {}

  void Handle(fetch::HttpRequest request, fetch::HttpServer::Responder respond);

  // What the server says instead to what it cannot hand over; fetch::HttpServer::Options::refusal.
  static fetch::HttpReply Refuse(int status, std::string_view why);

 private:
  // One request on its way to one answer, however it comes.
  struct Ask {
    PullRequest pull;
    bool head = false;
    std::string range;
    std::string if_range;
    std::string if_none_match;
    std::string remote;
    fetch::HttpServer::Responder respond;
    std::atomic<bool> answered{false};
  };
  using SharedAsk = std::shared_ptr<Ask>;  // owners: the callbacks that may answer it

  // Answers 503 when nothing else has by kHeaderTimeMax.
  void Bound(const SharedAsk& ask);
  void Manifest(const SharedAsk& ask);
  void ManifestByDigest(const SharedAsk& ask, const Digest& digest, bool stale);
  void Blob(const SharedAsk& ask);
  void PassOn(const SharedAsk& ask);

  MirrorPorts ports_;
};

}  // namespace shoal::proxy
