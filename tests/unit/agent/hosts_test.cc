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
    options_.containers = root_ / "registries.conf.d/50-shoal.conf";
    options_.docker = root_ / "docker/daemon.json";
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

TEST_F(HostsTest, PodmanIsToldOfEachRegistry) {
  ASSERT_TRUE(InstallContainers(options_).ok());
  options_.registries = {"reg.example:5000"};
  ASSERT_TRUE(InstallContainers(options_).ok());
  const std::string text = Read("registries.conf.d/50-shoal.conf");
  EXPECT_NE(text.find("prefix = \"docker.io\"\nlocation = \"docker.io\"\n[[registry.mirror]]\n"
                      "location = \"127.0.0.1:7380/docker.io\"\ninsecure = true\n"),
            std::string::npos);
  EXPECT_NE(text.find("127.0.0.1:7380/reg.example:5000"), std::string::npos);
  EXPECT_EQ(InstallContainers(options_)->front(), options_.containers + " is in place already");
  EXPECT_EQ(ShowContainers(options_)->size(), 2U);
  ASSERT_TRUE(RemoveContainers(options_).ok());
  EXPECT_EQ(*ShowContainers(options_), std::vector<std::string>{"docker.io: through the mirror"});
  options_.registries.clear();
  ASSERT_TRUE(RemoveContainers(options_).ok());
  EXPECT_FALSE(fs::exists(options_.containers));
  EXPECT_EQ(RemoveContainers(options_)->front(), "nothing of ours is there");
}

TEST_F(HostsTest, APodmanFileOfOthersIsLeftAlone) {
  Write("registries.conf.d/50-shoal.conf", "[[registry]]\nprefix = \"x.io\"\n");
  EXPECT_FALSE(InstallContainers(options_).ok());
  EXPECT_FALSE(RemoveContainers(options_).ok());
  EXPECT_EQ(Read("registries.conf.d/50-shoal.conf"), "[[registry]]\nprefix = \"x.io\"\n");
  options_.registries = {"a\"b"};
  EXPECT_FALSE(InstallContainers(options_).ok());
}

TEST_F(HostsTest, DockersFileComesBackAsItWas) {
  const std::string theirs = "{ \"debug\": true,\n  \"registry-mirrors\": [\"https://m\"] }\n";
  Write("docker/daemon.json", theirs);
  ASSERT_TRUE(InstallDocker(options_).ok());
  ASSERT_TRUE(InstallDocker(options_).ok());  // twice is as good as once
  const std::string text = Read("docker/daemon.json");
  EXPECT_NE(text.find("[\"http://127.0.0.1:7380\",\"https://m\"]"), std::string::npos) << text;
  EXPECT_NE(text.find("\"debug\":true"), std::string::npos);
  EXPECT_EQ(ShowDocker(options_)->front(), "docker.io: through the mirror");
  ASSERT_TRUE(RemoveDocker(options_).ok());
  EXPECT_EQ(Read("docker/daemon.json"), theirs);
  EXPECT_FALSE(fs::exists(options_.docker + ".before-shoal"));
  EXPECT_EQ(RemoveDocker(options_)->front(), "nothing of ours is there");
}

TEST_F(HostsTest, WhatWasChangedInDockersFileMeanwhileStays) {
  Write("docker/daemon.json", "{}");
  ASSERT_TRUE(InstallDocker(options_).ok());
  Write("docker/daemon.json", "{\"registry-mirrors\":[\"http://127.0.0.1:7380\"],\"debug\":true}");
  ASSERT_TRUE(RemoveDocker(options_).ok());
  EXPECT_EQ(Read("docker/daemon.json"), "{\"debug\":true}\n");
}

TEST_F(HostsTest, ADockerFileThatWasNotThereIsTakenAway) {
  ASSERT_TRUE(InstallDocker(options_).ok());
  EXPECT_EQ(Read("docker/daemon.json"), "{\"registry-mirrors\":[\"http://127.0.0.1:7380\"]}\n");
  ASSERT_TRUE(RemoveDocker(options_).ok());
  EXPECT_FALSE(fs::exists(options_.docker));
  Write("docker/daemon.json", "{ not json");
  EXPECT_NE(InstallDocker(options_).error().text.find("daemon.json"), std::string::npos);
  Write("docker/daemon.json", "{\"registry-mirrors\":1}");
  EXPECT_FALSE(InstallDocker(options_).ok());
  options_.registries = {"quay.io"};
  EXPECT_NE(InstallDocker(options_).error().text.find("docker.io only"), std::string::npos);
}

}  // namespace
}  // namespace shoal::agent
