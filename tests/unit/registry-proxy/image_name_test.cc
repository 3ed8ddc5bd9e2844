#include "registry-proxy/image_name.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "registry-proxy/names.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

const std::string kSha = "sha256:" + std::string(64, 'a');

TEST(ImageNameTest, MakesNamesWhole) {
  const std::pair<std::string, std::string> rows[] = {
      {"nginx", "docker.io/library/nginx:latest"},
      {"nginx:1.25", "docker.io/library/nginx:1.25"},
      {"user/app", "docker.io/user/app:latest"},
      {"docker.io/nginx", "docker.io/library/nginx:latest"},
      {"index.docker.io/nginx", "docker.io/library/nginx:latest"},
      {"localhost/app", "localhost/app:latest"},
      {"reg:5000/a/b", "reg:5000/a/b:latest"},
      {"reg.example/a/b/c:v1", "reg.example/a/b/c:v1"},
      {"Reg.Example/a", "reg.example/a:latest"},
      {"nginx@" + kSha, "docker.io/library/nginx@" + kSha},
      {"reg:5000/a/b:v1@" + kSha, "reg:5000/a/b:v1@" + kSha},
      {"[::1]:5000/app", "[::1]:5000/app:latest"},
  };
  for (const auto& [text, whole] : rows) {
    const auto name = ParseImageName(text);
    ASSERT_TRUE(name.ok()) << text << ": " << name.error().text;
    EXPECT_EQ(ToString(*name), whole);
    EXPECT_EQ(*ParseImageName(whole), *name);
  }
  EXPECT_EQ(ParseImageName("a:b@" + kSha)->Reference(), kSha);
  EXPECT_EQ(ParseImageName("a:b")->Reference(), "b");
}

TEST(ImageNameTest, SaysWhatToMend) {
  const std::pair<std::string, std::string> rows[] = {
      {"", "write one like"},
      {"https://reg/a", "leave out the https://"},
      {"Nginx", "lower case"},
      {"nginx:", "a tag is"},
      {"nginx:-x", "a tag is"},
      {"nginx@sha256:123", "64 lower-case hex"},
      {"reg.x:70000/a", "host:port"},
      {"a b", "a repository is"},
      {"reg.example/", "a repository is"},
      {"a/../b", "a repository is"},
      {"nginx\n", "a repository is"},
      {std::string(1000, 'a'), "too long"},
  };
  for (const auto& [text, hint] : rows) {
    const auto name = ParseImageName(text);
    ASSERT_FALSE(name.ok()) << text;
    EXPECT_EQ(name.error().code, Code::kInvalid);
    EXPECT_NE(name.error().text.find(hint), std::string::npos) << name.error().text;
  }
  EXPECT_EQ(ParseImageName("a@sha512:" + std::string(128, '0')).error().code, Code::kUnsupported);
}

TEST(ImageNameTest, WhatItTakesIsStableUnderMutation) {
  Rng rng(4);
  for (int i = 0; i < Rounds(50'000); ++i) {
    std::string text =
        rng.Below(2) == 0 ? "reg.test:5000/team/app:v1.2@" + kSha : "user/app:latest";
    for (std::uint64_t n = rng.Below(5); n > 0 && !text.empty(); --n) {
      const auto at = rng.Below(text.size());
      if (rng.Below(2) == 0) {
        text[at] = static_cast<char>(rng.Below(256));
      } else {
        text.erase(at, 1 + rng.Below(3));
      }
    }
    const auto name = ParseImageName(text);
    if (!name.ok()) continue;
    ASSERT_TRUE(IsRegistry(name->registry) && IsRepository(name->repository)) << text;
    const auto again = ParseImageName(ToString(*name));
    ASSERT_TRUE(again.ok()) << text;
    ASSERT_EQ(*again, *name) << text;
  }
}

}  // namespace
}  // namespace shoal::proxy
