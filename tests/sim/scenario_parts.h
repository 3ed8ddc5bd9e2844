// What scenarios are made of.
#pragma once

#include <vector>

#include "tests/sim/catalog.h"
#include "tests/sim/fetches.h"
#include "tests/sim/givers.h"
#include "tests/sim/pulls.h"
#include "tests/sim/scenario.h"

namespace shoal::sim {

inline Time AtSeconds(double seconds) {
  return Time(Duration(static_cast<std::int64_t>(seconds * 1e6)));
}
inline double Rate(double mbit) { return mbit * 1e6 / 8; }

// Seconds that an image takes over one host's link.
inline double T0(const Options& options) {
  return static_cast<double>(options.size_mib) * (1 << 20) / Rate(options.rate_mbit);
}

inline fetch::DownloadLimits LimitsOf(const Options& options) {
  fetch::DownloadLimits limits;
  if (options.piece_kib > 0) limits.piece = Bytes(std::int64_t{options.piece_kib} << 10);
  if (options.stall_ms > 0) limits.stall = std::chrono::milliseconds(options.stall_ms);
  return limits;
}

// Hosts 0 to options.hosts - 1, and a registry after them.
inline void AddHosts(World& world, const Options& options, RegistryLimits registry = {}) {
  for (std::uint32_t i = 0; i < options.hosts; ++i) {
    world.AddHost(Rate(options.rate_mbit), LimitsOf(options));
  }
  if (options.registry_mbit > 0) registry.rate = Rate(options.registry_mbit);
  world.registry = std::make_unique<Registry>(world, registry);
  if (options.index) world.AddIndexServer();
}

// An image of options.size_mib in options.layers equal layers.
inline ImageId AddImage(World& world, const Options& options) {
  const std::int64_t layer = (std::int64_t{options.size_mib} << 20) / options.layers;
  return world.blobs.AddImage(
      std::vector<Bytes>(static_cast<std::size_t>(options.layers), Bytes(layer)));
}

inline void PullAt(World& world, double seconds, HostId host, ImageId image) {
  world.At(AtSeconds(seconds), [&world, host, image] {
    if (world.hosts[host].running) world.pulls->Start(host, image);
  });
}

// Everybody pulls, within a tenth of a second.
inline void Crowd(World& world, const Options& options, ImageId image, double from = 0) {
  for (HostId host = 0; host < options.hosts; ++host) {
    PullAt(world, from + world.script_rng.Unit() * 0.1, host, image);
  }
}

// The host has the image from the start, and everybody knows.
inline void GiveWhole(World& world, HostId host, ImageId image) {
  for (const BlobId blob : world.blobs.image(image).blobs) {
    world.hosts[host].whole[blob] = &world.CutAt(host, blob);
    world.catalog->Add(blob, host, Duration(0));
  }
}

}  // namespace shoal::sim
