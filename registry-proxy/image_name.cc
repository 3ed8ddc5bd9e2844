#include "registry-proxy/image_name.h"

#include <algorithm>

#include "registry-proxy/names.h"

namespace shoal::proxy {
namespace {

Error Wrong(std::string_view text, std::string_view why) {
  std::string shown(text.substr(0, 300));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) > 0x7e) c = '?';
  }
  return Error{Code::kInvalid, "\"" + shown + "\" is no image name: " + std::string(why)};
}

bool HasCapital(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

}  // namespace

std::string ImageName::Reference() const { return digest ? ToString(*digest) : tag; }

Result<ImageName> ParseImageName(std::string_view text) {
  constexpr std::size_t kTextBytesMax = kNameBytesMax + kTagBytesMax + 200;
  if (text.empty()) return Wrong(text, "it is empty; write one like nginx:1.25");
  if (text.size() > kTextBytesMax) return Wrong(text, "it is too long");
  if (text.find("://") != std::string_view::npos) {
    return Wrong(text, "leave out the https://, as in reg.example/app:1");
  }
  ImageName name;
  std::string_view rest = text;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    auto digest = ParseDigest(rest.substr(at + 1));
    if (!digest && digest.error().code == Code::kUnsupported) return digest.error();
    if (!digest) return Wrong(text, "after @ comes sha256: and 64 lower-case hex digits");
    name.digest = *digest;
    rest = rest.substr(0, at);
  }
  const auto last_slash = rest.rfind('/');
  const auto colon = rest.rfind(':');
  if (colon != std::string_view::npos &&
      (last_slash == std::string_view::npos || colon > last_slash)) {
    name.tag = rest.substr(colon + 1);
    if (!IsTag(name.tag)) {
      return Wrong(text, "a tag is at most 128 letters, digits, _ . - and starts with none of . -");
    }
    rest = rest.substr(0, colon);
  } else if (!name.digest) {
    name.tag = "latest";
  }
  std::string_view registry = kDockerHub;
  if (const auto slash = rest.find('/');
      slash != std::string_view::npos && LooksLikeRegistry(rest.substr(0, slash))) {
    registry = rest.substr(0, slash);
    rest = rest.substr(slash + 1);
    if (!IsRegistry(registry)) return Wrong(text, "its registry is no host or host:port");
  }
  if (!IsRepository(rest)) {
    if (HasCapital(rest)) return Wrong(text, "write the repository in lower case");
    return Wrong(text, "a repository is letters and digits joined by . _ - /");
  }
  name.registry = NormalRegistry(registry);
  name.repository = NormalRepository(name.registry, rest);
  if (name.registry.size() + 1 + name.repository.size() > kNameBytesMax) {
    return Wrong(text, "registry and repository together are over 255 bytes");
  }
  return name;
}

std::string ToString(const ImageName& name) {
  std::string text = name.registry + "/" + name.repository;
  if (!name.tag.empty()) text += ":" + name.tag;
  if (name.digest) text += "@" + ToString(*name.digest);
  return text;
}

}  // namespace shoal::proxy
