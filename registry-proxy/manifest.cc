#include "registry-proxy/manifest.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"
#include "registry-proxy/names.h"

namespace shoal::proxy {
namespace {

constexpr std::size_t kMediaTypeBytesMax = 255;   // RFC 6838, 4.2
constexpr std::size_t kDigestTextBytesMax = 256;  // sha512 has 135
constexpr std::int64_t kBlobBytesMax = std::int64_t{1} << 40;

Result<Platform> ReadPlatform(const Json& json) {
  Platform platform;
  auto os = GetString(json, "os", 64);
  if (!os) return os.error();
  auto architecture = GetString(json, "architecture", 64);
  if (!architecture) return architecture.error();
  platform.os = std::move(*os);
  platform.architecture = std::move(*architecture);
  if (auto variant = GetString(json, "variant", 64)) platform.variant = std::move(*variant);
  return platform;
}

bool IsForeign(std::string_view media_type) {
  return media_type.find(".nondistributable.") != std::string_view::npos ||
         media_type.find(".foreign.") != std::string_view::npos;
}

Result<Descriptor> ReadDescriptor(const Json& json) {
  Descriptor out;
  auto text = GetString(json, "digest", kDigestTextBytesMax);
  if (!text) return text.error();
  out.digest_text = std::move(*text);
  if (auto digest = ParseDigest(out.digest_text)) {
    out.digest = *digest;
  } else if (digest.error().code != Code::kUnsupported) {
    return digest.error();
  }
  auto size = GetInt(json, "size", 0, kBlobBytesMax);
  if (!size) return size.error();
  out.size = Bytes(*size);
  if (auto media_type = GetString(json, "mediaType", kMediaTypeBytesMax)) {
    out.media_type = std::move(*media_type);
  }
  out.foreign = IsForeign(out.media_type);
  if (json.has_object_field("platform")) {
    auto platform = ReadPlatform(json.at("platform"));
    if (!platform) return platform.error();
    out.platform = std::move(*platform);
  }
  return out;
}

Status ReadChildren(const Json& json, const std::string& member, Manifest& out) {
  auto array = GetArray(json, member, kChildrenMax);
  if (!array) {
    const bool too_many = json.has_array_field(member);
    return too_many ? Error{Code::kExhausted, array.error().text} : array.error();
  }
  for (const auto& item : array->as_array()) {
    auto child = ReadDescriptor(item);
    if (!child) return child.error().In("a descriptor of \"" + member + "\"");
    out.children.push_back(std::move(*child));
  }
  return Ok();
}

Result<Manifest> ReadManifest(const Json& json) {
  Manifest out;
  if (auto media_type = GetString(json, "mediaType", kMediaTypeBytesMax)) {
    out.media_type = std::move(*media_type);
  }
  const bool index = json.has_array_field("manifests");
  const bool image = json.has_array_field("layers");
  // One document with both faces could be an image to one reader and an index to another.
  // Source: CVE-2021-41190.
  if (index && (image || json.has_field("config"))) {
    return Error{Code::kInvalid, "the manifest has both layers and manifests"};
  }
  if (index) {
    out.kind = ManifestKind::kIndex;
    if (out.media_type.empty()) out.media_type = media::kOciIndex;
    if (auto status = ReadChildren(json, "manifests", out); !status) return status.error();
    return out;
  }
  if (image || json.has_object_field("config")) {
    out.kind = ManifestKind::kImage;
    if (out.media_type.empty()) out.media_type = media::kOciManifest;
    if (json.has_object_field("config")) {
      auto config = ReadDescriptor(json.at("config"));
      if (!config) return config.error().In("the config of a manifest");
      out.children.push_back(std::move(*config));
      out.has_config = true;
    }
    if (!image) return out;
    if (auto status = ReadChildren(json, "layers", out); !status) return status.error();
    return out;
  }
  if (out.media_type.empty()) {
    // Schema 1 has no mediaType; its fsLayers are signed, not described.
    const bool schema1 = json.has_array_field("fsLayers");
    out.media_type = schema1 ? media::kDockerSigned : media::kOctets;
  }
  return out;
}

bool IsConfigType(std::string_view type) {
  return type == media::kOciConfig || type == media::kDockerConfig ||
         type == "application/vnd.containerd.container.criu.checkpoint.criu.tar" ||
         type == "application/vnd.containerd.container.checkpoint.config.v1+proto";
}

bool IsLayerType(std::string_view type) {
  return type.starts_with("application/vnd.oci.image.layer.") ||
         type.starts_with("application/vnd.docker.image.rootfs.");
}

std::string_view LabelOf(const Descriptor& child) {
  if (IsConfigType(child.media_type)) return "containerd.io/gc.ref.content.config";
  if (child.media_type == media::kDockerManifest || child.media_type == media::kOciManifest) {
    return "containerd.io/gc.ref.content.m.";
  }
  if (IsLayerType(child.media_type)) return "containerd.io/gc.ref.content.l.";
  return "containerd.io/gc.ref.content.";
}

Platform Normal(Platform platform) {
  platform.os = LowerCase(platform.os);
  platform.architecture = LowerCase(platform.architecture);
  platform.variant = LowerCase(platform.variant);
  auto& architecture = platform.architecture;
  if (architecture == "x86_64" || architecture == "x86-64") architecture = "amd64";
  if (architecture == "aarch64") architecture = "arm64";
  if (architecture == "armhf") platform = {platform.os, "arm", "v7"};
  if (architecture == "armel") platform = {platform.os, "arm", "v6"};
  // The variants that go without saying. Source: containerd/platforms, normalizeArch.
  if (architecture == "arm64" && platform.variant == "8") platform.variant = "v8";
  if (architecture == "arm64" && platform.variant.empty()) platform.variant = "v8";
  if (architecture == "amd64" && platform.variant.empty()) platform.variant = "v1";
  if (architecture == "arm" && platform.variant.empty()) platform.variant = "v7";
  if (architecture == "arm" && platform.variant.size() == 1)
    platform.variant = "v" + platform.variant;
  return platform;
}

// 1 to 9 for "v1" to "v9", 0 for others.
int VariantRank(std::string_view variant) {
  if (variant.size() != 2 || variant[0] != 'v' || variant[1] < '1' || variant[1] > '9') return 0;
  return variant[1] - '0';
}

}  // namespace

Result<Platform> ParsePlatform(std::string_view text) {
  const Error wrong{Code::kInvalid, "\"" + std::string(text.substr(0, 100)) +
                                        "\" is no platform; write one like linux/amd64"};
  std::vector<std::string> parts;
  std::string_view rest = text;
  for (;;) {
    const auto slash = rest.find('/');
    const auto part = rest.substr(0, slash);
    const bool plain = std::all_of(part.begin(), part.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-' || c == '.';
    });
    if (part.empty() || part.size() > 64 || !plain || parts.size() == 3) return wrong;
    parts.emplace_back(part);
    if (slash == std::string_view::npos) break;
    rest.remove_prefix(slash + 1);
  }
  if (parts.size() == 1) return Normal({"linux", parts[0], ""});
  return Normal({parts[0], parts[1], parts.size() == 3 ? parts[2] : ""});
}

