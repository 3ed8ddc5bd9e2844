#include "registry-proxy/registries.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "registry-proxy/docker_config.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

RegistryConfig Config(const std::string& host, const std::string& url = "", bool insecure = false) {
  RegistryConfig config;
  config.host = host;
  config.url = url;
  config.insecure = insecure;
  return config;
}

TEST(RegistriesTest, DerivesUrls) {
  EXPECT_EQ(BaseUrl(Config("docker.io")), "https://registry-1.docker.io");
  EXPECT_EQ(BaseUrl(Config("reg.example:5000")), "https://reg.example:5000");
  EXPECT_EQ(BaseUrl(Config("reg.example", "", true)), "http://reg.example");
  EXPECT_EQ(BaseUrl(Config("localhost:5000")), "http://localhost:5000");
  EXPECT_EQ(BaseUrl(Config("127.0.0.1")), "http://127.0.0.1");
  EXPECT_EQ(BaseUrl(Config("[::1]:5000")), "http://[::1]:5000");
  EXPECT_EQ(BaseUrl(Config("127.evil.example")), "https://127.evil.example");
  EXPECT_EQ(BaseUrl(Config("localhost.example")), "https://localhost.example");
  EXPECT_EQ(BaseUrl(Config("r", "https://m.example/v2/")), "https://m.example");
}

TEST(RegistriesTest, FindsWhatIsConfiguredOrMakesDefaults) {
  const Registries registries({Config("Reg.Example", "http://10.0.0.1:5000")});
  EXPECT_EQ(BaseUrl(registries.Find("reg.example")), "http://10.0.0.1:5000");
  EXPECT_EQ(BaseUrl(registries.Find("other.example")), "https://other.example");
}

TEST(RegistriesTest, ChecksTheConfiguration) {
  EXPECT_TRUE(CheckConfig(Config("docker.io", "https://registry-1.docker.io")).ok());
  EXPECT_FALSE(CheckConfig(Config("https://docker.io")).ok());
  EXPECT_FALSE(CheckConfig(Config("")).ok());
  EXPECT_FALSE(CheckConfig(Config("r.io", "r.io:5000")).ok());
  EXPECT_FALSE(CheckConfig(Config("r.io", "ftp://r.io")).ok());
  EXPECT_FALSE(CheckConfig(Config("r.io", "https://")).ok());
}

TEST(DockerConfigTest, FindsCredentialsUnderEveryFormOfKey) {
  const auto config = DockerConfig::Parse(R"({
    "auths": {
      "https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNzd29yZA=="},
      "reg.example:5000": {"username": "u", "password": "p"},
      "https://other.example/v2/": {"auth": "dTpwOnE=", "identitytoken": "it"}
    }})");
  ASSERT_TRUE(config.ok()) << config.error().text;
  EXPECT_EQ(**config->Find("docker.io"), (Credentials{"user", "password", ""}));
  EXPECT_EQ(**config->Find("reg.example:5000"), (Credentials{"u", "p", ""}));
  EXPECT_EQ(**config->Find("other.example"), (Credentials{"u", "p:q", "it"}));
  EXPECT_FALSE(config->Find("none.example")->has_value());
}

TEST(DockerConfigTest, SaysThatHelpersAreNotRun) {
  const auto config = DockerConfig::Parse(
      R"({"auths":{"docker.io":{}},"credsStore":"desktop","credHelpers":{"gcr.io":"gcloud"}})");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->Find("docker.io").error().code, Code::kUnsupported);
  EXPECT_NE(config->Find("gcr.io").error().text.find("docker-credential-gcloud"),
            std::string::npos);
  EXPECT_FALSE(config->Find("other.example")->has_value());
}

TEST(DockerConfigTest, RefusesWhatIsMalformed) {
  for (const auto* bad : {"", "[]", R"({"auths":{"a":5}})", R"({"auths":{"a":{"auth":"!"}}})",
                          R"({"auths":{"a":{"auth":"YWJj"}}})"}) {
    EXPECT_FALSE(DockerConfig::Parse(bad).ok()) << bad;
  }
  EXPECT_TRUE(DockerConfig::Parse("{}").ok());
}

TEST(DockerConfigTest, MutatedFilesNeverCrash) {
  Rng rng(8);
  for (int i = 0; i < Rounds(20'000); ++i) {
    std::string text =
        R"({"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNzd29yZA=="}},"credsStore":"x"})";
    for (std::uint64_t n = rng.Below(6); n > 0; --n) {
      text[rng.Below(text.size())] = static_cast<char>(rng.Below(256));
    }
    const auto config = DockerConfig::Parse(text);
    if (config.ok()) static_cast<void>(config->Find("docker.io").ok());
  }
}

}  // namespace
}  // namespace shoal::proxy
