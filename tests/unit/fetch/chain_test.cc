#include "fetch/chain.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <algorithm>
#include <atomic>
#include <numeric>
#include <thread>

#include "base/rng.h"
#include "tests/unit/fetch/noise.h"

namespace shoal::fetch {
namespace {

using namespace shoal::literals;

// The oracle: OpenSSL's own whole-message SHA-256.
Digest Sha256(ByteSpan bytes) {
  Digest digest;
  unsigned int length = 0;
  EXPECT_EQ(
      EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.bytes.data()),
                 &length, EVP_sha256(), nullptr),
      1);
  return digest;
}

ByteSpan PieceOf(const Geometry& geometry, ByteSpan blob, PieceIndex i) {
  return blob.subspan(static_cast<std::size_t>(geometry.OffsetOf(i).count()),
                      static_cast<std::size_t>(geometry.LengthOf(i).count()));
}

Chain ChainOf(const Geometry& geometry, ByteSpan blob) {
  Chain chain(geometry);
  ChainHasher hasher;
  for (PieceIndex i{0}; i < geometry.last(); ++i) {
    hasher.Update(PieceOf(geometry, blob, i));
    chain.Set(i + 1, hasher.State());
  }
  return chain;
}

bool Verifies(const Chain& chain, const Digest& digest, PieceIndex i, ByteSpan bytes) {
  ChainHasher hasher(*chain.Before(i), chain.geometry().OffsetOf(i));
  hasher.Update(bytes);
  return VerifyPiece(chain, digest, i, hasher);
}

Geometry Cut(const ByteVector& blob, Bytes piece = 16_KiB) {
  return Geometry::Make(Bytes(static_cast<std::int64_t>(blob.size())), piece).value();
}

// Empty, one byte, around SHA-256's own padding and block sizes, and around piece boundaries.
constexpr std::size_t kSizes[] = {0,     1,     55,    56,    63,    64,        65,
                                  16383, 16384, 16385, 32768, 49151, 3 * 16384, 5 * 16384 + 17};

TEST(ChainTest, EveryPieceVerifiesAloneInAnyOrderAndTheLastProvesTheDigest) {
  for (const std::size_t size : kSizes) {
    const ByteVector blob = Noise(size);
    const Geometry geometry = Cut(blob);
    const Digest digest = Sha256(blob);
    const Chain chain = ChainOf(geometry, blob);
    EXPECT_TRUE(chain.complete());
    std::vector<std::int32_t> order(static_cast<std::size_t>(geometry.count()));
    std::iota(order.begin(), order.end(), 0);
    Rng rng(size);
    std::shuffle(order.begin(), order.end(), rng);
    for (const std::int32_t i : order) {
      EXPECT_TRUE(CanVerify(chain, {i}));
      EXPECT_TRUE(Verifies(chain, digest, {i}, PieceOf(geometry, blob, {i}))) << size << " " << i;
    }
  }
}

TEST(ChainTest, AFlippedBitFailsItsOwnPieceOnly) {
  const ByteVector blob = Noise(5 * 16384 + 17);
  const Geometry geometry = Cut(blob);
  const Digest digest = Sha256(blob);
  const Chain chain = ChainOf(geometry, blob);
  for (PieceIndex bad{0}; bad.value < geometry.count(); ++bad) {
    ByteVector spoilt = blob;
    spoilt[static_cast<std::size_t>((geometry.OffsetOf(bad) + geometry.LengthOf(bad)).count()) -
           1] ^= std::byte{1};
    for (PieceIndex i{0}; i.value < geometry.count(); ++i) {
      EXPECT_EQ(Verifies(chain, digest, i, PieceOf(geometry, spoilt, i)), i != bad);
    }
  }
}

TEST(ChainTest, AWrongStateFailsThePiecesOnBothItsSides) {
  const ByteVector blob = Noise(5 * 16384 + 17);
  const Geometry geometry = Cut(blob);
  const Digest digest = Sha256(blob);
  for (std::int32_t bad = 1; bad < geometry.count(); ++bad) {
    Chain chain = ChainOf(geometry, blob);
    ChainState state = *chain.Before({bad});
    state[31] ^= std::byte{0x80};
    chain.Set({bad}, state);
    for (PieceIndex i{0}; i.value < geometry.count(); ++i) {
      const bool touches = i.value == bad || i.value == bad - 1;
      EXPECT_EQ(Verifies(chain, digest, i, PieceOf(geometry, blob, i)), !touches);
    }
  }
}

TEST(ChainTest, APieceOfTheWrongLengthFails) {
  const ByteVector blob = Noise(40000);
  const Geometry geometry = Cut(blob);
  const Digest digest = Sha256(blob);
  const Chain chain = ChainOf(geometry, blob);
  EXPECT_FALSE(Verifies(chain, digest, {0}, ByteSpan(blob).first(16383)));
  EXPECT_FALSE(Verifies(chain, digest, {0}, ByteSpan(blob).first(16384 + 64)));
  EXPECT_FALSE(Verifies(chain, digest, {2}, ByteSpan(blob).subspan(32768).first(7000)));
  EXPECT_FALSE(Verifies(chain, digest, {1}, {}));
}

