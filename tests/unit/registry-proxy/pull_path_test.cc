#include "registry-proxy/pull_path.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "registry-proxy/names.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

const std::string kHex(64, 'a');
const std::string kPathSha = "sha256:" + kHex;

PullRequest Good(const std::string& target) {
  auto parsed = ParsePull(target);
  const auto* error = std::get_if<OciError>(&parsed);
  EXPECT_EQ(error, nullptr) << target << ": " << (error ? error->message : "");
  return error != nullptr ? PullRequest{} : std::get<PullRequest>(parsed);
}

OciError Bad(const std::string& target) {
  auto parsed = ParsePull(target);
  const auto* error = std::get_if<OciError>(&parsed);
  EXPECT_NE(error, nullptr) << target;
  return error != nullptr ? *error : OciError{};
}

TEST(PullPathTest, NamesTheRegistryByNsPrefixOrDockerHub) {
  struct Row {
    std::string target, registry, repository;
    bool has_ns;
  };
  const Row rows[] = {
      {"/v2/library/nginx/manifests/latest?ns=docker.io", "docker.io", "library/nginx", true},
      {"/v2/test/small/manifests/v1?ns=reg.test%3A5000", "reg.test:5000", "test/small", true},
      {"/v2/nginx/manifests/latest", "docker.io", "library/nginx", false},
      {"/v2/user/app/manifests/latest", "docker.io", "user/app", false},
      {"/v2/reg.test/a/b/c/manifests/latest", "reg.test", "a/b/c", false},
      {"/v2/reg:5000/app/manifests/latest", "reg:5000", "app", false},
      {"/v2/localhost/app/manifests/latest", "localhost", "app", false},
      {"/v2/docker.io/nginx/manifests/latest", "docker.io", "library/nginx", false},
      {"/v2/index.docker.io/nginx/manifests/latest", "docker.io", "library/nginx", false},
      {"/v2/REG.test/app/manifests/latest", "reg.test", "app", false},
      // With ns, what looks like a host is a part of the name.
      {"/v2/my.team/app/manifests/latest?ns=reg.test", "reg.test", "my.team/app", true},
      // A single component is a name, whatever it looks like.
      {"/v2/node.js/manifests/latest", "docker.io", "library/node.js", false},
      {"/v2/%5B::1%5D:5000/app/manifests/latest", "[::1]:5000", "app", false},
  };
  for (const auto& row : rows) {
    const auto request = Good(row.target);
    EXPECT_EQ(request.registry, row.registry) << row.target;
    EXPECT_EQ(request.repository, row.repository) << row.target;
    EXPECT_EQ(request.has_ns, row.has_ns) << row.target;
    EXPECT_EQ(request.kind, PullKind::kManifest);
  }
}

TEST(PullPathTest, TellsKindsAndReferencesApart) {
  EXPECT_EQ(Good("/v2/").kind, PullKind::kPing);
  EXPECT_EQ(Good("/v2").kind, PullKind::kPing);
  EXPECT_EQ(Good("/v2/?ns=reg.test").registry, "reg.test");

  const auto by_tag = Good("/v2/a/b/manifests/v1.0_x-y");
  EXPECT_EQ(by_tag.tag, "v1.0_x-y");
  EXPECT_FALSE(by_tag.digest);
  const auto by_digest = Good("/v2/a/b/manifests/" + kPathSha);
  EXPECT_EQ(ToString(*by_digest.digest), kPathSha);
  EXPECT_EQ(Good("/v2/a/b/manifests/sha256%3A" + kHex).digest, by_digest.digest);
  EXPECT_EQ(Good("/v2/a/b/blobs/" + kPathSha).kind, PullKind::kBlob);
  EXPECT_EQ(Good("/v2/a/b/tags/list?n=10&last=a%20b&junk=1").query, "n=10&last=a%20b");
  const auto referrers = Good("/v2/a/b/referrers/" + kPathSha + "?artifactType=x%2Fy&ns=r.io");
  EXPECT_EQ(referrers.kind, PullKind::kReferrers);
  EXPECT_EQ(referrers.query, "artifactType=x%2Fy");
  EXPECT_EQ(referrers.registry, "r.io");

  const std::string sha512 = "sha512:" + std::string(128, '0');
  const auto other = Good("/v2/a/b/blobs/" + sha512);
  EXPECT_FALSE(other.digest);
  EXPECT_EQ(other.other_digest, sha512);
}

