// What a runtime asks the mirror for. Source: OCI distribution specification 1.1, "Endpoints";
// containerd's `ns`; docs/clients of podman and Docker for the path forms.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/digest.h"
#include "registry-proxy/errors.h"

namespace shoal::proxy {

inline constexpr std::size_t kTargetBytesMax = 8 << 10;

enum class PullKind {
  kPing,       // /v2/
  kManifest,   // /v2/<name>/manifests/<reference>
  kBlob,       // /v2/<name>/blobs/<digest>
  kReferrers,  // /v2/<name>/referrers/<digest>
  kTags,       // /v2/<name>/tags/list
};

struct PullRequest {
  PullKind kind = PullKind::kPing;
  std::string registry;    // normal form; "" for a ping without ns
  std::string repository;  // normal form
  bool has_ns = false;     // the answer then bears OCI-Namespace
  // Exactly one of the three is set for a manifest, one of the last two for blobs and referrers.
  std::string tag;
  std::optional<Digest> digest;
  std::string other_digest;  // well formed, of an algorithm that shoal does not fetch: sha512:...
  // For kTags and kReferrers: n, last and artifactType, encoded anew, "" or "a=b&c=d".
  std::string query;
};

// target  path and query as sent. A first component that is a host names the registry, unless ns
//         does; else it is docker.io.
// Errors  400 NAME_INVALID, DIGEST_INVALID, MANIFEST_INVALID (a tag); 404 for other paths; 405 for
//         uploads.
std::variant<PullRequest, OciError> ParsePull(std::string_view target);

}  // namespace shoal::proxy