TEST(ChainTest, HashesInSlicesOfAnySize) {
  const ByteVector blob = Noise(100000);
  Rng rng(3);
  ChainHasher hasher;
  std::size_t at = 0;
  while (at < blob.size()) {
    const std::size_t n = std::min<std::size_t>(blob.size() - at, rng.Below(300));
    hasher.Update(ByteSpan(blob).subspan(at, n));
    at += n;
    EXPECT_EQ(hasher.position(), Bytes(static_cast<std::int64_t>(at)));
  }
  EXPECT_EQ(hasher.Finish(), Sha256(blob));
  EXPECT_EQ(hasher.Finish(), Sha256(blob));  // Finish changes nothing
}

TEST(ChainTest, ResumesFromAnyKnownState) {
  const ByteVector blob = Noise(5 * 16384 + 17);
  const Geometry geometry = Cut(blob);
  const Chain chain = ChainOf(geometry, blob);
  for (PieceIndex from{0}; from.value < geometry.count(); ++from) {
    ChainHasher hasher(*chain.Before(from), geometry.OffsetOf(from));
    hasher.Update(
        ByteSpan(blob).subspan(static_cast<std::size_t>(geometry.OffsetOf(from).count())));
    EXPECT_EQ(hasher.Finish(), Sha256(blob));
  }
}

// Positions over 2^29 and 2^32 bytes make the bit count spill into its high half.
TEST(ChainTest, CarriesTheBitCountBeyond32Bits) {
  constexpr std::size_t kPiece = 1 << 20;
  const ByteVector piece = Noise(kPiece);
  EVP_MD_CTX* whole = EVP_MD_CTX_new();
  EVP_DigestInit_ex(whole, EVP_sha256(), nullptr);
  ChainHasher hasher;
  for (int i = 0; i < 600; ++i) {
    EVP_DigestUpdate(whole, piece.data(), piece.size());
    hasher = ChainHasher(hasher.State(), hasher.position());
    hasher.Update(piece);
  }
  Digest digest;
  EVP_DigestFinal_ex(whole, reinterpret_cast<unsigned char*>(digest.bytes.data()), nullptr);
  EVP_MD_CTX_free(whole);
  EXPECT_EQ(hasher.Finish(), digest);
}

TEST(ChainTest, SeveralThreadsVerifyPiecesOfOneBlob) {
  const ByteVector blob = Noise(64 * 16384 + 5);
  const Geometry geometry = Cut(blob);
  const Digest digest = Sha256(blob);
  const Chain chain = ChainOf(geometry, blob);
  std::atomic<int> verified = 0;
  std::atomic<std::int32_t> next = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (std::int32_t i = next++; i < geometry.count(); i = next++) {
        if (Verifies(chain, digest, {i}, PieceOf(geometry, blob, {i}))) ++verified;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(verified, geometry.count());
}

TEST(ChainTest, KnowsItsGaplessPrefix) {
  Chain chain(Geometry::Make(Bytes(5 * 16384), 16_KiB).value());
  const ChainState state{};
  EXPECT_EQ(chain.known_prefix(), 1);
  EXPECT_EQ(*chain.Before({0}), InitialState());
  chain.Set({2}, state);
  EXPECT_EQ(chain.known_prefix(), 1);
  EXPECT_FALSE(CanVerify(chain, {0}));
  EXPECT_FALSE(CanVerify(chain, {1}));
  chain.Set({1}, state);
  EXPECT_EQ(chain.known_prefix(), 3);
  EXPECT_TRUE(CanVerify(chain, {1}));
  EXPECT_FALSE(CanVerify(chain, {2}));
  chain.Set({4}, state);
  EXPECT_TRUE(CanVerify(chain, {4}));  // the last one: the digest is the next state
  EXPECT_FALSE(chain.complete());
  chain.Set({3}, state);
  EXPECT_TRUE(chain.complete());
  chain.Clear({2});
  EXPECT_EQ(chain.known_prefix(), 2);
  EXPECT_NE(chain.Before({3}), nullptr);
  EXPECT_EQ(chain.Before({2}), nullptr);
}

TEST(ChainTest, TravelsAsItsGaplessPrefix) {
  const ByteVector blob = Noise(5 * 16384 + 17);
  const Geometry geometry = Cut(blob);
  Chain chain = ChainOf(geometry, blob);
  EXPECT_EQ(chain.Encode().size(), 5 * 32U);
  chain.Clear({4});
  const ByteVector wire = chain.Encode();
  EXPECT_EQ(wire.size(), 3 * 32U);
  const Chain back = Chain::Decode(geometry, wire).value();
  EXPECT_EQ(back.known_prefix(), 4);
  for (std::int32_t i = 0; i < 4; ++i) EXPECT_EQ(*back.Before({i}), *chain.Before({i}));
  EXPECT_EQ(back.Before({5}), nullptr);
  EXPECT_EQ(Chain::Decode(geometry, {})->known_prefix(), 1);
}

TEST(ChainTest, RefusesOddOrOverlongEncodings) {
  const Geometry geometry = Geometry::Make(Bytes(3 * 16384), 16_KiB).value();
  EXPECT_TRUE(Chain::Decode(geometry, ByteVector(64)).ok());
  EXPECT_FALSE(Chain::Decode(geometry, ByteVector(63)).ok());
  EXPECT_FALSE(Chain::Decode(geometry, ByteVector(96)).ok());
  EXPECT_FALSE(Chain::Decode(Geometry::Make(0_B, 16_KiB).value(), ByteVector(32)).ok());
}

TEST(ChainTest, TheInitialStateIsTheStandards) {
  EXPECT_EQ(ToHex(InitialState()),
            "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19");
}

}  // namespace
}  // namespace shoal::fetch