TEST(PullPathTest, SplitsNamesThatHoldVerbsAtTheLastOne) {
  EXPECT_EQ(Good("/v2/blobs/manifests/manifests/v1").repository, "blobs/manifests");
  EXPECT_EQ(Good("/v2/a/manifests/b/blobs/" + kPathSha).repository, "a/manifests/b");
  EXPECT_EQ(Good("/v2/tags/list/tags/list").repository, "tags/list");
  EXPECT_EQ(Good("/v2/manifests/manifests/manifests").tag, "manifests");
}

TEST(PullPathTest, RefusesWhatIsMalformed) {
  struct Row {
    std::string target;
    int status;
    std::string code;
  };
  const Row rows[] = {
      {"/v2/A/b/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a//b/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/../b/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a/../../etc/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/%2e%2e/b/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a%2Fb/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a%00b/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a%zz/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a___b/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/-a/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a./manifests/v1", 400, "NAME_INVALID"},
      {"/v2/" + std::string(256, 'a') + "/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/reg.test:99999/a/manifests/v1", 400, "NAME_INVALID"},
      {"/v2/a/manifests/v1?ns=", 400, "NAME_INVALID"},
      {"/v2/a/manifests/v1?ns=http://x", 400, "NAME_INVALID"},
      {"/v2/a/manifests/v1?ns=x&ns=y", 400, "NAME_INVALID"},
      {"/v2/a/manifests/v1?ns=evil.test%0d%0aX:y", 400, "NAME_INVALID"},
      {"/v2/a/manifests/v1?ns=a/../b", 400, "NAME_INVALID"},
      {"/v2/a/manifests/" + std::string(129, 'a'), 400, "MANIFEST_INVALID"},
      {"/v2/a/manifests/.x", 400, "MANIFEST_INVALID"},
      {"/v2/a/manifests/", 400, "MANIFEST_INVALID"},
      {"/v2/a/manifests/sha256:abc", 400, "DIGEST_INVALID"},
      {"/v2/a/blobs/latest", 400, "DIGEST_INVALID"},
      {"/v2/a/blobs/sha256:" + std::string(64, 'A'), 400, "DIGEST_INVALID"},
      {"/v2/a/referrers/x", 400, "DIGEST_INVALID"},
      {"/v2/a/blobs/uploads/", 405, "UNSUPPORTED"},
      {"/v2/a/blobs/uploads/123", 405, "UNSUPPORTED"},
      {"/v2/a/blobs/uploads", 405, "UNSUPPORTED"},
      {"/v2/_catalog", 404, "UNSUPPORTED"},
      {"/", 404, "UNSUPPORTED"},
      {"", 404, "UNSUPPORTED"},
      {"/v1/x", 404, "UNSUPPORTED"},
      {"/v2/manifests/v1", 404, "UNSUPPORTED"},
      {"/v2/a/tags/other", 404, "UNSUPPORTED"},
      {"/v2/a/manifests/" + std::string(9000, 'a'), 400, "NAME_INVALID"},
  };
  for (const auto& row : rows) {
    const auto error = Bad(row.target);
    EXPECT_EQ(error.status, row.status) << row.target;
    EXPECT_EQ(error.code, row.code) << row.target;
    EXPECT_FALSE(error.message.empty());
  }
}

TEST(PullPathTest, MutatedTargetsAreRefusedOrSafe) {
  Rng rng(1);
  const std::string seeds[] = {"/v2/reg.test:5000/a/b/manifests/v1?ns=docker.io&n=1",
                               "/v2/library/nginx/blobs/" + kPathSha + "?ns=reg%3A5000",
                               "/v2/a/referrers/" + kPathSha + "?artifactType=a%2Fb"};
  for (int i = 0; i < Rounds(50'000); ++i) {
    std::string target = seeds[rng.Below(3)];
    for (std::uint64_t n = rng.Below(6); n > 0 && !target.empty(); --n) {
      const auto at = rng.Below(target.size());
      switch (rng.Below(3)) {
        case 0:
          target[at] = static_cast<char>(rng.Below(256));
          break;
        case 1:
          target.erase(at, 1 + rng.Below(4));
          break;
        default:
          target.insert(at, 1, "/%.:?&=-_@2F"[rng.Below(12)]);
      }
    }
    auto parsed = ParsePull(target);
    const auto* request = std::get_if<PullRequest>(&parsed);
    if (request == nullptr || request->kind == PullKind::kPing) continue;
    ASSERT_TRUE(IsRegistry(request->registry)) << target;
    ASSERT_TRUE(IsRepository(request->repository)) << target;
    ASSERT_TRUE(request->tag.empty() || IsTag(request->tag)) << target;
  }
}

}  // namespace
}  // namespace shoal::proxy
