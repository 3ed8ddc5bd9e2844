// Pulls: whole images on request: `shoal pull` and replication. Fetches every blob that is not
// here, then writes the image into containerd where there is one. On the loop.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/executor.h"
#include "fetch/containerd/containerd.h"
#include "fetch/transport/fetcher.h"
#include "registry-proxy/http/manifest_source.h"
#include "registry-proxy/http/tag_resolver.h"
#include "registry-proxy/image_name.h"

namespace shoal::agent {

inline constexpr std::size_t kPullsKept = 200;  // ended ones, for people to look at
inline constexpr std::size_t kPullsQueuedMax = 1000;
inline constexpr int kBlobsAtOnce = 6;

enum class PullState { kRunning, kDone, kFailed };

struct PullBlob {
  Digest digest;
  Bytes size;
  std::string media_type;
  bool done = false;
  bool local = false;    // was here before
  bool settled = false;  // its sources are final
  fetch::SourceBytes sources;
};

struct PullView {
  std::uint64_t id = 0;
  std::string image;
  std::optional<Digest> digest;
  PullState state = PullState::kRunning;
  std::string error;
  std::vector<PullBlob> blobs;
  bool in_containerd = false;
  Time started;
  Time ended;
};

class Pulls {
 public:
  struct Ports {
    Loop& loop;
    Executor& pool;
    fetch::Fetcher& fetcher;
    fetch::LocalBlobs& locals;
    proxy::ManifestSource& manifests;
    proxy::TagResolver& tags;
    fetch::Containerd* containerd;  // nullptr without
    // The image is here under this name.
    std::function<void(const std::string& name, const Digest& digest)> on_image;
    // A pull began or ended. May be empty.
    std::function<void(const PullView&)> on_change;
  };

  explicit Pulls(Ports ports) : ports_(std::move(ports)) {}

  // Begins, or joins the running pull of the same image. Returns its id.
  // Errors: kInvalid for a name that is none, kExhausted over kPullsQueuedMax running ones.
  Result<std::uint64_t> Start(const std::string& image);
  // Ends it, and the fetches that nobody else wants; their pieces stay.
  Status Cancel(std::uint64_t id);

  [[nodiscard]] const PullView* Find(std::uint64_t id) const;
  // The newest first.
  [[nodiscard]] std::vector<PullView> List() const;
  [[nodiscard]] int active() const;
  [[nodiscard]] std::int64_t done() const { return done_; }
  [[nodiscard]] std::int64_t failed() const { return failed_; }

  // Byte counts of a transfer that ended, for the pulls that wanted it.
  void OnTransferEnded(const fetch::TransferView& transfer);

 private:
  struct Job {
    PullView view;
    proxy::ImageName name;
    // Manifests and indexes of the image, the top one last.
    std::vector<proxy::FetchedManifest> documents;
    std::string top_media_type;
    std::size_t next_blob = 0;
    int running = 0;
    bool cancelled = false;
    std::map<Digest, fetch::SharedWish> wishes;  // of the fetches under way
  };
  using SharedJob = std::shared_ptr<Job>;  // owners: jobs_, and the callbacks under way

  void OnTag(const SharedJob& job, const Result<proxy::TagAnswer>& answer);
  void GetManifest(const SharedJob& job, const Digest& digest);
  void OnManifest(const SharedJob& job, Result<proxy::FetchedManifest> fetched);
  void FetchNext(const SharedJob& job);
  void Ingest(const SharedJob& job);
  void End(const SharedJob& job, const Status& status);
  void DropFetches(Job& job);

  Ports ports_;
  std::map<std::uint64_t, SharedJob> jobs_;
  std::uint64_t next_ = 1;
  std::int64_t done_ = 0;
  std::int64_t failed_ = 0;
};

// The platform of this host: what a pull picks from an index.
proxy::Platform HostPlatform();

}  // namespace shoal::agent
