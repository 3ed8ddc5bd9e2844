// Many seeded worlds with a few faults each; a failure prints its seed and what was done.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>

#include "tests/sim/download_sim.h"
#include "tests/unit/fetch/noise.h"
#include "tests/unit/rounds.h"

namespace shoal::fetch {
namespace {

using namespace shoal::literals;
using namespace std::chrono_literals;
using sim::DownloadSim;
using sim::SimBlob;
using sim::SimPeer;

// One world, drawn from a seed.
class World {
 public:
  explicit World(std::uint64_t seed)
      : rng_(seed),
        truth_(Noise(DrawSize(), seed), kPieceBytesMin),
        // Blobs that liars serve: the same up to some piece, of another size, or cut otherwise.
        false_tail_(Spoil(truth_.bytes, rng_.Below(truth_.bytes.size())), kPieceBytesMin),
        false_size_(Longer(truth_.bytes), kPieceBytesMin),
        other_cut_(truth_.bytes, kPieceBytesMin * 2),
        sim_(truth_, Limits(), seed, (has_upstream_ = rng_.Below(3) != 0)) {
    DrawUpstream();
    const auto count = static_cast<int>(rng_.Below(6));
    for (int i = 0; i < count; ++i) DrawPeer();
    if (rng_.Below(2) == 0) {
      sim_.download().OnReader(Time{}, 1, {static_cast<std::int32_t>(rng_.Below(8))}, ignored_);
    }
  }

  DownloadSim& sim() { return sim_; }
  [[nodiscard]] bool honest_source() const { return honest_; }
  // The kinds that were drawn, as in the switches below.
  [[nodiscard]] const std::string& story() const { return story_; }
  [[nodiscard]] const SimBlob& truth() const { return truth_; }
  void Run() { sim_.Run(known_, resolved_); }

 private:
  static DownloadLimits Limits() {
    DownloadLimits limits;
    limits.piece = kPieceBytesMin;
    limits.window_pieces = 8;
    return limits;
  }

  std::size_t DrawSize() {
    const std::size_t piece = 16384;
    switch (rng_.Below(6)) {
      case 0:
        return 1;
      case 1:
        return piece;
      case 2:
        return piece * (2 + rng_.Below(20));
      default:
        return 1 + rng_.Below(piece * 40);
    }
  }

  ByteVector Spoil(ByteVector bytes, std::size_t from) {
    for (std::size_t i = from; i < bytes.size(); ++i) bytes[i] ^= std::byte{0x5a};
    return bytes;
  }
  static ByteVector Longer(ByteVector bytes) {
    bytes.resize(bytes.size() + 20000, std::byte{7});
    return bytes;
  }

  std::int32_t AnyPiece() {
    return static_cast<std::int32_t>(
        rng_.Below(static_cast<std::uint64_t>(truth_.geometry.count())));
  }

  void DrawUpstream() {
    if (!has_upstream_) return;
    auto& upstream = sim_.upstream();
    upstream.blob = &truth_;
    const std::uint64_t kind = rng_.Below(12);
    story_ += "upstream " + std::to_string(kind) + "\n";
    switch (kind) {
      case 0:
        upstream.refuses = Code::kNotFound;
        break;
      case 1:
        upstream.refuses = Code::kRetryLater;
        break;
      case 2:
        upstream.refuses = Code::kDenied;
        break;
      case 3:
        upstream.corrupts = {AnyPiece()};
        break;
      case 4:
        upstream.hangs = true;
        break;
      case 5:
        upstream.blob = &false_size_;
        break;
      case 6:
        upstream.blob = &false_tail_;
        break;
      case 7:
        upstream.fails = 0.3;
        upstream.truncates = 0.3;
        break;  // may run out of tries
      case 8:
        upstream.rate = 200'000;
        honest_ = true;
        break;
      case 9:
        upstream.corrupts_once = AnyPiece();
        honest_ = true;
        break;
      default:
        honest_ = true;
    }
  }

