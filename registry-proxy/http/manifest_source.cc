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
                         std::function<void(Result<FetchedManifest>)> done) {
  fetch::FetchRequest request;
  request.digest = digest;
  request.upstream = fetch::UpstreamRef{registry, repository, true};
  request.expected_size = hints_.Find(digest);
  request.why = why;
  fetcher_.Open(std::move(request), [this, digest, done = std::move(done)](auto opened) {
    if (!opened) return done(opened.error());
    const std::shared_ptr<fetch::LiveBlob> live = *opened;
    const Bytes size = live->geometry().blob();
    if (size > Bytes(static_cast<std::int64_t>(kManifestBytesMax))) {
      return done(Error{Code::kExhausted, ToString(digest) + " is too large for a manifest"});
    }
    live->AwaitEnd([this, live, digest, size, origin = live->origin(), done](bool proved) {
      if (!proved) return done(*live->Failure());
      pool_.Post([this, live, digest, size, origin, done] {
        std::string body(static_cast<std::size_t>(size.count()), '\0');
        auto read = live->file()->ReadAt(
            Bytes(0), std::as_writable_bytes(std::span(body.data(), body.size())));
        if (!read) return done(read.error());
        auto manifest = ParseManifest(body);
        if (!manifest) return done(manifest.error().In(ToString(digest)));
        hints_.Learn(*manifest);
        done(FetchedManifest{digest, std::move(body), std::move(*manifest), origin});
      });
    });
  });
}

}  // namespace shoal::proxy
