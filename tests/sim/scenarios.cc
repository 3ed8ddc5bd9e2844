// The scenarios without malice: crowds, waves, and the published runs of others.
#include <algorithm>
#include <cmath>

#include "tests/sim/scenario_list.h"
#include "tests/sim/scenario_parts.h"
#include "tests/sim/slots.h"

namespace shoal::sim {
namespace {

constexpr std::size_t kRegistryBound = 4;

Expectation FlashCrowd(World& world, const Options& options) {
  AddHosts(world, options);
  Crowd(world, options, AddImage(world, options));
  return {.upstream_max = 2};
}

// A fifth of the hosts at a time; the next once the last are done, at most 4 T0 later.
Expectation Rolling(World& world, const Options& options) {
  AddHosts(world, options);
  const ImageId image = AddImage(world, options);
  const double interval = 4 * T0(options) + 1;
  for (HostId host = 0; host < options.hosts; ++host) {
    const double wave = std::floor(5.0 * host / options.hosts);
    PullAt(world, wave * interval + world.script_rng.Unit() * 0.1, host, image);
  }
  return {.upstream_max = 2};
}

// One has it, everybody else wants it, and there is no upstream.
Expectation Holder(World& world, const Options& options) {
  for (std::uint32_t i = 0; i < options.hosts; ++i) {
    world.AddHost(Rate(options.rate_mbit), LimitsOf(options));
  }
  if (options.index) world.AddIndexServer();
  const ImageId image = AddImage(world, options);
  GiveWhole(world, 0, image);
  for (HostId host = 1; host < options.hosts; ++host) PullAt(world, 0, host, image);
  return {};
}

// Each image is wanted by three hosts in the same second.
Expectation PullEachOnThree(World& world, const Options& options) {
  for (int i = 0; i < options.images; ++i) {
    const ImageId image = AddImage(world, options);
    for (int k = 0; k < 3; ++k) {
      const auto host = static_cast<HostId>(world.script_rng.Below(options.hosts));
      PullAt(world, world.script_rng.Unit(), host, image);
    }
  }
  return {.upstream_max = 3};
}

Expectation ManyImages(World& world, const Options& options) {
  AddHosts(world, options);
  return PullEachOnThree(world, options);
}

// As many-images, of a registry that may have few connections, from all hosts together. Each is
// slower than the registry.
Expectation BoundedRegistry(World& world, const Options& options) {
  RegistryLimits registry;
  registry.bound = kRegistryBound;
  registry.connection_rate = Rate(options.registry_mbit) / static_cast<double>(kRegistryBound);
  AddHosts(world, options, registry);
  world.slots = std::make_unique<Slots>(world, static_cast<int>(kRegistryBound));
  return PullEachOnThree(world, options);
}

// Hosts are configured with different piece sizes.
Expectation MixedPieces(World& world, const Options& options) {
  AddHosts(world, options);
  constexpr int kShifts[] = {0, 1, 2};
  for (HostId host = 0; host < options.hosts; ++host) {
    auto& piece = world.hosts[host].limits.piece;
    piece = Bytes(piece.count() >> (2 * kShifts[world.script_rng.Below(3)]));
  }
  Crowd(world, options, AddImage(world, options));
  return {.upstream_max = 3};
}

// 20,000 blobs of 100 MB to 1 GB over 15,000 hosts; of each about a hundred copies are wanted.
// Kraken publishes the sum and the time, not how many were the same: our guess.
Expectation KrakenHeadline(World& world, const Options& options) {
  AddHosts(world, options);
  std::vector<ImageId> images;
  for (int i = 0; i < options.images; ++i) {
    const double part = 0.2 + 1.6 * world.script_rng.Unit();  // 100 MB to 1 GB, about
    const auto size = static_cast<std::int64_t>(options.size_mib * part * (1 << 20));
    images.push_back(world.blobs.AddImage({Bytes(size)}));
  }
  const std::uint64_t pulls = std::uint64_t{options.hosts} * 4 / 3;
  for (std::uint64_t i = 0; i < pulls; ++i) {
    const auto host =
        static_cast<HostId>(i < options.hosts ? i : world.script_rng.Below(options.hosts));
    const ImageId image = images[world.script_rng.Below(images.size())];
    PullAt(world, world.script_rng.Unit() * 10, host, image);
  }
  return {.upstream_max = 3};
}

}  // namespace

void AddCalmScenarios(std::vector<Scenario>& all) {
  const Options cluster{.hosts = 300,
                        .rate_mbit = 1000,
                        .registry_mbit = 1000,
                        .size_mib = 256,
                        .layers = 1,
                        .images = 1};
  all.push_back({"flash-crowd", "everybody pulls the same cold image", cluster, 8, FlashCrowd});
  all.push_back({"rolling", "a fifth of the hosts at a time", cluster, 8, Rolling});
  Options holder{.hosts = 17, .rate_mbit = 100, .size_mib = 256, .layers = 1, .images = 1};
  all.push_back({"holder", "one has it, sixteen want it, no upstream", holder, 16, Holder});
  Options many = cluster;
  many.size_mib = 16;
  many.images = 1000;
  many.registry_mbit = 10000;
  all.push_back({"many-images", "1,000 images at once, each on three hosts", many, 4, ManyImages});
  Options bounded = many;
  bounded.images = 100;
  bounded.registry_mbit = 1000;
  all.push_back({"bounded-registry", "100 images, four connections to the registry in all", bounded,
                 4, BoundedRegistry});
  Options mixed = cluster;
  mixed.piece_kib = 4096;
  all.push_back({"mixed-pieces", "hosts cut blobs differently", mixed, 64, MixedPieces});
  Options kraken{.hosts = 2600,
                 .rate_mbit = 2400,
                 .registry_mbit = 2400,
                 .size_mib = 2861,  // 3 GB
                 .layers = 2,
                 .images = 1};
  all.push_back(
      {"kraken", "Kraken's published run: p50 10 s, p99 18 s, p99.9 22 s", kraken, 8, FlashCrowd});
  Options headline{.hosts = 15000,
                   .rate_mbit = 2400,
                   .registry_mbit = 40000,
                   .size_mib = 524,  // their mean, for T0
                   .layers = 1,
                   .images = 200,
                   .piece_kib = 4096};
  all.push_back({"kraken-headline", "20,000 blobs of 100 MB to 1 GB, 15,000 hosts, 30 s", headline,
                 8, KrakenHeadline});
}

}  // namespace shoal::sim
