// Index servers that federate, over real connections.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <optional>

#include "agent/index_server.h"
#include "agent/index_status.h"
#include "index/net/io_thread.h"
#include "index/rendezvous/server_link.h"
#include "tests/unit/index/adapters/live_records.h"
#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/index/adapters/test_loop.h"

namespace shoal::agent {
namespace {

using namespace index;  // NOLINT: what is tested here is the index, behind its server

using std::chrono::seconds;
using testing::HasSubstr;

// Ports that nobody listens on, different ones.
std::vector<std::uint16_t> FreePorts(int count) {
  std::vector<int> sockets;
  std::vector<std::uint16_t> ports;
  for (int i = 0; i < count; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
    sockets.push_back(fd);
    ports.push_back(ntohs(address.sin_port));
  }
  for (const int fd : sockets) ::close(fd);
  return ports;
}

class FederatedServersTest : public testing::Test {
 protected:
  static constexpr int kFirst = 100;  // the servers' keys

  FederatedServersTest() : ports_(FreePorts(3)), servers_(3) {}

  void Serve(int n) {
    IndexServer::Options options;
    options.listen = {"127.0.0.1", ports_[n]};
    options.service.dir = dir_ / ("index" + std::to_string(n));
    options.service.pin_file = dir_ / ("pins" + std::to_string(n));
    // One list for all; each finds itself in it. The second is pinned, the others are met.
    for (int other = 0; other < 3; ++other) {
      options.service.federate.push_back(Url(other) +
                                         (other == 1 ? "#" + KeyNo(kFirst + 1).id().Hex() : ""));
    }
    options.service.federation.retry_max = seconds(1);
    auto server = IndexServer::Start(options, KeyNo(kFirst + n));
    ASSERT_TRUE(server.ok()) << server.error().text;
    servers_[n] = std::move(server).value();
  }
  [[nodiscard]] std::string Url(int n) const {
    return "https://127.0.0.1:" + std::to_string(ports_[n]);
  }

  ServerAnswer Ask(int n, const std::function<void(ServerLink&, ServerLink::OnAnswer)>& send) {
    ServerLink link({Url(n), std::nullopt}, "", *OwnCertificate::Make(KeyNo(50)), seconds(20));
    std::optional<Result<ServerAnswer>> got;
    send(link, [&](Result<ServerAnswer> answer) {
      loop_.Post([&, answer = std::move(answer)] { got = answer; });
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }));
    if (got && got->ok()) return **got;
    ADD_FAILURE() << (got ? got->error().text : "no answer");
    return {{RendezvousStatus::kInternalError, ""}, {}, {}, 0, "", {}};
  }
  void Change(RendezvousVerb verb, int n, int peer, std::vector<std::string> names) {
    const auto key = KeyNo(peer);
    const auto body = EncodeRequest(
        verb,
        {std::move(names), LiveRecord(key), seconds(300), std::max(ToUnixMs(WallNow()), sent_ + 1)},
        KeyNo(kFirst + n).id(), key);
    ++sent_;
    const auto answer = Ask(n, [&](ServerLink& to, ServerLink::OnAnswer done) {
      to.Change(verb, body, std::move(done));
    });
    EXPECT_TRUE(answer.error.ok()) << answer.error.text;
  }
  // The peers found, by number.
  std::vector<int> Discover(int n, const std::string& name) {
    const auto answer = Ask(n, [&](ServerLink& to, ServerLink::OnAnswer done) {
      to.Discover(name, 100, "", Duration(0), std::move(done));
    });
    std::vector<int> out;
    for (const auto& record : answer.records) {
      for (int peer = 0; peer < 20; ++peer) {
        if (KeyNo(peer).id() == record.id()) out.push_back(peer);
      }
    }
    return out;
  }
  // All of them work, as each of them sees it.
  [[nodiscard]] bool AllMeet() const {
    return std::ranges::all_of(servers_, [](const auto& server) {
      const auto others = server->service().servers();
      return others.size() == 3 && std::ranges::all_of(others, [](const auto& other) {
               return other.line.works && other.trouble.empty();
             });
    });
  }
  void StartAll() {
    for (int n = 0; n < 3; ++n) Serve(n);
    ASSERT_TRUE(loop_.RunUntil([&] { return AllMeet(); })) << Met();
  }
  // How each sees the others, for when they do not meet.
  [[nodiscard]] std::string Met() const {
    std::string out;
    for (const auto& server : servers_) {
      for (const auto& other : server->service().servers()) {
        out += other.line.url + (other.line.works ? " works " : " is away ") + other.trouble + "\n";
      }
    }
    return out;
  }

