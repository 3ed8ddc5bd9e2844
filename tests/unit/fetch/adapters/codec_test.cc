#include <gtest/gtest.h>

#include "base/rng.h"
#include "fetch/transport/map_codec.h"
#include "fetch/transport/zstd_codec.h"

namespace shoal::fetch {
namespace {

using namespace shoal::literals;

HolderMap SomeMap() {
  Chain chain(*Geometry::Make(200_KiB, 64_KiB));
  ChainState state{};
  for (int i = 1; i < 3; ++i) {
    state[0] = std::byte(i);
    chain.Set({i}, state);
  }
  PieceMap have(4);
  have.Set({0});
  have.Set({2});
  return {chain, have};
}

TEST(MapCodecTest, ReadsBackWhatItWrote) {
  const HolderMap map = SomeMap();
  auto read = DecodeMap(EncodeMap(map.chain, map.have));
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->map.have, map.have);
  EXPECT_EQ(read->map.chain.known_prefix(), 3);
  EXPECT_EQ(*read->map.chain.Before({2}), *map.chain.Before({2}));
}

TEST(MapCodecTest, LeavesOutTheStatesThatAreHeld) {
  const HolderMap map = SomeMap();
  const std::string whole = EncodeMap(map.chain, map.have, 7);
  for (const std::int32_t from : {1, 2, 3, 9}) {
    const std::string text = EncodeMap(map.chain, map.have, 7, from);
    EXPECT_EQ(text.size() < whole.size(), from > 1);
    const HeldChain held{7, map.chain};
    auto read = DecodeMap(text, &held);
    ASSERT_TRUE(read.ok()) << from << ": " << read.error().text;
    EXPECT_EQ(read->map.chain.Encode(), map.chain.Encode());
    const HeldChain of_another_life{8, map.chain};
    EXPECT_EQ(DecodeMap(text, &of_another_life).ok(), from == 1);
  }
}

TEST(MapCodecTest, RefusesWhatIsNotAMap) {
  for (const char* text :
       {"", "{}", "[]", "{\"size\":-1,\"piece\":65536,\"have\":\"\",\"chain\":\"\"}",
        "{\"size\":1,\"piece\":65,\"have\":\"\",\"chain\":\"\"}",
        "{\"size\":1,\"piece\":65536,\"have\":\"0-1\",\"chain\":\"\"}",
        "{\"size\":1,\"piece\":65536,\"have\":\"0\",\"chain\":\"AAAA\"}",
        "{\"size\":1099511627776,\"piece\":16384,\"have\":\"\",\"chain\":\"\"}",
        "{\"size\":1,\"piece\":65536,\"have\":7,\"chain\":\"\"}"}) {
    EXPECT_FALSE(DecodeMap(text).ok()) << text;
  }
}

TEST(MapCodecTest, NeverTrustsAMutatedMap) {
  const HolderMap map = SomeMap();
  const std::string text = EncodeMap(map.chain, map.have);
  Rng rng(7);
  for (int i = 0; i < 3000; ++i) {
    std::string mutated = text;
    for (int n = 0; n < 3; ++n) mutated[rng.Below(mutated.size())] = static_cast<char>(rng.Next());
    auto read = DecodeMap(mutated);
    if (!read) continue;
    EXPECT_LE(read->map.have.count(), read->map.chain.geometry().count());
    EXPECT_LE(read->map.chain.known_prefix(), read->map.chain.geometry().count());
  }
}

TEST(ZstdCodecTest, ReadsBackWhatItPacked) {
  const std::string plain(100'000, 'x');
  const std::string packed = Compress(plain);
  EXPECT_LT(packed.size(), 1000U);
  auto read = Decompress(packed, plain.size());
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(*read, plain);
}

TEST(ZstdCodecTest, StopsABombAtItsLimit) {
  const std::string packed = Compress(std::string(8'000'000, 'x'));
  auto read = Decompress(packed, 1'000'000);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, Code::kExhausted);
}

TEST(ZstdCodecTest, RefusesCutAndForeignFrames) {
  const std::string packed = Compress("hello hello hello hello hello");
  for (std::size_t n = 0; n < packed.size(); ++n) {
    EXPECT_FALSE(Decompress(packed.substr(0, n), 1000).ok()) << n;
  }
  EXPECT_FALSE(Decompress("not zstd at all", 1000).ok());
}

TEST(ZstdCodecTest, DecodesBodiesByTheirHeader) {
  HttpHead head;
  EXPECT_EQ(*DecodeBody(head, "plain", 10), "plain");
  head.headers = {{"Content-Encoding", "zstd"}};
  EXPECT_EQ(*DecodeBody(head, Compress("packed"), 10), "packed");
  head.headers = {{"Content-Encoding", "br"}};
  EXPECT_EQ(DecodeBody(head, "x", 10).error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace shoal::fetch
