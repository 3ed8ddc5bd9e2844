// The catalog on disk, alone: how long it takes to find who holds a blob among very many entries.
//
// usage: lookups FOLDER [ENTRIES]   prints one JSON object
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/rng.h"
#include "index/lmdb/catalog.h"
#include "index/lmdb/env.h"

namespace {

using namespace shoal;
using Clock = std::chrono::steady_clock;

constexpr int kPeers = 200;
constexpr int kHoldersOfBlob = 10;
constexpr int kLookups = 200'000;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

Digest DigestOf(std::uint64_t number) {
  Rng rng(number);
  Digest digest;
  for (std::size_t i = 0; i < digest.bytes.size(); i += sizeof(std::uint64_t)) {
    const std::uint64_t some = rng.Next();
    std::memcpy(&digest.bytes[i], &some, sizeof some);
  }
  return digest;
}

// Peer p holds the blobs b of which (p - b) modulo kPeers is below kHoldersOfBlob.
void Fill(index::Catalog& catalog, int blobs) {
  for (int p = 0; p < kPeers; ++p) {
    const PeerId peer{DigestOf(static_cast<std::uint64_t>(p) + (1ULL << 40)).bytes};
    index::KeysPage page{.epoch = 1, .cursor = 0, .reset = true, .more = false, .changes = {}};
    const auto apply = [&](bool more) {
      page.more = more;
      if (auto taken = catalog.Apply(peer, page); !taken) Fail(taken.error().text);
      page.reset = false;
      page.changes.clear();
    };
    for (int b = 0; b < blobs; ++b) {
      if ((p - b % kPeers + kPeers) % kPeers >= kHoldersOfBlob) continue;
      ++page.cursor;
      page.changes.push_back(
          {index::BlobHolding{DigestOf(static_cast<std::uint64_t>(b)), Bytes(1 << 20), true},
           false});
      if (static_cast<int>(page.changes.size()) == index::kKeysPageMax) apply(true);
    }
    ++page.cursor;
    apply(false);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) Fail("usage: lookups FOLDER [ENTRIES]");
  const int entries = argc > 2 ? std::atoi(argv[2]) : 1'000'000;
  const int blobs = entries / kHoldersOfBlob;
  auto env = index::LmdbEnv::Open(argv[1], Bytes(std::int64_t{16} << 30), index::LmdbSync::kNever);
  if (!env) Fail(env.error().text);
  auto catalog = index::LmdbCatalog::Open(**env, PeerId{DigestOf(~0ULL).bytes});
  if (!catalog) Fail(catalog.error().text);
  Fill(**catalog, blobs);
  std::vector<Digest> asked;
  Rng rng(1);
  for (int i = 0; i < kLookups; ++i) {
    asked.push_back(DigestOf(rng.Below(static_cast<std::uint64_t>(blobs))));
  }
  std::vector<double> took;
  for (const Digest& digest : asked) {
    const auto begun = Clock::now();
    const auto holders = (*catalog)->HoldersOf(digest);
    took.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begun).count());
    if (holders.size() != kHoldersOfBlob) Fail("holders are missing");
  }
  std::ranges::sort(took);
  std::printf("{\"entries\": %d, \"lookups\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f}\n",
              blobs * kHoldersOfBlob, took.size(), took[took.size() / 2],
              took[took.size() * 99 / 100]);
  return 0;
}