  void DrawPeer() {
    SimPeer peer;
    peer.blob = &truth_;
    peer.latency = Duration(200 + static_cast<std::int64_t>(rng_.Below(20'000)));
    peer.rate = static_cast<std::int64_t>(1'000'000 + rng_.Below(50'000'000));
    bool honest_complete = false;
    const std::uint64_t kind = rng_.Below(16);
    switch (kind) {
      case 0:
        peer.corrupts = {AnyPiece()};
        break;
      case 1:
        peer.blob = &false_tail_;
        break;
      case 2:
        peer.blob = &false_size_;
        break;
      case 3:
        peer.blob = &false_tail_;
        peer.pieces = AnyPiece();
        break;
      case 4:
        peer.overclaims = true;
        peer.pieces = AnyPiece();
        break;
      case 5:
        peer.rate = 3'000;  // drips
        break;
      case 6:
        peer.stalls = 0.5;
        break;
      case 7:
        peer.resets = 0.5;
        break;
      case 8:
        peer.vanishes = Duration(static_cast<std::int64_t>(rng_.Below(60'000)));
        break;
      case 9:
        peer.map_hangs = true;
        break;
      case 10:
        peer.pieces = AnyPiece();
        if (rng_.Below(2) == 0) peer.grows_every = Duration(500 + rng_.Below(40'000));
        break;
      case 11:
        if (truth_.geometry.count() > 1) peer.forged = std::max(1, AnyPiece());
        break;
      case 12:
        peer.blob = &other_cut_;
        break;
      default:
        honest_complete = true;
    }
    if (peer.forged || peer.blob == &other_cut_) honest_complete = false;
    honest_ |= honest_complete;
    const int id = sim_.AddPeer(std::move(peer));
    story_ += "peer " + std::to_string(id) + " of kind " + std::to_string(kind) + "\n";
    (rng_.Below(2) == 0 ? known_ : resolved_).push_back(id);
  }

  Rng rng_;
  std::string story_;
  bool has_upstream_ = false;
  bool honest_ = false;
  SimBlob truth_;
  SimBlob false_tail_;
  SimBlob false_size_;
  SimBlob other_cut_;
  DownloadActions ignored_;
  DownloadSim sim_;
  std::vector<int> known_;
  std::vector<int> resolved_;
};

std::string Story(const DownloadSim& sim) {
  std::string text;
  const std::size_t count = sim.log().size();
  for (std::size_t i = 0; i < count; ++i) {
    if (i == 60 && count > 160) i = count - 100;
    text += sim.log()[i] + "\n";
  }
  return text;
}

TEST(DownloadSimTest, EndsRightInEveryDrawnWorld) {
  // SHOAL_SEED=n runs one world; SHOAL_SEEDS=n so many of them.
  const char* one = std::getenv("SHOAL_SEED");
  const char* many = std::getenv("SHOAL_SEEDS");
  const std::uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const std::uint64_t count = one != nullptr ? 1
                                             : (many != nullptr ? std::strtoull(many, nullptr, 10)
                                                                : std::uint64_t(Rounds(300)));
  int proved = 0;
  int honest = 0;
  double worst_waste = 0;
  double worst_honest = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    World world(seed);
    world.Run();
    const DownloadSim& sim = world.sim();
    proved += sim.proved() ? 1 : 0;
    honest += world.honest_source() ? 1 : 0;
    if (world.honest_source()) {
      EXPECT_TRUE(sim.proved()) << "seed " << seed << " gave up with an honest source";
    }
    EXPECT_TRUE(sim.failures().empty()) << "seed " << seed << ": " << sim.failures().front();
    const auto size = static_cast<double>(world.truth().geometry.blob().count());
    const auto wasted = static_cast<double>(world.sim().download().sources().wasted.count());
    double& worst = world.honest_source() ? worst_honest : worst_waste;
    worst = std::max(worst, wasted / (size + 100'000));
    // A false chain costs at most the blob, for each of the few candidates.
    EXPECT_LE(wasted, (world.honest_source() ? 4 : 16) * size + 500'000) << "seed " << seed;
    if (::testing::Test::HasFailure()) {
      std::printf("seed %llu\n%s%s", static_cast<unsigned long long>(seed), world.story().c_str(),
                  Story(sim).c_str());
      return;
    }
  }
  std::printf(
      "%d proved of %llu worlds, %d with an honest source; worst waste %.2f blobs, without one "
      "%.2f\n",
      proved, static_cast<unsigned long long>(count), honest, worst_honest, worst_waste);
}

// A blob of 20 pieces, and a liar's that has the same length and differs from piece 3 on.
struct Fixed {
  Fixed() : truth(Noise(20 * 16384, 5), kPieceBytesMin), lie(Lie(truth.bytes), kPieceBytesMin) {
    limits.piece = kPieceBytesMin;
  }
  static ByteVector Lie(ByteVector bytes) {
    for (std::size_t i = 3 * 16384; i < bytes.size(); ++i) bytes[i] ^= std::byte{1};
    return bytes;
  }
  SimBlob truth;
  SimBlob lie;
  DownloadLimits limits;
};

TEST(DownloadSimTest, ACorruptPieceCostsOnePiece) {
  Fixed fixed;
  DownloadSim sim(fixed.truth, fixed.limits, 1, false);
  const int liar = sim.AddPeer({.blob = &fixed.truth, .corrupts = {7}});
  const int honest = sim.AddPeer({.blob = &fixed.truth});
  sim.Run({liar, honest}, {});
  EXPECT_TRUE(sim.proved());
  EXPECT_TRUE(sim.failures().empty());
  EXPECT_LE(sim.download().sources().wasted, kPieceBytesMin * 4);  // and what it had under way
}

TEST(DownloadSimTest, AFalsePartialHolderAndAHangingUpstreamDoNotHideAnHonestHolder) {
  Fixed fixed;
  DownloadSim sim(fixed.truth, fixed.limits, 1, true);
  sim.upstream().blob = &fixed.truth;
  sim.upstream().hangs = true;
  const int liar = sim.AddPeer({.blob = &fixed.lie, .pieces = 16});
  const int honest = sim.AddPeer({.blob = &fixed.truth, .latency = 40ms});
  sim.Run({liar, honest}, {});
  EXPECT_TRUE(sim.proved());
  EXPECT_TRUE(sim.failures().empty());
}

TEST(DownloadSimTest, TheUpstreamIsNotBlamedForAChainThatALiarGave) {
  Fixed fixed;
  DownloadSim sim(fixed.truth, fixed.limits, 1, true);
  sim.upstream().blob = &fixed.truth;
  const int liar = sim.AddPeer({.blob = &fixed.lie, .corrupts = {12}});
  DownloadActions none;
  sim.download().OnReader(Time{}, 1, {12}, none);
  sim.Run({liar}, {});
  EXPECT_TRUE(sim.proved());
  EXPECT_EQ(sim.banned(), (std::set{liar}));
}

TEST(DownloadSimTest, AnUpstreamWithOneBadPieceLosesToAnHonestHolder) {
  Fixed fixed;
  DownloadSim sim(fixed.truth, fixed.limits, 1, true);
  sim.upstream().blob = &fixed.truth;
  sim.upstream().corrupts = {4};
  const int slow = sim.AddPeer({.blob = &fixed.truth, .rate = 12'000});
  sim.Run({slow}, {});
  EXPECT_TRUE(sim.proved());
  EXPECT_TRUE(sim.banned().empty());
}

}  // namespace
}  // namespace shoal::fetch
