#include "registry-proxy/http/manifest_source.h"

#include <utility>

namespace shoal::proxy {

void SizeHints::Learn(const Manifest& manifest) {
  const std::lock_guard lock(mutex_);
  for (const auto& child : manifest.children) {
    if (!child.digest || !sizes_.insert_or_assign(*child.digest, child.size).second) continue;
    order_.push_back(*child.digest);
    if (order_.size() > kHintsMax) {
      sizes_.erase(order_.front());
      order_.pop_front();
    }
  }
}

std::optional<Bytes> SizeHints::Find(const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  const auto it = sizes_.find(digest);
  if (it == sizes_.end()) return std::nullopt;
  return it->second;
}

void ManifestSource::Get(const std::string& registry, const std::string& repository,
                         const Digest& digest, const std::string& why,
                         std::function<void(Result<FetchedManifest>)> done,
                         fetch::SharedWish wish) {
  fetch::FetchRequest request;
  request.digest = digest;
  request.upstream = fetch::UpstreamRef{registry, repository, true};
  request.expected_size = hints_.Find(digest);
  request.why = why;
  request.wish = std::move(wish);
  Open(request, std::move(done));
}

void ManifestSource::Open(const fetch::FetchRequest& request,
                          std::function<void(Result<FetchedManifest>)> done) {
  fetcher_.Open(request, [this, request, done = std::move(done)](auto opened) {
    if (!opened) return done(opened.error());
    const std::shared_ptr<fetch::LiveBlob> live = *opened;
    if (live->geometry().blob() > Bytes(static_cast<std::int64_t>(kManifestBytesMax))) {
      return done(
          Error{Code::kExhausted, ToString(request.digest) + " is too large for a manifest"});
    }
    live->AwaitEnd([this, live, request, origin = live->origin(), done](bool proved) {
      if (proved) {
        pool_.Post([this, live, origin, done] { Read(live, origin, done); });
        return;
      }
      // What others read of it proved wrong, or it is cut otherwise now: the transfer may go on.
      fetcher_.AskRunning(request.digest, [this, live, request, done](bool running) {
        if (!running) return done(*live->Failure());
        pool_.Post([this, request, done] { Open(request, done); });
      });
    });
  });
}

void ManifestSource::Read(const std::shared_ptr<fetch::LiveBlob>& live,
                          const fetch::BlobOrigin& origin,
                          const std::function<void(Result<FetchedManifest>)>& done) {
  std::string body(static_cast<std::size_t>(live->geometry().blob().count()), '\0');
  auto read =
      live->file()->ReadAt(Bytes(0), std::as_writable_bytes(std::span(body.data(), body.size())));
  if (!read) return done(read.error());
  auto manifest = ParseManifest(body);
  if (!manifest) return done(manifest.error().In(ToString(live->digest())));
  hints_.Learn(*manifest);
  done(FetchedManifest{live->digest(), std::move(body), std::move(*manifest), origin});
}

}  // namespace shoal::proxy