  TempDir dir_;
  std::vector<std::uint16_t> ports_;
  std::vector<std::unique_ptr<IndexServer>> servers_;
  std::int64_t sent_ = 0;
  TestLoop loop_;
};

TEST_F(FederatedServersTest, EachAnswersForAllAndSaysWhoIsWhere) {
  StartAll();
  Change(RendezvousVerb::kRegister, 0, 1, {"room/open", "blob/a"});
  Change(RendezvousVerb::kRegister, 2, 2, {"room/open"});
  for (int n = 0; n < 3; ++n) {
    ASSERT_TRUE(loop_.RunUntil([&] { return Discover(n, "room/open").size() == 2; })) << n;
  }
  Change(RendezvousVerb::kUnregister, 0, 1, {"room/open"});
  ASSERT_TRUE(loop_.RunUntil([&] { return Discover(1, "room/open") == std::vector{2}; }));
  EXPECT_EQ(Discover(1, "blob/a"), std::vector{1});

  const IndexStatus status(*servers_[1], KeyNo(kFirst + 1).id(), SteadyNow());
  const auto get = [&](const std::string& path, std::map<std::string, std::string> query = {}) {
    const auto reply = status.Answer({"GET", {"v1", path}, std::move(query), {}});
    EXPECT_EQ(reply.status, 200) << reply.body;
    return *ParseJson(reply.body, 1 << 20);
  };
  std::map<std::string, std::string> where;
  const auto peers = get("peers");
  for (const auto& peer : peers.as_array()) {
    where[peer.at("id").as_string()] = peer.at("server").as_string();
  }
  EXPECT_EQ(where.size(), 2U);
  EXPECT_EQ(where[KeyNo(1).id().Hex()], KeyNo(kFirst).id().Hex());
  EXPECT_EQ(where[KeyNo(2).id().Hex()], KeyNo(kFirst + 2).id().Hex());
  const auto first = get("peers", {{"limit", "1"}});
  ASSERT_EQ(first.size(), 1U);
  const auto rest = get("peers", {{"after", first.at(0).at("after").serialize()}, {"limit", "10"}});
  EXPECT_EQ(rest.size(), 1U);
  const auto servers = get("servers");
  ASSERT_EQ(servers.size(), 3U);
  EXPECT_EQ(servers.at(0).at("state").as_string(), "self");
  EXPECT_EQ(servers.at(1).at("state").as_string(), "works");
  EXPECT_EQ(status.Answer({"GET", {"v1", "peers"}, {{"after", "x"}}, {}}).status, 400);
  const auto metrics = status.Answer({"GET", {"metrics"}, {}, {}}).body;
  EXPECT_THAT(metrics, HasSubstr("\nshoal_index_servers 2\n"));
  EXPECT_THAT(metrics, HasSubstr("\nshoal_index_servers_away 0\n"));
  EXPECT_THAT(metrics, HasSubstr("\nshoal_index_copied_registrations 2\n"));
}

TEST_F(FederatedServersTest, ARestartedServerAnswersWithTheOthersAwayAndGoesOn) {
  StartAll();
  Change(RendezvousVerb::kRegister, 0, 1, {"room/open"});
  ASSERT_TRUE(loop_.RunUntil([&] { return Discover(1, "room/open").size() == 1; }));
  for (auto& server : servers_) server.reset();
  Serve(1);
  EXPECT_EQ(Discover(1, "room/open"), std::vector{1});
  Serve(0);
  Change(RendezvousVerb::kRegister, 0, 2, {"room/open"});
  ASSERT_TRUE(loop_.RunUntil([&] { return Discover(1, "room/open").size() == 2; }));
}

TEST_F(FederatedServersTest, NewsOfAnotherServerWakesWhoWaits) {
  StartAll();
  ServerLink link({Url(1), std::nullopt}, "", *OwnCertificate::Make(KeyNo(51)), seconds(20));
  std::optional<Result<ServerAnswer>> got;
  link.Discover("room/open", 10, "", seconds(30), [&](Result<ServerAnswer> answer) {
    loop_.Post([&, answer = std::move(answer)] { got = answer; });
  });
  ASSERT_TRUE(loop_.RunUntil([&] { return servers_[1]->counts().waiters == 1; }));
  Change(RendezvousVerb::kRegister, 2, 3, {"room/open"});
  ASSERT_TRUE(loop_.RunUntil([&] { return got.has_value(); }));
  ASSERT_TRUE(got->ok()) << got->error().text;
  EXPECT_EQ((*got)->records.size(), 1U);
}

TEST_F(FederatedServersTest, ToldToServersThatTakePartAndToNobodyElse) {
  StartAll();
  Change(RendezvousVerb::kRegister, 0, 1, {"room/open"});
  const auto get = [&](int key, const std::string& target) {
    ServerLink link({Url(0), std::nullopt}, "", *OwnCertificate::Make(KeyNo(key)), seconds(20));
    std::optional<Result<std::string>> got;
    link.Get(target, false, [&](Result<std::string> text) {
      loop_.Post([&, text = std::move(text)] { got = text; });
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }));
    return got->ok() ? **got : got->error().text;
  };
  EXPECT_THAT(get(51, "/v1/log"), HasSubstr("E_NOT_AUTHORIZED"));
  const auto told = get(kFirst + 2, "/v1/log");
  EXPECT_THAT(told, HasSubstr("room/open"));  // it came packed
  const auto read = DecodePages(told, KeyNo(kFirst).id(), ReadAnew);
  ASSERT_TRUE(read.ok()) << read.error().text;
  ASSERT_EQ(read->pages.size(), 1U);
  EXPECT_THAT(get(kFirst + 2, "/v1/log?after=x"), HasSubstr("E_INVALID_COOKIE"));
  EXPECT_THAT(get(kFirst + 2, "/v1/log?server=x"), HasSubstr("E_INVALID_COOKIE"));
  const auto servers = DecodeServers(get(51, "/v1/servers"));
  ASSERT_TRUE(servers.ok());
  EXPECT_EQ(servers->size(), 3U);
  EXPECT_EQ(servers->front().id, KeyNo(kFirst).id());
}

}  // namespace
}  // namespace shoal::agent
