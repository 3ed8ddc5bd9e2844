#include "agent/hosts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace shoal::agent {
namespace {

namespace fs = std::filesystem;

class HostsTest : public testing::Test {
 protected:
  HostsTest() {
    static int count = 0;
    root_ = fs::temp_directory_path() /
            ("shoal-hosts-test-" + std::to_string(getpid()) + "-" + std::to_string(count++));
    fs::create_directories(root_);
    options_.config = root_ / "config.toml";
    options_.certs = root_ / "certs.d";
  }
  ~HostsTest() override { fs::remove_all(root_); }

  std::string Read(const fs::path& name) const {
    std::ifstream file(root_ / name);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  void Write(const fs::path& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }

  fs::path root_;
  HostsOptions options_;
};

TEST_F(HostsTest, InstallsForAllRegistriesAndPointsContainerdThere) {
  ASSERT_TRUE(InstallHosts(options_).ok());
  const std::string hosts = Read("certs.d/_default/hosts.toml");
  EXPECT_NE(hosts.find("[host.\"http://127.0.0.1:7380\"]"), std::string::npos);
  EXPECT_NE(Read("config.toml").find("config_path = \"" + options_.certs), std::string::npos);
}

TEST_F(HostsTest, RemoveLeavesEverythingAsItWas) {
  const std::string config = "version = 2\n[plugins]\n";
  const std::string theirs = "server = \"https://other\"\n[host.\"https://other\"]\n";
  Write("config.toml", config);
  Write("certs.d/docker.io/hosts.toml", theirs);
  options_.registries = {"docker.io"};
  ASSERT_TRUE(InstallHosts(options_).ok());
  EXPECT_NE(Read("certs.d/docker.io/hosts.toml"), theirs);
  ASSERT_TRUE(InstallHosts(options_).ok());  // twice keeps the first backup
  options_.registries.clear();
  ASSERT_TRUE(RemoveHosts(options_).ok());
  EXPECT_EQ(Read("certs.d/docker.io/hosts.toml"), theirs);
  EXPECT_EQ(Read("config.toml"), config);
}

TEST_F(HostsTest, RemoveDoesNotTouchWhatOthersWrote) {
  Write("certs.d/quay.io/hosts.toml", "[host.\"https://m\"]\n");
  auto lines = RemoveHosts(options_);
  ASSERT_TRUE(lines.ok());
  EXPECT_EQ(lines->front(), "nothing of ours is there");
  EXPECT_EQ(Read("certs.d/quay.io/hosts.toml"), "[host.\"https://m\"]\n");
}

TEST_F(HostsTest, UsesTheConfigPathThatContainerdHas) {
  Write("config.toml",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"" +
            (root_ / "mine").string() + "\"\n");
  const std::string before = Read("config.toml");
  ASSERT_TRUE(InstallHosts(options_).ok());
  EXPECT_TRUE(fs::exists(root_ / "mine/_default/hosts.toml"));
  EXPECT_EQ(Read("config.toml"), before);
}

TEST_F(HostsTest, RemoveTakesAwayAConfigThatItMade) {
  ASSERT_TRUE(InstallHosts(options_).ok());
  EXPECT_NE(Read("config.toml").find("version = 2"), std::string::npos);
  ASSERT_TRUE(RemoveHosts(options_).ok());
  EXPECT_FALSE(fs::exists(options_.config));
}

TEST_F(HostsTest, RefusesAConfigThatItCannotExtend) {
  Write("config.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  x = 1\n");
  auto lines = InstallHosts(options_);
  ASSERT_FALSE(lines.ok());
  EXPECT_NE(lines.error().text.find("by hand"), std::string::npos);
  EXPECT_FALSE(fs::exists(options_.certs));  // refused before anything was written
  Write("config.toml", "version = = 2\n");
  EXPECT_NE(InstallHosts(options_).error().text.find("is not TOML"), std::string::npos);
}

TEST_F(HostsTest, RefusesNamesThatAreNoRegistry) {
  for (const char* name : {"../x", "a/b", "", ".hidden"}) {
    options_.registries = {name};
    EXPECT_FALSE(InstallHosts(options_).ok()) << name;
  }
}

TEST_F(HostsTest, ShowsWhatGoesThroughTheMirror) {
  ASSERT_TRUE(InstallHosts(options_).ok());
  Write("certs.d/quay.io/hosts.toml", "[host.\"https://m\"]\n");
  auto lines = ShowHosts(options_);
  ASSERT_TRUE(lines.ok());
  ASSERT_EQ(lines->size(), 3U);
  EXPECT_EQ((*lines)[1], "_default: through the mirror");
  EXPECT_EQ((*lines)[2], "quay.io: configured by somebody else");
}

}  // namespace
}  // namespace shoal::agent
