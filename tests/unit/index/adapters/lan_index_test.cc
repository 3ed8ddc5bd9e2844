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

#include <cstring>
#include <map>

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
  };

  std::unique_ptr<Host> Start(int n, Duration interval) {
    auto host = std::make_unique<Host>(Host{KeyNo(n), nullptr, {}, {}});
    Host* raw = host.get();
    auto index = LanIndex::Start(
        {group_, interval}, io_, loop_, host->key,
        [raw](const SignedRecord& record) { ++raw->records[record.id()]; },
        [raw](const PeerId& peer, std::uint64_t epoch, std::uint64_t head) {
          EXPECT_EQ(epoch, 7U);
          EXPECT_TRUE(raw->records.contains(peer));
          raw->heads[peer] = head;
        });
    EXPECT_TRUE(index.ok()) << index.error().text;
    host->index = std::move(index).value();
    return host;
  }

  Endpoint group_{"239.255.73.80", FreeUdpPort()};
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
  ASSERT_GT(socket->Send("not a beacon"), 0) << socket->InterfaceNames();
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
  for (const Endpoint& group :
       {Endpoint{"10.0.0.1", 7385}, Endpoint{"ff02::1", 7385}, Endpoint{"group.example", 7385}}) {
    const auto index =
        LanIndex::Start({group, seconds(1)}, io_, loop_, KeyNo(1), [](const SignedRecord&) {}, {});
    ASSERT_FALSE(index.ok());
    EXPECT_EQ(index.error().code, Code::kInvalid);
  }
}

TEST_F(LanIndexTest, ResolvesNothingAtOnce) {
  const auto a = Start(1, seconds(1));
  bool resolved = false;
  a->index->Resolve("blob/x", seconds(10), [&](const std::vector<SignedRecord>& found) {
    EXPECT_TRUE(found.empty());
    resolved = true;
  });
  EXPECT_TRUE(loop_.RunUntil([&] { return resolved; }));
  EXPECT_EQ(a->index->status().kind, "lan");
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
