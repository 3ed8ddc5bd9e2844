#include "index/lan/lan_index.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "index/beacon.h"
#include "index/lan/multicast_socket.h"
#include "tests/unit/index/adapters/live_records.h"
#include "tests/unit/index/adapters/test_loop.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A free port of this host, so that tests beside us are not heard.
std::uint16_t FreeUdpPort() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(fd);
  return ntohs(address.sin_port);
}

class LanIndexTest : public testing::Test {
 protected:
  struct Host {
    SigningKey key;
    std::unique_ptr<LanIndex> index;
    std::map<PeerId, std::uint64_t> heads;
    std::map<PeerId, int> records;
    std::set<Key> holds;
    int asked = 0;
  };

  std::unique_ptr<Host> Start(int n, Duration interval) {
    auto host = std::make_unique<Host>(Host{KeyNo(n), nullptr, {}, {}, {}, 0});
    Host* raw = host.get();
    auto index = LanIndex::Start(
        {groups_, interval}, io_, loop_, host->key,
        [raw](const SignedRecord& record) { ++raw->records[record.id()]; },
        [raw](const PeerId& peer, std::uint64_t epoch, std::uint64_t head) {
          EXPECT_EQ(epoch, 7U);
          EXPECT_TRUE(raw->records.contains(peer));
          raw->heads[peer] = head;
        },
        [raw](const PeerId&, const Key& key) {
          ++raw->asked;
          return raw->holds.contains(key);
        });
    EXPECT_TRUE(index.ok()) << index.error().text;
    host->index = std::move(index).value();
    return host;
  }

  Endpoint group_{"239.255.73.80", FreeUdpPort()};
  std::vector<Endpoint> groups_{group_};
  TestLoop loop_;
  IoThread io_;
};

TEST_F(LanIndexTest, NeighboursFindEachOtherLongBeforeTheInterval) {
  const auto a = Start(1, seconds(30));
  a->index->Advertise(LiveRecord(a->key), 7, 11);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->index->status().ok; })) << a->index->status().text;
  const auto b = Start(2, seconds(30));
  b->index->Advertise(LiveRecord(b->key), 7, 22);
  ASSERT_TRUE(loop_.RunUntil(
      [&] { return a->heads.contains(b->key.id()) && b->heads.contains(a->key.id()); }));
  EXPECT_EQ(a->heads[b->key.id()], 22U);
  EXPECT_EQ(b->heads[a->key.id()], 11U);
  EXPECT_FALSE(a->heads.contains(a->key.id()));

  b->index->Advertise(LiveRecord(b->key), 7, 23);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->heads[b->key.id()] == 23; }));
}

TEST_F(LanIndexTest, TellsARecordOnceAndTheHeadWithEachBeacon) {
  const auto a = Start(1, milliseconds(700));
  const auto b = Start(2, milliseconds(700));
  const auto record = LiveRecord(a->key);
  a->index->Advertise(record, 7, 1);
  for (std::uint64_t head = 2; head < 4; ++head) {
    a->index->Advertise(record, 7, head);
    ASSERT_TRUE(loop_.RunUntil([&] { return b->heads[a->key.id()] == head; }));
  }
  EXPECT_EQ(b->records[a->key.id()], 1);
}

TEST_F(LanIndexTest, HearsNothingAmissInGarbage) {
  const auto a = Start(1, seconds(1));
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->index->status().ok; }));  // it listens now
  auto socket = MulticastSocket::Open(group_);
  ASSERT_TRUE(socket.ok());
  ASSERT_TRUE(socket->Rescan());
  ASSERT_GT(socket->Send("not a beacon"), 0);
  EXPECT_FALSE(socket->InterfaceNames().empty());
  ASSERT_GT(socket->Send(std::string(kBeaconBytesMax + 1, '{')), 0);
  const auto key = KeyNo(3);
  const auto good = EncodeBeacon({LiveRecord(key), 7, 5, 1, false}, key).value();
  ASSERT_GT(socket->Send(good.substr(1)), 0);
  ASSERT_GT(socket->Send(good), 0);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->heads.contains(key.id()); }));
  EXPECT_EQ(a->heads.size(), 1U);
}

void BringUp(const char* name) {
  ifreq request{};
  std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  SHOAL_CHECK(::ioctl(fd, SIOCSIFFLAGS, &request) == 0);
  ::close(fd);
}

// In a network of its own, where at first no interface is up and never is there a route.
[[noreturn]] void SendWithoutARoute(const Endpoint& group) {
  SHOAL_CHECK(::unshare(::geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) == 0);
  auto socket = MulticastSocket::Open(group);
  SHOAL_CHECK(socket.ok());
  SHOAL_CHECK(!socket->Rescan());
  SHOAL_CHECK(socket->Send("nobody there") == 0);
  BringUp("lo");
  SHOAL_CHECK(socket->Rescan());
  SHOAL_CHECK(!socket->Rescan());
  SHOAL_CHECK(socket->Send("hello") == 1);
  char buffer[16];
  SHOAL_CHECK(::recv(socket->fd(), buffer, sizeof buffer, 0) == 5);
  ::_exit(0);
}

TEST(MulticastSocketTest, FindsInterfacesThatComeUpLaterAndNeedsNoRoute) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const Endpoint group{"239.255.73.80", FreeUdpPort()};
  EXPECT_EXIT(SendWithoutARoute(group), testing::ExitedWithCode(0), "");
}

