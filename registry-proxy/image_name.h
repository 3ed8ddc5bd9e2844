// ImageName: what people type, made whole: "nginx" is docker.io/library/nginx:latest.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace shoal::proxy {

struct ImageName {
  std::string registry;    // "docker.io"
  std::string repository;  // "library/nginx"
  std::string tag;         // "" when only a digest was given
  std::optional<Digest> digest;
  bool operator==(const ImageName&) const = default;

  // What to ask the registry for: the digest if there is one, else the tag.
  [[nodiscard]] std::string Reference() const;
};

// Takes "nginx", "nginx:1.25", "user/app", "reg.example:5000/a/b@sha256:...", and both tag and
// digest. The tag is "latest" when neither is given.
//
// Errors  kInvalid with a text that says what to mend; kUnsupported for digests but sha256.
Result<ImageName> ParseImageName(std::string_view text);

// The whole name, as containerd writes it: "docker.io/library/nginx:latest".
std::string ToString(const ImageName& name);

}  // namespace shoal::proxy
