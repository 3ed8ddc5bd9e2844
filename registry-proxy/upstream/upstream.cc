#include "registry-proxy/upstream/upstream.h"

#include <openssl/evp.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "registry-proxy/manifest.h"
#include "registry-proxy/names.h"
#include "registry-proxy/upstream/replies.h"
#include "registry-proxy/upstream/upstream_call.h"

namespace shoal::proxy {
namespace {

constexpr std::string_view kManifestAccept =
    "application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*";
constexpr std::size_t kListBytesMax = 4 << 20;

Digest DigestOf(std::string_view body) {
  Digest digest;
  unsigned length = 0;
  const int ok =
      EVP_Digest(body.data(), body.size(), reinterpret_cast<unsigned char*>(digest.bytes.data()),
                 &length, EVP_sha256(), nullptr);
  SHOAL_CHECK(ok == 1 && length == digest.bytes.size());
  return digest;
}

// Content-Type without parameters.
std::string MediaTypeOf(const fetch::HttpHead& head) {
  auto value = fetch::FindHeader(head.headers, "Content-Type");
  value = value.substr(0, value.find(';'));
  while (value.ends_with(' ')) value.remove_suffix(1);
  return std::string(value);
}

// What the header says, unless it says nothing of manifests.
std::string ManifestTypeOf(const DocumentAnswer& answer) {
  std::string type = MediaTypeOf(answer.head);
  if (type.starts_with("application/vnd.")) return type;
  auto manifest = ParseManifest(answer.body);
  return manifest ? manifest->media_type : std::string(media::kOctets);
}

Result<ManifestDocument> ManifestOf(Result<DocumentAnswer> answer,
                                    const std::optional<Digest>& expected) {
  if (!answer) return answer.error();
  ManifestDocument out;
  out.digest = DigestOf(answer->body);
  if (expected && *expected != out.digest) {
    return Error{Code::kCorrupt, answer->head.url + ": the manifest is not " + ToString(*expected)};
  }
  out.media_type = ManifestTypeOf(*answer);
  out.body = std::move(answer->body);
  return out;
}

Result<PassedDocument> PassedOf(Result<DocumentAnswer> answer) {
  if (!answer) return answer.error();
  PassedDocument out;
  out.media_type = MediaTypeOf(answer->head);
  out.link = fetch::FindHeader(answer->head.headers, "Link");
  out.filters_applied = fetch::FindHeader(answer->head.headers, "OCI-Filters-Applied");
  out.body = std::move(answer->body);
  return out;
}

// Gives [offset, end) of a whole document to a sink.
void FeedDocument(std::string_view body, Bytes offset, Bytes end, fetch::ByteSink& sink) {
  const Bytes size(static_cast<std::int64_t>(body.size()));
  if (end < Bytes(0) || end > size) end = size;
  if (offset > end) {
    return sink.OnDone(Error{Code::kInvalid, "the manifest is shorter than was expected"});
  }
  const auto part = body.substr(static_cast<std::size_t>(offset.count()),
                                static_cast<std::size_t>((end - offset).count()));
  if (!sink.OnStart(size, offset) || (!part.empty() && !sink.OnBytes(AsBytes(part)))) {
    return sink.OnDone(Error{Code::kCancelled, "the transfer is no longer wanted"});
  }
  sink.OnDone(Ok());
}

// What a HEAD says of a tag; nullopt when a GET must tell.
std::optional<ResolvedTag> TagOf(const fetch::HttpHead& head) {
  auto digest = ParseDigest(fetch::FindHeader(head.headers, "Docker-Content-Digest"));
  const auto size = ParseCount(fetch::FindHeader(head.headers, "Content-Length"));
  std::string media_type = MediaTypeOf(head);
  if (!digest || !size || !media_type.starts_with("application/vnd.")) return std::nullopt;
  return ResolvedTag{*digest, std::move(media_type), Bytes(*size), ""};
}

}  // namespace

class Upstream::Impl {
 public:
  Impl(fetch::HttpClient& client, Options options)
      : options_(std::move(options)), shared_{client, Authorizer(client), {}, {}} {}

