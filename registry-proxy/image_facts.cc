#include "registry-proxy/image_facts.h"

#include <set>

#include "base/json.h"
#include "index/inventory.h"
#include "registry-proxy/manifest.h"

namespace shoal::proxy {
namespace {

struct Sum {
  std::set<std::string> platforms;
  std::set<Digest> counted;  // platforms may share layers
  Bytes size;
};

void Count(Sum& sum, const Digest& digest, Bytes size) {
  if (sum.counted.insert(digest).second) sum.size += size;
}

// Where an image is no part of an index its config says the platform. Source: OCI image
// specification 1.1, config.md.
std::optional<Platform> PlatformOf(const Manifest& manifest, const ReadDocument& read) {
  if (!manifest.has_config || !manifest.children.front().digest) return std::nullopt;
  const auto body = read(*manifest.children.front().digest, kConfigBytesMax);
  if (!body) return std::nullopt;
  const auto json = ParseJson(*body, kConfigBytesMax);
  if (!json || !json->is_object()) return std::nullopt;
  Platform platform;
  auto os = GetString(*json, "os", 64);
  auto architecture = GetString(*json, "architecture", 64);
  if (!os || !architecture) return std::nullopt;
  platform.os = *os;
  platform.architecture = *architecture;
  if (auto variant = GetString(*json, "variant", 64)) platform.variant = *variant;
  return platform;
}

// Returns whether it counts.
bool CountImage(Sum& sum, const Digest& digest, const std::string& body, const Manifest& manifest,
                const std::optional<Platform>& platform) {
  if (!platform || platform->os.empty() || platform->os == "unknown") return false;
  // A child's number is the document's word alone: it must stay reckonable.
  for (const auto& child : manifest.children) {
    if (!child.digest || sum.size + child.size > Bytes(index::kBlobBytesMax)) continue;
    Count(sum, *child.digest, child.size);
  }
  Count(sum, digest, Bytes(static_cast<std::int64_t>(body.size())));
  sum.platforms.insert(ToString(*platform));
  return true;
}

}  // namespace

std::optional<ImageFacts> FactsOf(const Digest& top, const ReadDocument& read) {
  const auto body = read(top, kManifestBytesMax);
  if (!body) return std::nullopt;
  const auto manifest = ParseManifest(*body);
  if (!manifest) return std::nullopt;
  Sum sum;
  if (manifest->kind == ManifestKind::kImage) {
    CountImage(sum, top, *body, *manifest, PlatformOf(*manifest, read));
  } else if (manifest->kind == ManifestKind::kIndex) {
    int looked = 0;
    for (const auto& child : manifest->children) {
      if (!child.digest || !child.platform || looked++ == kPlatformsMax) continue;
      const auto child_body = read(*child.digest, kManifestBytesMax);
      if (!child_body) continue;
      const auto image = ParseManifest(*child_body);
      if (image && image->kind == ManifestKind::kImage) {
        CountImage(sum, *child.digest, *child_body, *image, child.platform);
      }
    }
    Count(sum, top, Bytes(static_cast<std::int64_t>(body->size())));
  }
  if (sum.platforms.empty()) return std::nullopt;
  ImageFacts facts{sum.size, ""};
  for (const auto& platform : sum.platforms) {
    std::string longer = facts.platforms + (facts.platforms.empty() ? "" : ",") + platform;
    if (index::IsPlatforms(longer)) facts.platforms = std::move(longer);
  }
  return facts;
}

}  // namespace shoal::proxy
