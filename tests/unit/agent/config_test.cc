#include "agent/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace shoal::agent {
namespace {

std::string ErrorOf(std::string_view toml) {
  auto config = ParseConfig(toml, "test.toml");
  return config ? "" : config.error().text;
}

TEST(ConfigTest, HasADefaultForEveryKey) {
  auto config = ParseConfig("", "test.toml");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->mirror.listen, "127.0.0.1:7380");
  EXPECT_EQ(config->peer.listen, "0.0.0.0:7381");
  EXPECT_EQ(config->agent.admin, "127.0.0.1:7382");
  EXPECT_EQ(config->index.use, std::vector<std::string>{"lan"});
  EXPECT_FALSE(config->room.open);
  EXPECT_EQ(config->store.max, Bytes(std::int64_t{20} << 30));
  EXPECT_EQ(config->fetch.stall, std::chrono::milliseconds(500));
}

TEST(ConfigTest, ReadsWhatTheFileSays) {
  auto config = ParseConfig(R"(
[agent]
name = "a"
[index]
use = ["static"]
static = ["10.0.0.1:7381", "[::1]:7381"]
[store]
max = "1GiB"
containerd = ""
[room]
open = true
[[registry]]
host = "reg.test:5000"
url = "http://10.0.0.9:5000"
tag_ttl = "5s"
connections = 3
[[replicate]]
images = ["reg.test:5000/*"]
copies = "all"
[[share]]
repositories = ["reg.test:5000/a/*", "reg.test:5000/base"]
room = "team-a"
)",
                            "test.toml");
  ASSERT_TRUE(config.ok()) << config.error().text;
  EXPECT_EQ(config->agent.name, "a");
  EXPECT_EQ(config->index.fixed.size(), 2U);
  EXPECT_EQ(config->store.containerd, "");
  EXPECT_TRUE(config->room.open);
  ASSERT_EQ(config->registries.size(), 1U);
  EXPECT_EQ(config->registries[0].tag_ttl, std::chrono::seconds(5));
  EXPECT_EQ(config->registries[0].connections, 3);
  ASSERT_EQ(config->replicate.size(), 1U);
  ASSERT_EQ(config->shares.size(), 1U);
  EXPECT_EQ(config->shares[0].repositories.size(), 2U);
  EXPECT_EQ(config->shares[0].room, "team-a");
  const auto again = ParseConfig(ShowConfig(*config), "shown");
  ASSERT_TRUE(again.ok()) << again.error().text;
  EXPECT_EQ(again->shares[0].repositories, config->shares[0].repositories);
  EXPECT_EQ(again->shares[0].room, config->shares[0].room);
}

TEST(ConfigTest, AShareNeedsARoomAndRepositories) {
  EXPECT_NE(ErrorOf("[[share]]\nrepositories = [\"a/*\"]\n").find("share.room"), std::string::npos);
  EXPECT_NE(ErrorOf("[[share]]\nroom = \"a\"\n").find("repositories"), std::string::npos);
  EXPECT_NE(ErrorOf("[[share]]\nroom = \"A B\"\nrepositories = [\"a\"]\n").find("share.room"),
            std::string::npos);
  EXPECT_NE(ErrorOf("[[share]]\nrepository = []\n").find("\"repositories\""), std::string::npos);
}

TEST(ConfigTest, NamesTheNearestKeyForAnUnknownOne) {
  EXPECT_EQ(ErrorOf("[mirror]\nlisten_on = \"x\"\n"),
            "test.toml: there is no key \"mirror.listen_on\"; did you mean \"mirror.listen\"?");
  EXPECT_NE(ErrorOf("[store]\nmaximum = \"1GiB\"\n").find("store.max"), std::string::npos);
  EXPECT_NE(ErrorOf("[[registry]]\nhosts = \"a\"\n").find("\"host\""), std::string::npos);
}