  ~Impl() {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    const auto calls = calls_;
    lock.unlock();
    for (const auto& [id, call] : calls) Cancel(id);
    shared_.authorizer.CancelAll();
    lock.lock();
    idle_.wait(lock, [this] { return calls_.empty(); });
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  UpstreamRequest Make(const RepositoryRef& repository, std::string method, const std::string& path,
                       const char* kind) const {
    UpstreamRequest request;
    if (!IsRegistry(repository.registry) || !IsRepository(repository.repository)) {
      request.refused = Error{Code::kInvalid, "\"" + repository.registry + "/" +
                                                  repository.repository + "\" is no image name"};
    }
    request.registry = options_.registries.Find(repository.registry);
    request.scope = PullScope(repository.repository);
    request.method = std::move(method);
    request.path = "/v2/" + repository.repository + path;
    request.kind = repository.registry + " " + kind;
    request.connect_timeout = options_.connect_timeout;
    request.stall_timeout = options_.stall_timeout;
    return request;
  }

  UpstreamRequest MakeDocument(const RepositoryRef& repository, std::string method,
                               const std::string& path, std::string_view accept) const {
    const char* kind = method == "HEAD" ? "heads" : "documents";
    auto request = Make(repository, std::move(method), path, kind);
    request.headers = {{"Accept", std::string(accept)}, {"Accept-Encoding", "identity"}};
    request.total_timeout = options_.document_timeout;
    request.small = true;
    return request;
  }

  CallId NextId() { return next_.fetch_add(1); }

  // Runs `request` under `id`. When `id` has a call already, that one has just ended and this goes
  // on for the same asker, unless he cancelled.
  void Begin(CallId id, UpstreamRequest request, std::shared_ptr<fetch::HttpSink> reply) {
    auto call = std::make_shared<UpstreamCall>(shared_, id, std::move(request), std::move(reply));
    call->set_over([this, id, raw = call.get()] { Over(id, raw); });
    {
      const std::lock_guard lock(mutex_);
      auto& slot = calls_[id];
      if (slot != nullptr && (stopping_ || slot->cancelled())) return;
      slot = call;
    }
    call->Start();
  }

  void BeginDocument(CallId id, UpstreamRequest request, std::size_t max_bytes,
                     std::function<void(Result<DocumentAnswer>)> done) {
    Begin(id, std::move(request), std::make_shared<DocumentReply>(max_bytes, std::move(done)));
  }

  void Cancel(CallId id) {
    std::shared_ptr<UpstreamCall> call;
    {
      const std::lock_guard lock(mutex_);
      const auto it = calls_.find(id);
      if (it == calls_.end()) return;
      call = it->second;
      call->MarkCancelled();  // under the lock, so that Begin cannot miss it
    }
    call->Cancel();
  }

  [[nodiscard]] const Options& options() const { return options_; }

 private:
  void Over(CallId id, const UpstreamCall* call) {
    const std::lock_guard lock(mutex_);
    const auto it = calls_.find(id);
    if (it == calls_.end() || it->second.get() != call) return;
    calls_.erase(it);
    idle_.notify_all();
  }

  Options options_;
  UpstreamCall::Shared shared_;
  std::atomic<CallId> next_ = 1;
  std::mutex mutex_;  // guards what follows; never held while anybody is called
  std::condition_variable idle_;
  std::map<CallId, std::shared_ptr<UpstreamCall>> calls_;
  bool stopping_ = false;
};

Upstream::Upstream(fetch::HttpClient& client, Options options)
    : impl_(std::make_unique<Impl>(client, std::move(options))) {}
Upstream::~Upstream() = default;

RegistryConfig Upstream::ConfigOf(const std::string& registry) const {
  return impl_->options().registries.Find(registry);
}

void Upstream::Cancel(CallId call) { impl_->Cancel(call); }

Upstream::CallId Upstream::Fetch(const fetch::UpstreamRef& ref, const Digest& digest, Bytes offset,
                                 Bytes end, std::shared_ptr<fetch::ByteSink> sink) {
  return FetchRange(ref, digest, offset, end, false, std::move(sink));
}

Upstream::CallId Upstream::FetchRange(const fetch::UpstreamRef& ref, const Digest& digest,
                                      Bytes offset, Bytes end, bool exact,
                                      std::shared_ptr<fetch::ByteSink> sink) {
  const RepositoryRef repository{ref.registry, ref.repository};
  if (ref.manifest) {
    sink->OnTurn();  // a document's time is bounded as a whole
    return GetManifest(repository, digest,
                       [offset, end, sink = std::move(sink)](Result<ManifestDocument> document) {
                         if (!document) return sink->OnDone(document.error());
                         FeedDocument(document->body, offset, end, *sink);
                       });
  }
  auto request = impl_->Make(repository, "GET", "/blobs/" + ToString(digest), "blobs");
  request.headers = {{"Accept", "*/*"}, {"Accept-Encoding", "identity"}};
  if (offset > Bytes(0) || end >= Bytes(0)) {
    const std::string last = end >= Bytes(0) ? std::to_string(end.count() - 1) : std::string();
    request.headers.emplace_back("Range", "bytes=" + std::to_string(offset.count()) + "-" + last);
  }
  // A connection that is kept would count where the registry counts them.
  request.close = request.registry.connections > 0;
  request.reuse_redirect = true;
  const bool nonsense = offset < Bytes(0) || (end >= Bytes(0) && end <= offset);
  if (nonsense) request.refused = Error{Code::kInvalid, "an empty range of a blob is asked for"};
  const CallId id = impl_->NextId();
  impl_->Begin(id, std::move(request),
               std::make_shared<BlobReply>(offset, end, exact, std::move(sink)));
  return id;
}

Upstream::CallId Upstream::Resolve(const RepositoryRef& repository, const std::string& tag,
                                   const std::function<void(Result<ResolvedTag>)>& done) {
  const CallId id = impl_->NextId();
  auto get = [this, id, repository, tag, done] {
    GetTagAs(id, repository, tag, [done](Result<ManifestDocument> document) {
      if (!document) return done(document.error());
      const Bytes size(static_cast<std::int64_t>(document->body.size()));
      done(ResolvedTag{document->digest, std::move(document->media_type), size,
                       std::move(document->body)});
    });
  };
  auto request = impl_->MakeDocument(repository, "HEAD", "/manifests/" + tag, kManifestAccept);
  if (!IsTag(tag)) request.refused = Error{Code::kInvalid, "\"" + tag + "\" is no tag"};
  const bool refused = request.refused.has_value();
  impl_->BeginDocument(id, std::move(request), 0,
                       [refused, done, get = std::move(get)](Result<DocumentAnswer> answer) {
                         if (answer) {
                           if (auto resolved = TagOf(answer->head))
                             return done(std::move(*resolved));
                           return get();
                         }
                         // Registries that know no HEAD say so in several ways.
                         const Code code = answer.error().code;
                         const bool unknown = code == Code::kUnsupported || code == Code::kInvalid;
                         if (refused || !unknown) return done(answer.error());
                         get();
                       });
  return id;
}

void Upstream::GetTagAs(CallId id, const RepositoryRef& repository, const std::string& tag,
                        std::function<void(Result<ManifestDocument>)> done) {
  auto request = impl_->MakeDocument(repository, "GET", "/manifests/" + tag, kManifestAccept);
  if (!IsTag(tag)) request.refused = Error{Code::kInvalid, "\"" + tag + "\" is no tag"};
  impl_->BeginDocument(id, std::move(request), kManifestBytesMax,
                       [done = std::move(done)](Result<DocumentAnswer> answer) {
                         done(ManifestOf(std::move(answer), std::nullopt));
                       });
}

Upstream::CallId Upstream::GetManifestByTag(const RepositoryRef& repository, const std::string& tag,
                                            std::function<void(Result<ManifestDocument>)> done) {
  const CallId id = impl_->NextId();
  GetTagAs(id, repository, tag, std::move(done));
  return id;
}

Upstream::CallId Upstream::GetManifest(const RepositoryRef& repository, const Digest& digest,
                                       std::function<void(Result<ManifestDocument>)> done) {
  const CallId id = impl_->NextId();
  impl_->BeginDocument(
      id, impl_->MakeDocument(repository, "GET", "/manifests/" + ToString(digest), kManifestAccept),
      kManifestBytesMax, [digest, done = std::move(done)](Result<DocumentAnswer> answer) {
        done(ManifestOf(std::move(answer), digest));
      });
  return id;
}

Upstream::CallId Upstream::GetReferrers(const RepositoryRef& repository, const Digest& digest,
                                        const std::string& query,
                                        std::function<void(Result<PassedDocument>)> done) {
  const std::string path = "/referrers/" + ToString(digest) + (query.empty() ? "" : "?" + query);
  const CallId id = impl_->NextId();
  impl_->BeginDocument(id, impl_->MakeDocument(repository, "GET", path, media::kOciIndex),
                       kListBytesMax, [done = std::move(done)](Result<DocumentAnswer> answer) {
                         done(PassedOf(std::move(answer)));
                       });
  return id;
}

Upstream::CallId Upstream::GetTags(const RepositoryRef& repository, const std::string& query,
                                   std::function<void(Result<PassedDocument>)> done) {
  const std::string path = "/tags/list" + (query.empty() ? "" : "?" + query);
  const CallId id = impl_->NextId();
  impl_->BeginDocument(id, impl_->MakeDocument(repository, "GET", path, "application/json"),
                       kListBytesMax, [done = std::move(done)](Result<DocumentAnswer> answer) {
                         done(PassedOf(std::move(answer)));
                       });
  return id;
}

}  // namespace shoal::proxy
