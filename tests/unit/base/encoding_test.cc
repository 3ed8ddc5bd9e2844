#include "base/encoding.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/rng.h"

namespace shoal {
namespace {

TEST(EncodingTest, MatchesTheVectorsOfRfc4648) {
  const std::pair<const char*, const char*> vectors[] = {
      {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
      {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "-_8"}};
  for (const auto& [plain, encoded] : vectors) {
    EXPECT_EQ(ToBase64Url(AsBytes(plain)), encoded);
    EXPECT_EQ(AsText(*FromBase64Url(encoded)), plain);
  }
}

TEST(EncodingTest, RefusesOtherFormsOfTheSameBytes) {
  for (const char* text : {"Zg==", "Zh", "Zm9", "Z", "+/8", "Zm8=", "Zm 8", "Zm8\n"}) {
    EXPECT_FALSE(FromBase64Url(text).ok()) << text;
  }
  for (const char* text : {"A0", "0", "0g", " 0", "0x"}) EXPECT_FALSE(FromHex(text).ok()) << text;
}

TEST(EncodingTest, ReadsWhatItWrote) {
  Rng rng(1);
  for (int i = 0; i < 500; ++i) {
    ByteVector bytes(rng.Below(80));
    for (auto& b : bytes) b = static_cast<std::byte>(rng.Below(256));
    EXPECT_EQ(*FromBase64Url(ToBase64Url(bytes)), bytes);
    EXPECT_EQ(*FromHex(ToHex(bytes)), bytes);
  }
}

TEST(DigestTest, ReadsAndWritesTheSameForm) {
  const std::string text = "sha256:" + std::string(62, '0') + "ab";
  const auto digest = ParseDigest(text);
  ASSERT_TRUE(digest.ok());
  EXPECT_EQ(ToString(*digest), text);
  EXPECT_EQ(digest->Hex().size(), 64U);
  EXPECT_EQ(digest->Short(), std::string(12, '0'));
  EXPECT_EQ(ParsePeerId(digest->Hex())->Hex(), digest->Hex());
}

TEST(DigestTest, TellsUnknownAlgorithmsFromNonsense) {
  EXPECT_EQ(ParseDigest("sha512:" + std::string(128, 'a')).error().code, Code::kUnsupported);
  EXPECT_EQ(
      ParseDigest("multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8").error().code,
      Code::kUnsupported);
  for (const std::string& text :
       {std::string(), std::string("sha256"), std::string("sha256:"), ":" + std::string(64, 'a'),
        "sha256:" + std::string(63, 'a'), "sha256:" + std::string(65, 'a'),
        "sha256:" + std::string(64, 'A'), "sha256:" + std::string(64, 'g'),
        std::string("sha 512:aa"), std::string("sha512:../..")}) {
    EXPECT_EQ(ParseDigest(text).error().code, Code::kInvalid) << text;
  }
  EXPECT_FALSE(ParsePeerId(std::string(64, 'Z')).ok());
}

}  // namespace
}  // namespace shoal
