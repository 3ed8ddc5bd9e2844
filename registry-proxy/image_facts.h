// ImageFacts: how large an image is and what it runs on, as its documents on this host say.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/digest.h"

namespace shoal::proxy {

inline constexpr std::size_t kConfigBytesMax = 1 << 20;  // runtimes refuse larger ones
// Platforms of one image that are looked at: some official images have ten.
inline constexpr int kPlatformsMax = 32;

struct ImageFacts {
  Bytes size;             // of all blobs of the platforms that are here, the manifests' too
  std::string platforms;  // "linux/amd64,linux/arm64", sorted; at most index::kPlatformsBytesMax
};

// The bytes of a document that is here; nullopt when it is not, or is longer than `bytes_max`.
using ReadDocument =
    std::function<std::optional<std::string>(const Digest& digest, std::size_t bytes_max)>;

// What is known of the image whose manifest or index is `top`. Of an index those platforms count
// whose manifests are here. nullopt when not even one manifest is, or none says a platform.
std::optional<ImageFacts> FactsOf(const Digest& top, const ReadDocument& read);

}  // namespace shoal::proxy
