// Pulls: what container runtimes do. An image is its manifest, and then its layers, some at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "tests/sim/world.h"

namespace shoal::sim {

// As CRI does it.
inline constexpr std::size_t kLayersAtOnce = 3;
inline constexpr Duration kRetryAfter = std::chrono::seconds(1);

struct Pull {
  HostId host = kNoHost;
  ImageId image = 0;
  Time started{};
  Time ended = kNever;
  std::optional<Error> error;
  bool cut_short = false;  // its host crashed: nobody waits for it
  std::size_t next = 0;    // of the image's blobs
  int tries = 0;           // that failed
  std::vector<BlobId> running;
};

class Pulls {
 public:
  explicit Pulls(World& world) : world_(world) {}

  void Start(HostId host, ImageId image);
  // A blob is on the host's disk now, or will not be.
  void OnBlob(HostId host, BlobId blob, const std::optional<Error>& error);
  // A crash ends a host's pulls; the images that they were for.
  std::vector<ImageId> Crash(HostId host);

  // A runtime tries so often again, kRetryAfter later, before the pull counts as failed.
  void SetRetries(int retries) { retries_ = retries; }

  [[nodiscard]] const std::vector<Pull>& all() const { return all_; }
  [[nodiscard]] std::size_t running() const { return running_; }

 private:
  void GoOn(std::size_t pull);
  void End(std::size_t pull, std::optional<Error> error);

  World& world_;
  std::vector<Pull> all_;
  std::vector<std::vector<std::size_t>> by_host_;  // those that run
  std::size_t running_ = 0;
  int retries_ = 0;
};

}  // namespace shoal::sim