TEST_F(LanIndexTest, SaysThatARecordIsTooLong) {
  const auto a = Start(1, seconds(1));
  auto record = RecordOf(a->key);
  record.expires = WallNow() + seconds(60);
  for (std::uint16_t i = 1; i <= 14; ++i) {
    record.endpoints.push_back({"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", i});
  }
  a->index->Advertise(SignedRecord::Sign(record, a->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil(
      [&] { return a->index->status().text.find("peer.advertise") != std::string::npos; }));
  EXPECT_FALSE(a->index->status().ok);
}

TEST_F(LanIndexTest, RefusesAGroupThatIsNone) {
  const auto start = [this](std::vector<Endpoint> groups) {
    return LanIndex::Start({std::move(groups), seconds(1)}, io_, loop_, KeyNo(1),
                           [](const SignedRecord&) {}, {}, {});
  };
  for (const Endpoint& group :
       {Endpoint{"10.0.0.1", 7385}, Endpoint{"fd00::1", 7385}, Endpoint{"group.example", 7385}}) {
    const auto index = start({group_, group});
    ASSERT_FALSE(index.ok());
    EXPECT_EQ(index.error().code, Code::kInvalid);
  }
  EXPECT_FALSE(start({}).ok());
}

TEST_F(LanIndexTest, ResolvesNothingAtOnceWhereNobodyIs) {
  const auto a = Start(1, seconds(1));
  for (const Key key : {"blob/x", "room/x"}) {
    bool resolved = false;
    a->index->Resolve(key, std::chrono::hours(1), [&](const std::vector<SignedRecord>& found) {
      EXPECT_TRUE(found.empty());
      resolved = true;
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return resolved; }));
  }
  EXPECT_EQ(a->index->status().kind, "lan");
}

class LanAskTest : public LanIndexTest {
 protected:
  // Hosts 1 to n who know each other.
  void StartAll(int n) {
    for (int i = 1; i <= n; ++i) {
      hosts_.push_back(Start(i, seconds(30)));
      hosts_.back()->index->Advertise(LiveRecord(hosts_.back()->key), 7, 1);
    }
    ASSERT_TRUE(loop_.RunUntil([&] {
      return std::ranges::all_of(
          hosts_, [&](const auto& host) { return host->heads.size() + 1 == hosts_.size(); });
    }));
  }
  std::vector<PeerId> Ask(Host& host, const Key& key) {
    std::optional<std::vector<PeerId>> found;
    host.index->Resolve(key, seconds(5), [&](const std::vector<SignedRecord>& records) {
      found.emplace();
      for (const auto& record : records) found->push_back(record.id());
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return found.has_value(); }));
    return found.value_or(std::vector<PeerId>{});
  }

  std::vector<std::unique_ptr<Host>> hosts_;
};

TEST_F(LanAskTest, WhoHoldsABlobAnswers) {
  StartAll(3);
  hosts_[1]->holds.insert("blob/x");
  // A datagram may get lost on a busy host; an answer that is not there in time is none.
  std::vector<PeerId> found;
  ASSERT_TRUE(loop_.RunUntil([&] { return !(found = Ask(*hosts_[0], "blob/x")).empty(); }));
  EXPECT_THAT(found, testing::ElementsAre(KeyNo(2).id()));
  EXPECT_THAT(Ask(*hosts_[0], "blob/y"), testing::IsEmpty());
  EXPECT_GT(hosts_[2]->asked, 0);
  EXPECT_EQ(hosts_[0]->asked, 0);  // nobody asks themselves
}

TEST_F(LanAskTest, TwoWhoAskTogetherAreBothAnswered) {
  StartAll(2);
  hosts_[1]->holds.insert("blob/x");
  int done = 0;
  for (int i = 0; i < 2; ++i) {
    hosts_[0]->index->Resolve("blob/x", seconds(5), [&](const auto&) { ++done; });
  }
  EXPECT_TRUE(loop_.RunUntil([&] { return done == 2; }));
}

TEST_F(LanAskTest, ByIpv6Alone) {
  groups_ = {{"ff15::7368:6f61", group_.port}};
  StartAll(2);
  EXPECT_NE(hosts_[0]->index->status().text.find("on "), std::string::npos);
  hosts_[1]->holds.insert("blob/x");
  ASSERT_TRUE(loop_.RunUntil([&] { return !Ask(*hosts_[0], "blob/x").empty(); }));
}

TEST_F(LanAskTest, WhatIsHeardTwiceCountsOnce) {
  groups_.push_back({"ff15::7368:6f61", group_.port});
  StartAll(2);
  EXPECT_EQ(hosts_[0]->records[KeyNo(2).id()], 1);
  hosts_[1]->holds.insert("blob/x");
  ASSERT_TRUE(loop_.RunUntil([&] { return !Ask(*hosts_[0], "blob/x").empty(); }));
}

TEST_F(LanIndexTest, IsSilentAfterItsEnd) {
  const auto a = Start(1, milliseconds(20));
  auto b = Start(2, milliseconds(20));
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return b->heads.contains(a->key.id()); }));
  b.reset();
  const auto c = Start(3, milliseconds(20));
  ASSERT_TRUE(loop_.RunUntil([&] { return c->heads.contains(a->key.id()); }));
}

}  // namespace
}  // namespace shoal::index