TEST(ConfigTest, RefusesWrongTypesAndValues) {
  for (const char* value : {"-1", "1001", "\"4\""}) {
    EXPECT_NE(ErrorOf("[[registry]]\nhost = \"r.test\"\nconnections = " + std::string(value) + "\n")
                  .find("connections must be a number from 0"),
              std::string::npos);
  }
  EXPECT_EQ(ErrorOf("[room]\nopen = \"yes\"\n"),
            "test.toml: room.open: the value must be true or false");
  EXPECT_NE(ErrorOf("[fetch]\nstall = \"soon\"\n").find("write one like \"500ms\""),
            std::string::npos);
  EXPECT_NE(ErrorOf("[fetch]\npiece = \"100001\"\n").find("multiple of 64"), std::string::npos);
  EXPECT_NE(ErrorOf("[mirror]\nlisten = \"nowhere\"\n"), "");
  EXPECT_NE(ErrorOf("[agent]\nlog_level = \"loud\"\n").find("one of trace, debug"),
            std::string::npos);
  EXPECT_NE(ErrorOf("[agent\n").find("line 1"), std::string::npos);
  for (const char* group : {"10.0.0.1:7385", "[ff02::1]:7385", "lan:7385", "239.255.73.80"}) {
    EXPECT_NE(ErrorOf("[lan]\ngroup = \"" + std::string(group) + "\"\n").find("lan.group"),
              std::string::npos)
        << group;
  }
  for (const char* group :
       {"239.255.73.80:7385", "[fd00::1]:7385", "lan:7385", "[ff15::1]", "[ff02::1]:1"}) {
    EXPECT_NE(ErrorOf("[lan]\ngroup6 = \"" + std::string(group) + "\"\n").find("lan.group6"),
              std::string::npos)
        << group;
  }
  EXPECT_EQ(ErrorOf("[lan]\ngroup6 = \"\"\n"), "");
  for (const char* name : {"", "a b", "-a", "a-", "a..b", "../x"}) {
    EXPECT_NE(
        ErrorOf("[store]\nnamespace = \"" + std::string(name) + "\"\n").find("store.namespace"),
        std::string::npos)
        << name;
  }
  EXPECT_EQ(ErrorOf("[store]\nnamespace = \"my_ns-2.x\"\n"), "");
  EXPECT_NE(ErrorOf("[[registry]]\nurl = \"http://a\"\n").find("host"), std::string::npos);
}

TEST(ConfigTest, TakesServersToFederateWithAsAgentsNameThem) {
  EXPECT_EQ(ErrorOf("[rendezvous]\nfederate = []\n"), "");
  EXPECT_EQ(ErrorOf("[rendezvous]\nfederate = [\"https://a:1\", \"https://b:2#" +
                    std::string(64, 'a') + "\"]\n"),
            "");
  EXPECT_NE(ErrorOf("[rendezvous]\nfederate = [\"a:1\"]\n").find("federate"), std::string::npos);
}

TEST(ConfigTest, ReadsLimits) {
  const auto config = ParseConfig(
      "[limits]\nupload_rate = \"100Mbit/s\"\ndownload_rate = \"12MiB/s\"\n"
      "upload_slots = 7\n",
      "test");
  ASSERT_TRUE(config.ok()) << config.error().text;
  EXPECT_EQ(config->limits.upload_rate, Bytes(12'500'000));
  EXPECT_EQ(config->limits.upload_slots, 7);
  EXPECT_EQ(config->limits.download_rate, Bytes(12 << 20));
  EXPECT_EQ(ErrorOf("[limits]\nupload_rate = \"0\"\n"), "");
  EXPECT_NE(ErrorOf("[limits]\nupload_rate = \"100\"\n").find("write one like"), std::string::npos);
  EXPECT_NE(ErrorOf("[limits]\ndownload_rate = \"1kbit/s\"\n").find("from 64KiB/s"),
            std::string::npos);
}

TEST(ConfigTest, ReadsHowToRelay) {
  const auto config = ParseConfig(
      "[relay]\nuse = false\nserve = false\nslots = 3\nrate = \"0\"\ntime = \"2h\"\n", "test");
  ASSERT_TRUE(config.ok()) << config.error().text;
  EXPECT_FALSE(config->relay.use);
  EXPECT_FALSE(config->relay.serve);
  EXPECT_EQ(config->relay.slots, 3);
  EXPECT_EQ(config->relay.rate, Bytes(0));
  EXPECT_EQ(config->relay.time, std::chrono::hours(2));
  EXPECT_NE(ErrorOf("[relay]\nslots = 0\n").find("from 1 to 256"), std::string::npos);
  EXPECT_NE(ErrorOf("[relay]\ntime = \"100ms\"\n").find("from 1s"), std::string::npos);
}

