// The scenarios in which something breaks, or somebody lies.
#include <algorithm>
#include <memory>
#include <vector>

#include "tests/sim/scenario_list.h"
#include "tests/sim/scenario_parts.h"

namespace shoal::sim {
namespace {

// The zones of thirds of the hosts are cut apart twice, the second time one way only.
Expectation ZonePartition(World& world, const Options& options) {
  AddHosts(world, options);
  Crowd(world, options, AddImage(world, options));
  const double t0 = T0(options);
  const std::uint32_t third = options.hosts / 3 + 1;
  const auto zone = [&world, third](const Host& host) {
    const auto at = static_cast<HostId>(&host - world.hosts.data());
    return at / third == 0 ? 0 : 1;  // the registry is on the greater side
  };
  world.At(AtSeconds(0.3 * t0), [&world, zone] { world.Split(zone, false); });
  world.At(AtSeconds(0.3 * t0 + 5), [&world] { world.Heal(); });
  world.At(AtSeconds(0.3 * t0 + 6), [&world, zone] { world.Split(zone, true); });
  world.At(AtSeconds(0.3 * t0 + 9), [&world] { world.Heal(); });
  return {.upstream_max = 3};
}

// Eight holders; one is slow, one goes dark, one is killed in the middle.
Expectation SlowHolder(World& world, const Options& options) {
  AddHosts(world, options);
  const ImageId image = AddImage(world, options);
  for (HostId host = 0; host < 8; ++host) GiveWhole(world, host, image);
  world.SetRate(0, Rate(options.rate_mbit) / 50);
  for (HostId host = 8; host < options.hosts; ++host) {
    PullAt(world, world.script_rng.Unit() * 0.1, host, image);
  }
  const double middle = 0.5 * T0(options);
  world.At(AtSeconds(middle), [&world] { world.SetDark(1, true); });
  world.At(AtSeconds(middle), [&world] { world.Crash(2); });
  return {.upstream_max = 0.5};
}

// options.share of the hosts lie, each in one of four ways, and all are listed as holders. A
// twentieth of the others have it.
Expectation Liars(World& world, const Options& options) {
  AddHosts(world, options);
  const ImageId image = AddImage(world, options);
  for (const BlobId blob : world.blobs.image(image).blobs) {
    const Bytes size = world.blobs.size(blob);
    world.blobs.AddForgery(blob, Bytes(size.count() / 3));
  }
  const auto liars = static_cast<HostId>(options.share * options.hosts);
  const HostId holders = std::max<HostId>(1, (options.hosts - liars) / 20);
  constexpr Lie kLies[] = {Lie::kWrongBytes, Lie::kForgedChain, Lie::kOverclaims, Lie::kMute};
  for (HostId host = 0; host < options.hosts; ++host) {
    if (host < liars) world.hosts[host].lie = kLies[host % 4];
    if (host < liars + holders) {
      GiveWhole(world, host, image);
    } else {
      PullAt(world, world.script_rng.Unit() * 0.1, host, image);
    }
  }
  // Seven of eight holders lie. Who meets no honest one within its budget asks the upstream: a pull
  // never fails because of peers. That may be a twentieth of them.
  return {.upstream_max = 0.05 * options.hosts, .waste_max = 0.5};
}

// The registry refuses for two seconds, hangs for two, and answers 429 and 500 at all times. An
// upstream that fails a few times in a row fails the pull; runtimes try again.
Expectation RegistryDown(World& world, const Options& options) {
  RegistryLimits registry;
  registry.connections_max = 8;
  registry.fails = 0.2;
  registry.truncates = 0.2;
  AddHosts(world, options, registry);
  world.pulls->SetRetries(10);
  Crowd(world, options, AddImage(world, options));
  const double from = 0.3 * T0(options);
  const auto set = [&world](double at, Registry::Outage outage) {
    world.At(AtSeconds(at), [&world, outage] { world.registry->SetOutage(outage); });
  };
  set(from, Registry::Outage::kRefuses);
  set(from + 2, Registry::Outage::kNone);
  set(from + 3, Registry::Outage::kHangs);
  set(from + 5, Registry::Outage::kNone);
  return {.upstream_max = 3};
}

// options.share of the hosts have room for half of it.
Expectation DiskFull(World& world, const Options& options) {
  AddHosts(world, options);
  const auto full = static_cast<HostId>(options.share * options.hosts);
  for (HostId host = 0; host < full; ++host) {
    world.hosts[host].disk.room = Bytes(std::int64_t{options.size_mib} << 19);
  }
  for (HostId host = full; host < 2 * full; ++host) {
    world.hosts[host].disk.rate = Rate(options.rate_mbit) / 4;  // and as many are slow
  }
  Crowd(world, options, AddImage(world, options));
  Expectation expectation;
  expectation.upstream_max = 6;
  expectation.failed_min = expectation.failed_max = full;
  return expectation;
}

// options.share of the hosts crash, one after the other, and come back two seconds later to pull
// again what they pulled.
Expectation Churn(World& world, const Options& options) {
  AddHosts(world, options);
  const ImageId image = AddImage(world, options);
  Crowd(world, options, image);
  const auto crashes = static_cast<HostId>(options.share * options.hosts);
  for (HostId i = 0; i < crashes; ++i) {
    const auto host = static_cast<HostId>(world.script_rng.Below(options.hosts));
    const double at = 0.2 + 2 * T0(options) * i / crashes;
    world.At(AtSeconds(at), [&world, host] {
      const auto images = world.pulls->Crash(host);
      world.Crash(host);
      world.At(world.now() + Duration(std::chrono::seconds(2)), [&world, host, images] {
        world.Restart(host);
        for (const ImageId pulled : images) world.pulls->Start(host, pulled);
      });
    });
  }
  return {.upstream_max = 3};
}

// Whoever reads from the upstream is killed for good: three times, or once, at options.share.
Expectation LeadDeath(World& world, const Options& options) {
  AddHosts(world, options);
  Crowd(world, options, AddImage(world, options));
  std::vector<double> parts = {0.1, 0.5, 0.9};
  if (options.share > 0) parts = {options.share};
  for (const double part : parts) {
    world.At(AtSeconds(0.1 + part * T0(options)), [&world] {
      const auto lead = world.givers->LongestFrom(world.registry->host());
      if (!lead) return;
      world.pulls->Crash(*lead);
      world.Crash(*lead);
    });
  }
  return {.upstream_max = 3};
}

}  // namespace

void AddFaultScenarios(std::vector<Scenario>& all) {
  const Options cluster{.hosts = 300,
                        .rate_mbit = 1000,
                        .registry_mbit = 1000,
                        .size_mib = 256,
                        .layers = 1,
                        .images = 1};
  Options quarter = cluster;
  quarter.share = 0.25;
  all.push_back(
      {"zone-partition", "a third is cut off, then one way only", cluster, 8, ZonePartition});
  all.push_back({"slow-holder", "of eight holders one is slow, one dark, one killed", cluster, 8,
                 SlowHolder});
  all.push_back({"liars", "a quarter of the hosts lie (--share)", quarter, 8, Liars});
  all.push_back(
      {"registry-down", "refuses, hangs, 429, 500, cut answers", cluster, 8, RegistryDown});
  Options tenth = cluster;
  tenth.share = 0.1;
  all.push_back(
      {"disk-full", "a tenth has no room, a tenth slow disks (--share)", tenth, 8, DiskFull});
  all.push_back({"churn", "hosts crash and come back (--share)", quarter, 8, Churn});
  all.push_back({"lead-death",
                 "who reads the upstream is killed, three times (--share: once, then)", cluster, 16,
                 LeadDeath});
}

}  // namespace shoal::sim