std::string ToString(const Platform& platform) {
  std::string text = platform.os + "/" + platform.architecture;
  if (!platform.variant.empty()) text += "/" + platform.variant;
  return text;
}

Result<Manifest> ParseManifest(std::string_view body) {
  auto json = ParseJson(body, kManifestBytesMax);
  if (!json) return json.error().In("a manifest");
  if (!json->is_object()) return Error{Code::kInvalid, "a manifest must be a JSON object"};
  return ReadManifest(*json);
}

std::map<std::string, std::string> GcLabels(const Manifest& manifest) {
  std::map<std::string, std::string> labels;
  std::map<std::string_view, int> counts;
  for (const auto& child : manifest.children) {
    const auto key = LabelOf(child);
    const int number = counts[key]++;
    const bool numbered = key.ends_with('.') || number > 0;
    labels[std::string(key) + (numbered ? std::to_string(number) : "")] = child.digest_text;
  }
  return labels;
}

const Descriptor* ChoosePlatform(const Manifest& index, const Platform& host) {
  const Platform wanted = Normal(host);
  const Descriptor* best = nullptr;
  int best_rank = -1;
  for (const auto& child : index.children) {
    if (!child.digest || !child.platform) continue;
    const Platform platform = Normal(*child.platform);
    if (platform.os != wanted.os || platform.architecture != wanted.architecture) continue;
    const int rank = platform.variant == wanted.variant ? 100 : VariantRank(platform.variant);
    const bool runs = rank == 100 || rank <= VariantRank(wanted.variant);
    if (runs && rank > best_rank) {
      best = &child;
      best_rank = rank;
    }
  }
  if (best != nullptr || index.children.size() != 1) return best;
  // An index of one image that does not say for what: builders for one platform write these.
  const auto& only = index.children.front();
  return only.digest && !only.platform ? &only : nullptr;
}

}  // namespace shoal::proxy
