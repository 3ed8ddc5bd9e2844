#include "registry-proxy/pull_path.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "registry-proxy/names.h"

namespace shoal::proxy {
namespace {

constexpr std::size_t kParametersMax = 16;
constexpr std::size_t kParameterBytesMax = 512;

struct Query {
  std::optional<std::string> ns;
  std::string passed_on;
};

OciError UnknownPath() {
  return {404, "UNSUPPORTED", "no such path: this is a mirror of registries, below /v2/", ""};
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::variant<Query, OciError> ParseQuery(std::string_view text) {
  Query query;
  if (text.empty()) return query;
  const auto parameters = Split(text, '&');
  if (parameters.size() > kParametersMax) return NameInvalid("the query has over 16 parameters");
  for (const auto parameter : parameters) {
    const auto equals = parameter.find('=');
    const auto name = parameter.substr(0, equals);
    const auto raw =
        equals == std::string_view::npos ? std::string_view() : parameter.substr(equals + 1);
    const bool known = name == "ns" || name == "n" || name == "last" || name == "artifactType";
    if (!known) continue;  // others are for registries that know them
    auto value = PercentDecode(raw);
    if (!value || value->size() > kParameterBytesMax) {
      return NameInvalid("a parameter of the query is malformed or over 512 bytes");
    }
    if (name == "ns") {
      if (query.ns) return NameInvalid("ns is given twice");
      if (!IsRegistry(*value)) {
        return NameInvalid("ns must be host or host:port, as in ns=docker.io");
      }
      query.ns = NormalRegistry(*value);
      continue;
    }
    if (!query.passed_on.empty()) query.passed_on += '&';
    query.passed_on += std::string(name) + '=' + PercentEncode(*value);
  }
  return query;
}

// Sets registry and repository from the components before the verb.
std::optional<OciError> SetName(const std::vector<std::string>& components, std::size_t count,
                                const std::optional<std::string>& ns, PullRequest& request) {
  std::size_t first = 0;
  request.registry = ns.value_or(std::string(kDockerHub));
  if (!ns && count >= 2 && LooksLikeRegistry(components[0])) {
    if (!IsRegistry(components[0])) {
      return NameInvalid("the first part of the name is no host or host:port");
    }
    request.registry = NormalRegistry(components[0]);
    first = 1;
  }
  std::string repository;
  for (std::size_t i = first; i < count; ++i) {
    if (i > first) repository += '/';
    repository += components[i];
  }
  if (!IsRepository(repository)) {
    return NameInvalid("a repository's name is lower-case letters and digits, joined by . _ - /");
  }
  request.repository = NormalRepository(request.registry, repository);
  if (request.registry.size() + 1 + request.repository.size() > kNameBytesMax) {
    return NameInvalid("registry and repository together are over 255 bytes");
  }
  return std::nullopt;
}

// A digest of any algorithm: `algorithm:encoded`. Source: OCI image specification, descriptor.md.
bool IsDigestForm(std::string_view text) {
  const auto colon = text.find(':');
  return colon != std::string_view::npos && colon > 0;
}

std::optional<OciError> SetDigest(const std::string& text, PullRequest& request) {
  auto digest = ParseDigest(text);
  if (digest) {
    request.digest = *digest;
    return std::nullopt;
  }
  if (digest.error().code != Code::kUnsupported) {
    return DigestInvalid("a digest is sha256: and 64 lower-case hex digits");
  }
  request.other_digest = text;
  return std::nullopt;
}

std::optional<OciError> SetReference(const std::string& text, PullRequest& request) {
  if (request.kind != PullKind::kManifest || IsDigestForm(text)) return SetDigest(text, request);
  if (!IsTag(text)) {
    return ReferenceInvalid(
        "a tag is at most 128 letters, digits, _ . - and starts with none of . -");
  }
  request.tag = text;
  return std::nullopt;
}

}  // namespace

std::variant<PullRequest, OciError> ParsePull(std::string_view target) {
  if (target.size() > kTargetBytesMax) return NameInvalid("the request's target is over 8 KiB");
  const auto mark = target.find('?');
  const auto path = target.substr(0, mark);
  auto parsed = ParseQuery(mark == std::string_view::npos ? "" : target.substr(mark + 1));
  if (auto* error = std::get_if<OciError>(&parsed)) return *error;
  auto& query = std::get<Query>(parsed);

  PullRequest request;
  request.has_ns = query.ns.has_value();
  if (path == "/v2" || path == "/v2/") {
    request.registry = query.ns.value_or("");
    return request;
  }
  if (!path.starts_with("/v2/")) return UnknownPath();
  std::vector<std::string> components;
  for (const auto part : Split(path.substr(4), '/')) {
    auto decoded = PercentDecode(part);
    // An escaped slash would be another path to us than to the registry.
    if (!decoded || decoded->find('/') != std::string::npos) {
      return NameInvalid("the path has a malformed escape");
    }
    components.push_back(std::move(*decoded));
  }
  const std::size_t count = components.size();
  if (count >= 3 && components[count - 2] == "uploads" && components[count - 3] == "blobs") {
    return Unsupported("a mirror takes no uploads; push to the registry itself");
  }
  if (count < 3) return UnknownPath();
  const std::string& verb = components[count - 2];
  const std::string& reference = components[count - 1];
  if (verb == "manifests") {
    request.kind = PullKind::kManifest;
  } else if (verb == "blobs" && reference == "uploads") {
    return Unsupported("a mirror takes no uploads; push to the registry itself");
  } else if (verb == "blobs") {
    request.kind = PullKind::kBlob;
  } else if (verb == "referrers") {
    request.kind = PullKind::kReferrers;
  } else if (verb == "tags" && reference == "list") {
    request.kind = PullKind::kTags;
  } else {
    return UnknownPath();
  }
  if (auto error = SetName(components, count - 2, query.ns, request)) return *error;
  const bool lists = request.kind == PullKind::kTags || request.kind == PullKind::kReferrers;
  if (lists) request.query = std::move(query.passed_on);
  if (request.kind == PullKind::kTags) return request;
  if (auto error = SetReference(reference, request)) return *error;
  return request;
}

}  // namespace shoal::proxy