TEST(ConfigTest, TimesOfRegistrationsFitTogether) {
  EXPECT_EQ(ErrorOf("[rendezvous]\nttl_min = \"10s\"\nttl_default = \"10s\"\nttl_max = \"10s\"\n"),
            "");
  EXPECT_NE(ErrorOf("[rendezvous]\nttl_max = \"1h\"\n").find("ttl_default"), std::string::npos);
  EXPECT_NE(ErrorOf("[rendezvous]\nttl_min = \"3h\"\n").find("ttl_default"), std::string::npos);
  EXPECT_NE(ErrorOf("[rendezvous]\nttl_max = \"73h\"\n").find("72h"), std::string::npos);
}

TEST(ConfigTest, AsksForWhatAnIndexNeeds) {
  EXPECT_EQ(ErrorOf("[index]\nuse = [\"static\"]\n"), "");  // others may list us
  EXPECT_NE(ErrorOf("[index]\nuse = [\"rendezvous\"]\n").find("index.rendezvous"),
            std::string::npos);
}

TEST(ConfigTest, ShowsWhatItReadsBack) {
  auto config = ParseConfig(R"(
[agent]
name = "quote\" and \\"
[index]
use = ["lan", "static"]
static = ["h:1"]
[[registry]]
host = "r"
username = "u"
insecure = true
)",
                            "test.toml");
  ASSERT_TRUE(config.ok()) << config.error().text;
  const std::string shown = ShowConfig(*config);
  auto again = ParseConfig(shown, "shown");
  ASSERT_TRUE(again.ok()) << again.error().text;
  EXPECT_EQ(ShowConfig(*again), shown);
  EXPECT_EQ(again->agent.name, "quote\" and \\");
}

TEST(ConfigTest, LaterSourcesWin) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("shoal-config-test-" + std::to_string(getpid()) + ".toml");
  std::ofstream(path)
      << "[agent]\nname = \"file\"\nlog_level = \"warn\"\n[fetch]\nstall = \"1s\"\n";
  ConfigSources sources;
  sources.path = path;
  sources.path_given = true;
  sources.environment = {{"SHOAL_AGENT_NAME", "env"}, {"SHOAL_INDEX_USE", "lan"}};
  sources.sets = {"agent.name=set", "room.open=true"};
  auto config = LoadConfig(sources);
  std::filesystem::remove(path);
  ASSERT_TRUE(config.ok()) << config.error().text;
  EXPECT_EQ(config->agent.name, "set");
  EXPECT_EQ(config->agent.log_level, "warn");
  EXPECT_EQ(config->fetch.stall, std::chrono::seconds(1));
  EXPECT_TRUE(config->room.open);
}

TEST(ConfigTest, RefusesAnAskedForFileThatIsNotThere) {
  ConfigSources sources;
  sources.path = "/nonexistent/shoal.toml";
  EXPECT_TRUE(LoadConfig(sources).ok());
  sources.path_given = true;
  auto config = LoadConfig(sources);
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().text.find("/nonexistent/shoal.toml"), std::string::npos);
}

TEST(ConfigTest, SaysWhyAFileCannotBeLookedAt) {
  ConfigSources sources;
  sources.path = "/tmp/" + std::string(300, 'x');  // no file system takes so long a name
  const auto config = LoadConfig(sources);
  ASSERT_FALSE(config.ok());
  EXPECT_NE(config.error().text.find("too long"), std::string::npos);
}

TEST(ConfigTest, RefusesUnknownVariablesAndSets) {
  ConfigSources sources;
  sources.path = "/nonexistent/shoal.toml";
  sources.environment = {{"SHOAL_AGENT_NAMES", "x"}};
  EXPECT_NE(LoadConfig(sources).error().text.find("SHOAL_AGENT_NAME"), std::string::npos);
  sources.environment = {{"SHOAL_HOME", "x"}, {"SHOAL_PORT_7380_TCP", "x"}};
  EXPECT_TRUE(LoadConfig(sources).ok());
  sources.environment.clear();
  sources.sets = {"agent.nane=x"};
  EXPECT_NE(LoadConfig(sources).error().text.find("agent.name"), std::string::npos);
  sources.sets = {"agent.name"};
  EXPECT_NE(LoadConfig(sources).error().text.find("section.key=value"), std::string::npos);
}

}  // namespace
}  // namespace shoal::agent
