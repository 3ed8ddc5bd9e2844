#include "registry-proxy/image_facts.h"

#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "tests/unit/numbered.h"

namespace shoal::proxy {
namespace {

std::string DescriptorText(char digest, int size, const std::string& more = "") {
  return R"({"mediaType":"x","digest":"sha256:)" + std::string(64, digest) + R"(","size":)" +
         std::to_string(size) + more + "}";
}
std::string Image(char config, const std::string& layers) {
  return R"({"schemaVersion":2,"config":)" + DescriptorText(config, 1000) + R"(,"layers":[)" +
         layers + "]}";
}
std::string On(const std::string& architecture, const std::string& os = "linux") {
  return R"(,"platform":{"os":")" + os + R"(","architecture":")" + architecture + R"("})";
}

class ImageFactsTest : public testing::Test {
 protected:
  std::optional<ImageFacts> Facts(char top) {
    return FactsOf(DigestAll(top), [this](const Digest& digest, std::size_t bytes_max) {
      const auto it = here_.find(digest);
      if (it == here_.end() || it->second.size() > bytes_max) return std::optional<std::string>();
      return std::optional(it->second);
    });
  }
  std::int64_t SizeOf(char digest) { return std::ssize(here_[DigestAll(digest)]); }

  std::map<Digest, std::string> here_;
};

TEST_F(ImageFactsTest, OfAnImageItsConfigSaysThePlatform) {
  here_[DigestAll('a')] = Image('c', DescriptorText('1', 5000) + "," + DescriptorText('2', 6000));
  EXPECT_FALSE(Facts('a'));  // its config has not come yet
  here_[DigestAll('c')] = R"({"os":"linux","architecture":"arm64","rootfs":{}})";
  const auto facts = Facts('a');
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->platforms, "linux/arm64");
  EXPECT_EQ(facts->size.count(), SizeOf('a') + 1000 + 5000 + 6000);
}

TEST_F(ImageFactsTest, OfAnIndexThosePlatformsCountWhoseManifestsAreHere) {
  here_[DigestAll('e')] =
      R"({"schemaVersion":2,"manifests":[)" + DescriptorText('a', 1, On("arm64")) + "," +
      DescriptorText('b', 1, On("amd64")) + "," + DescriptorText('d', 1, On("s390x")) + "," +
      DescriptorText('f', 1, On("unknown", "unknown")) + "]}";
  EXPECT_FALSE(Facts('e'));
  here_[DigestAll('a')] = Image('c', DescriptorText('1', 5000));
  EXPECT_EQ(Facts('e')->platforms, "linux/arm64");
  here_[DigestAll('b')] = Image('9', DescriptorText('1', 5000));  // shares the layer
  here_[DigestAll('f')] = Image('8', DescriptorText('7', 70));    // an attestation
  const auto facts = Facts('e');
  EXPECT_EQ(facts->platforms, "linux/amd64,linux/arm64");
  EXPECT_EQ(facts->size.count(), SizeOf('e') + SizeOf('a') + SizeOf('b') + 2 * 1000 + 5000);
}

TEST_F(ImageFactsTest, WhatNoPeerWouldTakeIsNotSaid) {
  here_[DigestAll('a')] = Image('c', DescriptorText('1', 5000));
  for (const auto* architecture : {"", "AMD64", "a b", "amd64,evil", "\\u0000"}) {
    here_[DigestAll('c')] =
        std::string(R"({"os":"linux","architecture":")") + architecture + R"("})";
    const auto facts = Facts('a');
    if (!facts) continue;
    EXPECT_TRUE(facts->platforms.empty() || facts->platforms.starts_with("linux/")) << architecture;
    EXPECT_EQ(facts->platforms.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789/.,_-"),
              std::string::npos)
        << architecture;
  }
}

TEST_F(ImageFactsTest, NeverCrashesOnDamagedDocuments) {
  Rng rng(5);
  const std::string image = Image('c', DescriptorText('1', 5000));
  const std::string config = R"({"os":"linux","architecture":"arm64"})";
  for (int i = 0; i < 3000; ++i) {
    auto damaged = image;
    damaged[rng.Below(damaged.size())] = static_cast<char>(rng.Below(256));
    here_[DigestAll('a')] = damaged;
    damaged = config;
    damaged[rng.Below(damaged.size())] = static_cast<char>(rng.Below(256));
    here_[DigestAll('c')] = damaged;
    const auto facts = Facts('a');
    EXPECT_TRUE(!facts || facts->size >= Bytes(0));
  }
}

}  // namespace
}  // namespace shoal::proxy
