#include "agent/pulls.h"

#include <spdlog/spdlog.h>
#include <sys/utsname.h>

#include <algorithm>
#include <utility>

#include "base/units.h"

namespace shoal::agent {

proxy::Platform HostPlatform() {
  utsname host{};
  uname(&host);
  auto platform = proxy::ParsePlatform(std::string("linux/") + host.machine);
  return platform ? *platform : proxy::Platform{"linux", host.machine, ""};
}

Result<std::uint64_t> Pulls::Start(const std::string& image) {
  auto name = proxy::ParseImageName(image);
  if (!name) return name.error();
  const std::string whole = ToString(*name);
  for (const auto& [id, job] : jobs_) {
    if (job->view.state == PullState::kRunning && job->view.image == whole) return id;
  }
  if (active() >= static_cast<int>(kPullsQueuedMax)) {
    return Error{Code::kExhausted, "too many pulls are running; try again later"};
  }
  auto job = std::make_shared<Job>();
  job->view.id = next_++;
  job->view.image = whole;
  job->view.started = ports_.loop.Now();
  job->name = std::move(*name);
  jobs_[job->view.id] = job;
  while (jobs_.size() > kPullsKept && jobs_.begin()->second->view.state != PullState::kRunning) {
    jobs_.erase(jobs_.begin());
  }
  spdlog::info("pull {}: {} started", job->view.id, whole);
  if (ports_.on_change) ports_.on_change(job->view);
  if (job->name.digest) {
    GetManifest(job, *job->name.digest);
  } else {
    ports_.tags.Resolve(
        job->name.registry, job->name.repository, job->name.tag,
        [this, job](const Result<proxy::TagAnswer>& answer) { OnTag(job, answer); });
  }
  return job->view.id;
}

void Pulls::OnTag(const SharedJob& job, const Result<proxy::TagAnswer>& answer) {
  if (!answer) return End(job, answer.error().In(job->view.image));
  if (answer->stale) {
    spdlog::warn("pull {}: the upstream is away; going by the last known digest", job->view.id);
  }
  GetManifest(job, answer->digest);
}

void Pulls::GetManifest(const SharedJob& job, const Digest& digest) {
  if (!job->view.digest) job->view.digest = digest;
  const auto wish = job->wishes[digest] = std::make_shared<fetch::Wish>();
  ports_.pool.Post([this, job, digest, wish] {
    ports_.manifests.Get(
        job->name.registry, job->name.repository, digest, "pull " + std::to_string(job->view.id),
        [this, job, digest](Result<proxy::FetchedManifest> fetched) {
          ports_.loop.Post([this, job, digest, fetched = std::move(fetched)]() mutable {
            job->wishes.erase(digest);
            OnManifest(job, std::move(fetched));
          });
        },
        wish);
  });
}

void Pulls::OnManifest(const SharedJob& job, Result<proxy::FetchedManifest> fetched) {
  if (job->cancelled) return;
  if (!fetched) return End(job, fetched.error().In("the manifest of " + job->view.image));
  const proxy::Manifest manifest = fetched->manifest;
  if (job->documents.empty()) job->top_media_type = manifest.media_type;
  job->documents.insert(job->documents.begin(), std::move(*fetched));
  if (manifest.kind == proxy::ManifestKind::kIndex) {
    if (job->documents.size() > 4) {
      return End(job, Error{Code::kInvalid, job->view.image + ": indexes are nested too deep"});
    }
    const proxy::Platform host = HostPlatform();
    const auto* child = ChoosePlatform(manifest, host);
    if (child == nullptr || !child->digest) {
      return End(job,
                 Error{Code::kNotFound, job->view.image + " has no image for " + ToString(host)});
    }
    return GetManifest(job, *child->digest);
  }
  if (manifest.kind != proxy::ManifestKind::kImage) {
    return End(job, Error{Code::kUnsupported, job->view.image + " is not an image"});
  }
  std::set<Digest> seen;
  for (const auto& child : manifest.children) {
    if (!child.digest || child.foreign || !seen.insert(*child.digest).second) continue;
    job->view.blobs.push_back({*child.digest, child.size, child.media_type, false, false, {}});
  }
  FetchNext(job);
}

void Pulls::FetchNext(const SharedJob& job) {
  if (job->cancelled || job->view.state != PullState::kRunning) return;
  while (job->running < kBlobsAtOnce && job->next_blob < job->view.blobs.size()) {
    const std::size_t index = job->next_blob++;
    const PullBlob& blob = job->view.blobs[index];
    ++job->running;
    fetch::FetchRequest request;
    request.digest = blob.digest;
    request.upstream = fetch::UpstreamRef{job->name.registry, job->name.repository, false};
    request.expected_size = blob.size;
    request.why = "pull " + std::to_string(job->view.id);
    request.wish = job->wishes[blob.digest] = std::make_shared<fetch::Wish>();
    ports_.pool.Post([this, job, index, request = std::move(request)]() mutable {
      const bool local = ports_.locals.Has(request.digest);
      ports_.fetcher.Fetch(std::move(request), [this, job, index, local](const Status& status) {
        --job->running;
        job->wishes.erase(job->view.blobs[index].digest);
        if (job->view.state != PullState::kRunning) return;
        PullBlob& fetched = job->view.blobs[index];
        if (!status) return End(job, status.error().In(ToString(fetched.digest)));
        fetched.done = true;
        fetched.local = local;
        // Proved, though its transfer may still be on the way to the disk.
        for (const auto& transfer : ports_.fetcher.Active()) {
          if (transfer.digest == fetched.digest) fetched.sources = transfer.sources;
        }
        FetchNext(job);
      });
    });
  }
  if (job->running == 0 && job->next_blob == job->view.blobs.size()) Ingest(job);
}

void Pulls::OnTransferEnded(const fetch::TransferView& transfer) {
  for (auto& [id, job] : jobs_) {
    if (job->view.state == PullState::kFailed) continue;
    for (auto& blob : job->view.blobs) {
      if (blob.digest == transfer.digest && !blob.settled) blob.sources = transfer.sources;
      blob.settled |= blob.digest == transfer.digest && blob.done;
    }
  }
}

void Pulls::Ingest(const SharedJob& job) {
  if (ports_.containerd == nullptr || !ports_.containerd->status().connected) {
    return End(job, Ok());
  }
  ports_.pool.Post([this, job] {
    fetch::IngestImage image;
    image.name = job->view.image;
    image.media_type = job->top_media_type;
    image.target = *job->view.digest;
    Status status = Ok();
    const auto add = [&](const Digest& digest, Bytes size, const std::string& media_type,
                         std::vector<std::pair<std::string, std::string>> labels) {
      // A blob that has just been proved may still be on its way into the store.
      auto live = ports_.fetcher.Find(digest);
      if (live == nullptr) {
        status = Error{Code::kRetryLater, ToString(digest) +
                                              " was evicted meanwhile; make "
                                              "store.max larger and pull again"};
        return;
      }
      image.blobs.push_back({digest, size, media_type, live->file(), std::move(labels)});
    };
    for (const auto& blob : job->view.blobs) add(blob.digest, blob.size, blob.media_type, {});
    for (const auto& document : job->documents) {
      const auto labels = GcLabels(document.manifest);
      const Bytes size(static_cast<std::int64_t>(document.body.size()));
      add(document.digest, size, document.manifest.media_type, {labels.begin(), labels.end()});
      if (document.digest == image.target) image.target_size = size;
    }
    if (status) status = ports_.containerd->Ingest(image);
    ports_.loop.Post([this, job, status] {
      job->view.in_containerd = status.ok();
      End(job, status ? Ok() : Status(status.error().In("writing it into containerd")));
    });
  });
}

void Pulls::End(const SharedJob& job, const Status& status) {
  if (job->view.state != PullState::kRunning) return;
  job->view.ended = ports_.loop.Now();
  job->view.state = status ? PullState::kDone : PullState::kFailed;
  const auto took =
      std::chrono::duration_cast<std::chrono::milliseconds>(job->view.ended - job->view.started);
  if (status) {
    ++done_;
    ports_.on_image(job->view.image, *job->view.digest);
    spdlog::info("pull {}: {} done in {} ms", job->view.id, job->view.image, took.count());
  } else {
    ++failed_;
    job->view.error = status.error().text;
    spdlog::warn("pull {}: {} failed: {}", job->view.id, job->view.image,
                 status.error().ToString());
    DropFetches(*job);
  }
  if (ports_.on_change) ports_.on_change(job->view);
}

void Pulls::DropFetches(Job& job) {
  for (auto& [digest, wish] : std::exchange(job.wishes, {})) ports_.fetcher.Drop(digest, *wish);
}

Status Pulls::Cancel(std::uint64_t id) {
  const auto it = jobs_.find(id);
  if (it == jobs_.end()) {
    return Error{Code::kNotFound, "there is no pull " + std::to_string(id)};
  }
  it->second->cancelled = true;
  End(it->second, Error{Code::kCancelled, "it was cancelled"});
  return Ok();
}

const PullView* Pulls::Find(std::uint64_t id) const {
  const auto it = jobs_.find(id);
  return it == jobs_.end() ? nullptr : &it->second->view;
}

std::vector<PullView> Pulls::List() const {
  std::vector<PullView> views;
  for (auto it = jobs_.rbegin(); it != jobs_.rend(); ++it) views.push_back(it->second->view);
  return views;
}

int Pulls::active() const {
  return static_cast<int>(std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) {
    return entry.second->view.state == PullState::kRunning;
  }));
}

}  // namespace shoal::agent
