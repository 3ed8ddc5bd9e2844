// Manifests and indexes: what kind a document is, and which blobs it refers to.
// Source: OCI image specification 1.1, manifest.md and image-index.md; Docker image manifest V2,
// schema 2. Nothing in a document is believed but its form: digests are proved when fetched.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/result.h"

namespace shoal::proxy {

inline constexpr std::size_t kManifestBytesMax = 4
                                                 << 20;  // OCI distribution: registries' own limit
inline constexpr std::size_t kChildrenMax = 10'000;

namespace media {
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kDockerManifest =
    "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerList =
    "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerSigned =
    "application/vnd.docker.distribution.manifest.v1+prettyjws";
inline constexpr std::string_view kOctets = "application/octet-stream";
}  // namespace media

struct Platform {
  std::string os;            // "linux"
  std::string architecture;  // "amd64"
  std::string variant;       // "v8"; "" none
  bool operator==(const Platform&) const = default;
};

// Reads "linux/amd64", "linux/arm/v7", "amd64"; x86_64 and aarch64 become amd64 and arm64.
Result<Platform> ParsePlatform(std::string_view text);
std::string ToString(const Platform& platform);

struct Descriptor {
  std::string digest_text;
  std::optional<Digest> digest;  // nullopt for an algorithm that shoal does not fetch
  std::string media_type;
  Bytes size;
  std::optional<Platform> platform;
  bool foreign = false;  // lies at URLs outside the registry; runtimes fetch it there
};

enum class ManifestKind { kImage, kIndex, kOther };  // kOther: schema 1, artifacts without blobs

struct Manifest {
  ManifestKind kind = ManifestKind::kOther;
  std::string media_type;
  // An image: its config first, then its layers in order. An index: its manifests.
  std::vector<Descriptor> children;
  bool has_config = false;
};

// Errors  kExhausted over kManifestBytesMax or kChildrenMax; kInvalid for what is no manifest.
Result<Manifest> ParseManifest(std::string_view body);

// The labels that keep the children of stored content from containerd's garbage collector, as
// containerd itself would set them. Source: containerd/images, SetChildrenMappedLabels with
// ChildGCLabels.
std::map<std::string, std::string> GcLabels(const Manifest& manifest);

// The child of an index that a host of this platform runs: same system and architecture, and the
// highest variant that it can run; nullptr when none is.
const Descriptor* ChoosePlatform(const Manifest& index, const Platform& host);

}  // namespace shoal::proxy
