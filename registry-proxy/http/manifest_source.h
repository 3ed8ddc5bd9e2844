// ManifestSource: manifests as bytes, wherever they come from; and what they say about sizes.
#pragma once

#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/executor.h"
#include "fetch/transport/fetcher.h"
#include "registry-proxy/manifest.h"

namespace shoal::proxy {

// Sizes of blobs by the manifests that named them: a peer or upstream that says otherwise is
// wrong. Any thread; the oldest go first.
class SizeHints {
 public:
  void Learn(const Manifest& manifest);
  [[nodiscard]] std::optional<Bytes> Find(const Digest& digest) const;

 private:
  static constexpr std::size_t kHintsMax = 50'000;

  mutable std::mutex mutex_;
  std::list<Digest> order_;
  std::unordered_map<Digest, Bytes> sizes_;
};

struct FetchedManifest {
  Digest digest;
  std::string body;
  Manifest manifest;
  fetch::BlobOrigin origin;
};

class ManifestSource {
 public:
  // pool  where files are read.
  ManifestSource(fetch::Fetcher& fetcher, Executor& pool) : fetcher_(fetcher), pool_(pool) {}

  // Fetches and reads a manifest or index. `done` is called once, on any thread. Not from the loop.
  //
  // wish    for Fetcher::Drop, when it may be no longer wanted.
  // Errors: the fetch's; kExhausted over kManifestBytesMax; kInvalid for what is no manifest.
  void Get(const std::string& registry, const std::string& repository, const Digest& digest,
           const std::string& why, std::function<void(Result<FetchedManifest>)> done,
           fetch::SharedWish wish = nullptr);

  [[nodiscard]] SizeHints& hints() { return hints_; }

 private:
  void Open(const fetch::FetchRequest& request, std::function<void(Result<FetchedManifest>)> done);
  void Read(const std::shared_ptr<fetch::LiveBlob>& live, const fetch::BlobOrigin& origin,
            const std::function<void(Result<FetchedManifest>)>& done);

  fetch::Fetcher& fetcher_;
  Executor& pool_;
  SizeHints hints_;
};

}  // namespace shoal::proxy
