// Upstream: asks registries, for blobs (fetch's port) and for small documents.
//
// It answers 401 once with what credentials there are, follows redirects without carrying them to
// another host, keeps to Retry-After, checks ranges, and bounds what it reads. It stores nothing
// but tokens, and proves nothing: digests of blobs are fetch's to check; those of manifests it
// does.
//
// Thread-safe. Callbacks come on a data thread of the client, never inside the call that asked.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fetch/transport/http_client.h"
#include "fetch/upstream_port.h"
#include "registry-proxy/registries.h"

namespace shoal::proxy {

struct RepositoryRef {
  std::string registry;    // normal form: "docker.io"
  std::string repository;  // "library/nginx"
};

// What a tag stands for now.
struct ResolvedTag {
  Digest digest;
  std::string media_type;
  Bytes size;
  // The manifest itself, when it had to be fetched to know its digest; else "".
  std::string body;
};

struct ManifestDocument {
  Digest digest;  // of the body, computed
  std::string media_type;
  std::string body;
};

// Passed through as it came.
struct PassedDocument {
  std::string media_type;
  std::string body;
  std::string link;             // header Link, for the next page; "" none
  std::string filters_applied;  // header OCI-Filters-Applied; "" none
};

class Upstream : public fetch::UpstreamPort {
 public:
  struct Options {
    Registries registries;
    Duration connect_timeout = std::chrono::seconds(5);
    Duration stall_timeout = std::chrono::seconds(10);     // without a byte
    Duration document_timeout = std::chrono::seconds(30);  // of a manifest or a list, in all
  };

  // client  outlives this.
  Upstream(fetch::HttpClient& client, Options options);
  // Cancels what runs and waits for it. Not on a data thread.
  ~Upstream() override;

  // The port. A ref with `manifest` is read whole, whatever part is asked for.
  CallId Fetch(const fetch::UpstreamRef& ref, const Digest& digest, Bytes offset, Bytes end,
               std::shared_ptr<fetch::ByteSink> sink) override;
  void Cancel(CallId call) override;
  // The same of a blob; exact: an upstream that ignores ranges fails with kUnsupported.
  CallId FetchRange(const fetch::UpstreamRef& ref, const Digest& digest, Bytes offset, Bytes end,
                    bool exact, std::shared_ptr<fetch::ByteSink> sink);

  // All `done` are called once, unless cancelled before. Errors: kNotFound, kDenied, kRetryLater,
  // kInvalid, kExhausted (too long), kCorrupt (a manifest that is not its digest).

  // By HEAD, and by GET where that does not say the digest.
  CallId Resolve(const RepositoryRef& repository, const std::string& tag,
                 const std::function<void(Result<ResolvedTag>)>& done);
  CallId GetManifest(const RepositoryRef& repository, const Digest& digest,
                     std::function<void(Result<ManifestDocument>)> done);
  CallId GetManifestByTag(const RepositoryRef& repository, const std::string& tag,
                          std::function<void(Result<ManifestDocument>)> done);
  // query  as of PullRequest; may be "".
  CallId GetReferrers(const RepositoryRef& repository, const Digest& digest,
                      const std::string& query, std::function<void(Result<PassedDocument>)> done);
  CallId GetTags(const RepositoryRef& repository, const std::string& query,
                 std::function<void(Result<PassedDocument>)> done);

  [[nodiscard]] RegistryConfig ConfigOf(const std::string& registry) const;

 private:
  class Impl;

  // Under an id that the asker has already.
  void GetTagAs(CallId id, const RepositoryRef& repository, const std::string& tag,
                std::function<void(Result<ManifestDocument>)> done);

  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::proxy
