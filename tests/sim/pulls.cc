#include "tests/sim/pulls.h"

#include <algorithm>
#include <utility>

#include "tests/sim/fetches.h"

namespace shoal::sim {

void Pulls::Start(HostId host, ImageId image) {
  if (by_host_.size() <= host) by_host_.resize(world_.hosts.size());
  Pull pull;
  pull.host = host;
  pull.image = image;
  pull.started = world_.now();
  all_.push_back(std::move(pull));
  by_host_[host].push_back(all_.size() - 1);
  ++running_;
  GoOn(all_.size() - 1);
}

void Pulls::GoOn(std::size_t at) {
  // Starting a fetch may end it, and this pull with it, before it returns.
  while (all_[at].ended == kNever) {
    Pull& pull = all_[at];
    const auto& blobs = world_.blobs.image(pull.image).blobs;
    const bool manifest_runs = pull.next == 1 && !pull.running.empty();
    if (pull.next == blobs.size() && pull.running.empty()) return End(at, std::nullopt);
    if (pull.next == blobs.size() || manifest_runs) return;
    if (pull.running.size() >= kLayersAtOnce) return;
    const BlobId blob = blobs[pull.next++];
    const Host& host = world_.hosts[pull.host];
    if (host.whole.contains(blob)) continue;
    pull.running.push_back(blob);
    if (!host.fetching.contains(blob)) world_.fetches->Start(pull.host, blob);
  }
}

void Pulls::OnBlob(HostId host, BlobId blob, const std::optional<Error>& error) {
  if (by_host_.size() <= host) return;
  for (const std::size_t at : std::vector<std::size_t>(by_host_[host])) {
    Pull& pull = all_[at];
    if (pull.ended != kNever || std::erase(pull.running, blob) == 0) continue;
    if (error) {
      End(at, error);
    } else {
      GoOn(at);
    }
  }
}

void Pulls::End(std::size_t at, std::optional<Error> error) {
  Pull& pull = all_[at];
  if (error && !pull.cut_short && pull.tries < retries_) {
    ++pull.tries;
    pull.next = 0;
    pull.running.clear();
    world_.At(world_.now() + kRetryAfter, [this, at] { GoOn(at); });
    return;
  }
  pull.ended = world_.now();
  pull.error = std::move(error);
  std::erase(by_host_[pull.host], at);
  --running_;
}

std::vector<ImageId> Pulls::Crash(HostId host) {
  std::vector<ImageId> images;
  if (by_host_.size() <= host) return images;
  for (const std::size_t at : std::vector<std::size_t>(by_host_[host])) {
    images.push_back(all_[at].image);
    all_[at].cut_short = true;
    End(at, Error{Code::kCancelled, "the host crashed"});
  }
  return images;
}

}  // namespace shoal::sim
