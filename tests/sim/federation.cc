#include "tests/sim/federation.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>

#include "tests/sim/made_keys.h"
#include "tests/unit/index/federation_rig.h"

namespace shoal::sim {
namespace {

using index::FederationRig;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr int kZstdLevel = 3;  // index/net/zstd_codec.cc
const std::string kRoom = "room/open";

class Servers {
 public:
  explicit Servers(const FederationOptions& options)
      : options_(options), rig_(options.servers, {}, Limits(options)) {
    rig_.keeps_disks = false;
    rig_.wire_bytes = [this](const std::string& text) {
      std::string packed(ZSTD_compressBound(text.size()), '\0');
      packed_bytes_ +=
          ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), kZstdLevel);
      return text.size();
    };
  }

  FederationCost Meet() {
    for (int n = 0; n < options_.servers; ++n) {
      for (int other = 0; other < n; ++other) rig_.Cut(other, n);
    }
    std::uint64_t bytes = 0;
    for (std::uint32_t peer = 0; peer < options_.peers; ++peer) bytes += Register(peer, 1);
    rig_.HealAll();
    auto cost = Converge();
    cost.changes = options_.peers;
    cost.least_bytes = bytes * static_cast<std::uint64_t>(options_.servers - 1);
    return cost;
  }

  // Two servers on one side, the rest on the other.
  FederationCost Part(std::uint32_t changes) {
    rig_.Run(minutes(1));
    rig_.Part({0, 1});
    rig_.Run(options_.partition / 2);
    std::uint64_t bytes = 0;
    ++round_;
    for (std::uint32_t i = 0; i < changes; ++i) {
      const std::uint32_t peer = i * (options_.peers / std::max(changes, 1U));
      const bool is_of_two = ServerOf(peer) < 2;
      bytes +=
          Register(peer, round_) * static_cast<std::uint64_t>(is_of_two ? options_.servers - 2 : 2);
    }
    rig_.Run(options_.partition / 2);
    rig_.HealAll();
    auto cost = Converge();
    cost.changes = changes;
    cost.least_bytes = bytes;
    return cost;
  }

 private:
  static index::RegistrationLimits Limits(const FederationOptions& options) {
    index::RegistrationLimits limits;
    limits.peers_max = std::max<std::size_t>(limits.peers_max, options.peers * 2);
    return limits;
  }
  [[nodiscard]] int ServerOf(std::uint32_t peer) const {
    return static_cast<int>(peer % static_cast<std::uint32_t>(options_.servers));
  }

  // Returns the bytes of what is new: record and namespace.
  std::uint64_t Register(std::uint32_t peer, std::uint64_t sequence) {
    const auto key = KeyOf(peer, std::byte{1});
    index::Record record = index::RecordOf(key, sequence, rig_.now().time_since_epoch() + hours(5));
    record.name = fmt::format("host-{}", peer);
    record.endpoints = {
        {fmt::format("10.{}.{}.{}", peer >> 16 & 255, peer >> 8 & 255, peer & 255), 7381}};
    const auto signed_record = index::SignedRecord::Sign(record, key);
    SHOAL_CHECK(rig_.RegisterRecord(ServerOf(peer), signed_record, {kRoom}, hours(4)) ==
                index::RendezvousStatus::kOk);
    return signed_record.envelope().size() + kRoom.size();
  }

  // All servers have read all logs to their ends.
  bool IsWhole() {
    for (int n = 0; n < options_.servers; ++n) {
      if (rig_.registrations(n).peer_count() != options_.peers) return false;
      for (const auto& line : rig_.federation(n).Servers(rig_.wall())) {
        const int other = NumberOf(line.id);
        if (line.cursor < rig_.registrations(other).log_end()) return false;
      }
    }
    return true;
  }
  int NumberOf(const PeerId& id) {
    for (int n = 0; n < options_.servers; ++n) {
      if (rig_.IdOf(n) == id) return n;
    }
    return 0;
  }

  FederationCost Converge() {
    rig_.traffic = {};
    packed_bytes_ = 0;
    FederationCost cost;
    const auto took = rig_.RunUntil([this] { return IsWhole(); }, minutes(5));
    cost.is_whole = took.has_value();
    cost.time = took.value_or(Duration(0));
    rig_.Run(seconds(30));  // what follows, if anything does, is part of the cost
    cost.peers_told = rig_.traffic.peers;
    cost.plain_bytes = rig_.traffic.log_bytes;
    cost.packed_bytes = packed_bytes_;
    cost.snapshots = rig_.traffic.snapshots;
    return cost;
  }

  FederationOptions options_;
  std::uint64_t packed_bytes_ = 0;
  std::uint64_t round_ = 1;
  FederationRig rig_;
};

std::string Line(const std::string& name, const FederationCost& cost) {
  const auto ratio = cost.least_bytes == 0 ? 0.0
                                           : static_cast<double>(cost.packed_bytes) /
                                                 static_cast<double>(cost.least_bytes);
  return fmt::format(
      "{:<10} {:>7} changed: {} after {:.2f} s, {} peers told in pages of {} bytes, {} by zstd; "
      "what was lacking has {} bytes (ratio {:.2f}); {} snapshots\n",
      name, cost.changes, cost.is_whole ? "all know all" : "NOT WHOLE",
      static_cast<double>(cost.time.count()) / 1e6, cost.peers_told, cost.plain_bytes,
      cost.packed_bytes, cost.least_bytes, ratio, cost.snapshots);
}

}  // namespace

bool FederationResult::is_whole() const {
  return snapshot.is_whole &&
         std::ranges::all_of(partitions, [](const auto& cost) { return cost.is_whole; });
}

FederationResult RunFederation(const FederationOptions& options) {
  Servers servers(options);
  FederationResult result;
  result.snapshot = servers.Meet();
  for (const auto changes : options.changes) {
    if (changes <= options.peers) result.partitions.push_back(servers.Part(changes));
  }
  return result;
}

std::string ToTable(const FederationOptions& options, const FederationResult& result) {
  std::string out =
      fmt::format("federation: {} servers, {} peers, {} s apart\n", options.servers, options.peers,
                  std::chrono::duration_cast<seconds>(options.partition).count());
  out += Line("snapshot", result.snapshot);
  for (const auto& cost : result.partitions) out += Line("partition", cost);
  return out;
}

}  // namespace shoal::sim
