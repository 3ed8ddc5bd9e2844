#include "registry-proxy/manifest.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

std::string Sha(char c) { return "sha256:" + std::string(64, c); }

std::string DescriptorJson(const std::string& type, char digest, int size,
                           const std::string& more = "") {
  return R"({"mediaType":")" + type + R"(","digest":")" + Sha(digest) + R"(","size":)" +
         std::to_string(size) + more + "}";
}

const std::string kImage =
    R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":)" +
    DescriptorJson("application/vnd.oci.image.config.v1+json", 'c', 10) + R"(,"layers":[)" +
    DescriptorJson("application/vnd.oci.image.layer.v1.tar+gzip", '1', 100) + "," +
    DescriptorJson("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", '2', 200) + "]}";

std::string PlatformJson(const std::string& arch, const std::string& variant = "") {
  return R"(,"platform":{"os":"linux","architecture":")" + arch + "\"" +
         (variant.empty() ? "" : R"(,"variant":")" + variant + "\"") + "}";
}

std::string Index(const std::vector<std::string>& children) {
  std::string json = R"({"schemaVersion":2,"manifests":[)";
  for (std::size_t i = 0; i < children.size(); ++i) json += (i > 0 ? "," : "") + children[i];
  return json + "]}";
}

std::string Child(char digest, const std::string& platform) {
  return DescriptorJson("application/vnd.oci.image.manifest.v1+json", digest, 5, platform);
}

TEST(ManifestTest, ListsAnImagesChildren) {
  const auto manifest = ParseManifest(kImage);
  ASSERT_TRUE(manifest.ok()) << manifest.error().text;
  EXPECT_EQ(manifest->kind, ManifestKind::kImage);
  EXPECT_EQ(manifest->media_type, media::kOciManifest);
  ASSERT_EQ(manifest->children.size(), 3U);
  EXPECT_TRUE(manifest->has_config);
  EXPECT_EQ(manifest->children[0].digest_text, Sha('c'));
  EXPECT_EQ(manifest->children[1].size, Bytes(100));
  EXPECT_FALSE(manifest->children[1].foreign);
  EXPECT_TRUE(manifest->children[2].foreign);
}

TEST(ManifestTest, LabelsChildrenAsContainerdDoes) {
  const auto labels = GcLabels(*ParseManifest(kImage));
  const std::map<std::string, std::string> expected = {
      {"containerd.io/gc.ref.content.config", Sha('c')},
      {"containerd.io/gc.ref.content.l.0", Sha('1')},
      {"containerd.io/gc.ref.content.l.1", Sha('2')}};
  EXPECT_EQ(labels, expected);
  const auto of_index = GcLabels(*ParseManifest(Index({Child('a', ""), Child('b', "")})));
  const std::map<std::string, std::string> expected_index = {
      {"containerd.io/gc.ref.content.m.0", Sha('a')},
      {"containerd.io/gc.ref.content.m.1", Sha('b')}};
  EXPECT_EQ(of_index, expected_index);
}

TEST(ManifestTest, GuessesTheTypeFromTheForm) {
  EXPECT_EQ(ParseManifest(Index({}))->media_type, media::kOciIndex);
  EXPECT_EQ(ParseManifest(R"({"layers":[]})")->media_type, media::kOciManifest);
  EXPECT_EQ(ParseManifest(R"({"schemaVersion":1,"fsLayers":[]})")->media_type,
            media::kDockerSigned);
  EXPECT_EQ(ParseManifest(R"({"mediaType":"x/y"})")->media_type, "x/y");
  EXPECT_EQ(ParseManifest("{}")->kind, ManifestKind::kOther);
}

TEST(ManifestTest, RefusesWhatIsNoManifest) {
  const std::string bad[] = {
      "",
      "[]",
      "nonsense",
      R"({"manifests":[],"layers":[]})",
      R"({"manifests":[],"config":{}})",
      R"({"manifests":[1]})",
      R"({"manifests":[{"digest":"sha256:abc","size":1}]})",
      R"({"manifests":[{"digest":")" + Sha('a') + R"("}]})",
      R"({"manifests":[{"digest":")" + Sha('a') + R"(","size":-1}]})",
      R"({"layers":[{"digest":")" + Sha('a') + R"(","size":1e30}]})",
      R"({"layers":[],"config":{"digest":5,"size":1}})",
  };
  for (const auto& body : bad) EXPECT_FALSE(ParseManifest(body).ok()) << body;
}

TEST(ManifestTest, KnowsItsLimits) {
  EXPECT_EQ(ParseManifest(std::string(kManifestBytesMax + 1, ' ')).error().code, Code::kExhausted);
  std::vector<std::string> children(kChildrenMax + 1, Child('a', ""));
  EXPECT_EQ(ParseManifest(Index(children)).error().code, Code::kExhausted);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += "[";
  EXPECT_FALSE(ParseManifest(deep).ok());
  EXPECT_FALSE(ParseManifest(R"({"layers":)" + deep).ok());
}

TEST(ManifestTest, OtherAlgorithmsAreKeptAsText) {
  const std::string sha512 = "sha512:" + std::string(128, '1');
  const auto manifest = ParseManifest(R"({"layers":[{"digest":")" + sha512 + R"(","size":1}]})");
  ASSERT_TRUE(manifest.ok());
  EXPECT_FALSE(manifest->children[0].digest);
  EXPECT_EQ(manifest->children[0].digest_text, sha512);
}

TEST(ManifestTest, ChoosesWhatTheHostRuns) {
  const std::string index = Index({
      Child('0', PlatformJson("unknown")),
      Child('1', PlatformJson("amd64")),
      Child('2', PlatformJson("amd64", "v3")),
      Child('3', PlatformJson("arm64", "v8")),
      Child('5', PlatformJson("arm", "v5")),
      Child('6', PlatformJson("arm", "v6")),
  });
  const auto chosen = [](const std::string& json, const std::string& platform) -> std::string {
    const auto manifest = ParseManifest(json);
    const auto* child = ChoosePlatform(*manifest, *ParsePlatform(platform));
    return child == nullptr ? "none" : child->digest_text.substr(7, 1);
  };
  EXPECT_EQ(chosen(index, "linux/amd64"), "1");
  EXPECT_EQ(chosen(index, "linux/x86_64"), "1");
  EXPECT_EQ(chosen(index, "linux/amd64/v2"), "1");
  EXPECT_EQ(chosen(index, "linux/amd64/v3"), "2");
  EXPECT_EQ(chosen(index, "linux/amd64/v4"), "2");
  EXPECT_EQ(chosen(index, "aarch64"), "3");
  EXPECT_EQ(chosen(index, "linux/arm/v7"), "6");
  EXPECT_EQ(chosen(index, "linux/arm/v5"), "5");
  EXPECT_EQ(chosen(index, "windows/amd64"), "none");
  EXPECT_EQ(chosen(index, "linux/riscv64"), "none");
  EXPECT_EQ(chosen(Index({Child('9', "")}), "linux/riscv64"), "9");
  EXPECT_EQ(chosen(Index({}), "linux/amd64"), "none");
  for (const auto* bad : {"", "/", "a/b/c/d", "linux/", "a b"}) {
    EXPECT_FALSE(ParsePlatform(bad).ok()) << bad;
  }
}

TEST(ManifestTest, MutatedManifestsNeverCrash) {
  Rng rng(3);
  const std::string seeds[] = {kImage, Index({Child('a', PlatformJson("arm64", "v8"))})};
  for (int i = 0; i < Rounds(20'000); ++i) {
    std::string body = seeds[rng.Below(2)];
    for (std::uint64_t n = 1 + rng.Below(5); n > 0 && !body.empty(); --n) {
      const auto at = rng.Below(body.size());
      switch (rng.Below(3)) {
        case 0:
          body[at] = static_cast<char>(rng.Below(256));
          break;
        case 1:
          body.erase(at, 1 + rng.Below(20));
          break;
        default:
          body.insert(at, 1, "{}[],:\"0-e"[rng.Below(10)]);
      }
    }
    const auto manifest = ParseManifest(body);
    if (!manifest.ok()) continue;
    GcLabels(*manifest);
    ChoosePlatform(*manifest, {"linux", "arm64", ""});
  }
}

}  // namespace
}  // namespace shoal::proxy
