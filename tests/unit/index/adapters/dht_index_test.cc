#include "index/dht/dht_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <mutex>
#include <set>

#include "index/dht/dht_session.h"
#include "tests/unit/index/adapters/live_records.h"
#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/index/adapters/test_loop.h"

namespace shoal::index {
namespace {

using std::chrono::seconds;

// A session on a free port of the loopback, and where it came to be.
class Lone {
 public:
  explicit Lone(TestLoop& loop, const std::string& state = "", std::uint16_t port = 0)
      : loop_(loop), session_(state, {{"127.0.0.1", port}}, [this, weak = std::weak_ptr(alive_)] {
          loop_.Post([this, weak] {
            if (!weak.expired()) Poll();
          });
        }) {
    SHOAL_CHECK(loop_.RunUntil([this] { return !news_.listening.empty(); }));
  }
  [[nodiscard]] Endpoint at() const { return news_.listening.front(); }
  DhtSession& session() { return session_; }
  bool RunUntilNodes(int count) {
    return loop_.RunUntil([&] {
      session_.Count();
      return news_.nodes.value_or(0) >= count;
    });
  }
  [[nodiscard]] std::set<Endpoint> Found(const DhtKey& key) const {
    std::set<Endpoint> all;
    for (const auto& found : news_.found) {
      if (found.key == key) all.insert(found.endpoints.begin(), found.endpoints.end());
    }
    return all;
  }

 private:
  void Poll() {
    auto more = session_.Poll();
    for (auto& one : more.listening) news_.listening.push_back(one);
    for (auto& one : more.found) news_.found.push_back(one);
    if (more.nodes) news_.nodes = more.nodes;
  }

  TestLoop& loop_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);  // messages hold it weakly
  DhtNews news_;
  DhtSession session_;
};

// Agents in one process: a DhtIndex each, and a table in place of the network to peers.
class DhtIndexTest : public testing::Test {
 protected:
  struct Peer {
    SigningKey key = KeyNo(0);
    Endpoint peer_port;
    std::set<PeerId> known;
    std::unique_ptr<DhtIndex> index;
  };

  void SetUp() override {
    // The port of one who is gone: free, and nobody else's while the test runs, most likely.
    Lone gone(loop_);
    first_ = gone.at();
  }

  Peer& Add(int n, std::vector<std::string> rooms = {"open"}, const std::string& state_file = "") {
    Peer& peer = peers_[n];
    peer.key = KeyNo(n);
    peer.peer_port = {"127.0.0.1", static_cast<std::uint16_t>(1000 + n)};
    auto record = RecordOf(peer.key);
    record.endpoints = {peer.peer_port};
    record.rooms = std::move(rooms);
    record.expires = WallNow() + std::chrono::minutes(5);
    const auto self = SignedRecord::Sign(record, peer.key);
    at_.insert_or_assign(peer.peer_port, self);
    const std::uint16_t port = peers_.size() == 1 ? first_.port : 0;
    peer.index = std::make_unique<DhtIndex>(
        DhtIndex::Options{[port] {
                            return std::vector<Endpoint>{{"127.0.0.1", port}};
                          },
                          "127.0.0.1",
                          {first_},
                          first_.port,
                          state_file,
                          peer.key.id()},
        io_, loop_,
        [this](const Endpoint& endpoint, const auto& done) {
          ++dials_[endpoint];
          const auto it = at_.find(endpoint);
          done(it == at_.end() ? Result<SignedRecord>(Error{Code::kRetryLater, "nobody there"})
                               : Result<SignedRecord>(it->second));
        },
        [&peer](const SignedRecord& found) { peer.known.insert(found.id()); });
    peer.index->Advertise(self, 1, 0);
    return peer;
  }

  bool AllKnowAll() {
    return std::ranges::all_of(peers_, [this](const auto& entry) {
      return entry.second.known.size() + 1 == peers_.size();
    });
  }

  TestLoop loop_;
  IoThread io_;
  Endpoint first_;
  std::map<Endpoint, SignedRecord> at_;
  std::map<Endpoint, int> dials_;
  std::map<int, Peer> peers_;
};

TEST_F(DhtIndexTest, PeersOfARoomFindEachOtherByOneThatTheyAllKnow) {
  for (int n = 1; n <= 5; ++n) Add(n);
  ASSERT_TRUE(loop_.RunUntil([&] { return AllKnowAll(); }, seconds(60)));
  for (auto& one : peers_) {
    Peer& peer = one.second;
    EXPECT_TRUE(loop_.RunUntil([&] { return peer.index->status().ok; }));
    EXPECT_GT(peer.index->status().nodes.value_or(0), 0);
    EXPECT_FALSE(peer.known.contains(peer.key.id()));
  }
}

TEST_F(DhtIndexTest, PeersOfOtherRoomsAreNotDialled) {
  Add(1, {"a"});
  Add(2, {"b"});
  Add(3, {"a"});
  Add(4, {"b"});
  ASSERT_TRUE(loop_.RunUntil(
      [&] {
        return std::ranges::all_of(peers_,
                                   [](const auto& entry) { return !entry.second.known.empty(); });
      },
      seconds(60)));
  EXPECT_THAT(peers_.at(1).known, testing::ElementsAre(KeyNo(3).id()));
  EXPECT_THAT(peers_.at(4).known, testing::ElementsAre(KeyNo(2).id()));
}

TEST_F(DhtIndexTest, ResolvesABlobToTheRecordOfItsHolder) {
  for (int n = 1; n <= 4; ++n) Add(n);
  ASSERT_TRUE(loop_.RunUntil([&] { return AllKnowAll(); }, seconds(60)));
  const Key key = BlobKey(Digest{});
  std::optional<std::vector<SignedRecord>> found;
  const auto ask = [&] {
    found.reset();
    peers_.at(4).index->Resolve(key, seconds(1), [&](auto records) { found = std::move(records); });
    return loop_.RunUntil([&] { return found.has_value(); });
  };
  ASSERT_TRUE(ask());
  EXPECT_TRUE(found->empty());
  peers_.at(2).index->AdvertiseKey(key);
  ASSERT_TRUE(loop_.RunUntil([&] { return ask() && !found->empty(); }));
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ(found->front().id(), KeyNo(2).id());
}

TEST_F(DhtIndexTest, ResolvesNothingAtOnceWhileItKnowsNobody) {
  Peer& lonely = Add(1);
  std::optional<std::vector<SignedRecord>> found;
  lonely.index->Resolve(BlobKey(Digest{}), std::chrono::hours(1),
                        [&](auto records) { found = std::move(records); });
  ASSERT_TRUE(loop_.RunUntil([&] { return found.has_value(); }));
  EXPECT_TRUE(found->empty());
  EXPECT_FALSE(lonely.index->status().ok);
}

TEST_F(DhtIndexTest, NonsenseInTheDhtIsHarmless) {
  Add(1);
  Add(2);
  ASSERT_TRUE(loop_.RunUntil([&] { return AllKnowAll(); }, seconds(60)));
  // Somebody who is in no room says that half of the world is, and that we are elsewhere.
  Lone liar(loop_);
  liar.session().AddNode(first_);
  ASSERT_TRUE(liar.RunUntilNodes(1));
  const DhtKey room = DhtKeyOf(RoomKey("open"));
  for (std::uint16_t port = 5000; port < 5100; ++port) liar.session().Announce(room, port);
  Add(3);
  ASSERT_TRUE(loop_.RunUntil([&] { return AllKnowAll(); }, seconds(60)));
  // A record of somebody else's at an endpoint is that one's; a false endpoint is tried, and backed
  // off from.
  ASSERT_TRUE(loop_.RunUntil([&] { return dials_[{"127.0.0.1", 5000}] > 0; }, seconds(60)));
  for (const auto& [n, peer] : peers_) EXPECT_EQ(peer.known.size(), 2u) << n;
}

TEST_F(DhtIndexTest, KeepsItsPlaceOverARestart) {
  const TempDir dir;
  Add(1);
  Add(2);
  Peer& third = Add(3, {"open"}, dir / "dht");
  // What it has not counted yet it does not keep.
  ASSERT_TRUE(loop_.RunUntil(
      [&] { return AllKnowAll() && third.index->status().nodes.value_or(0) > 0; }, seconds(60)));
  third.index.reset();
  ASSERT_TRUE(std::filesystem::exists(dir / "dht"));
  // Nobody to ask but those that it remembers.
  third.known.clear();
  const auto record = at_.at(third.peer_port);
  third.index = std::make_unique<DhtIndex>(
      DhtIndex::Options{[] {
                          return std::vector<Endpoint>{{"127.0.0.1", 0}};
                        },
                        "127.0.0.1",
                        {},
                        1,
                        dir / "dht",
                        third.key.id()},
      io_, loop_, [this](const Endpoint& endpoint, const auto& done) { done(at_.at(endpoint)); },
      [&](const SignedRecord& found) { third.known.insert(found.id()); });
  third.index->Advertise(record, 1, 0);
  EXPECT_TRUE(loop_.RunUntil([&] { return third.known.size() == 2; }, seconds(60)));
  third.index.reset();
}

TEST(DhtSessionTest, RemembersItsTable) {
  TestLoop loop;
  Lone first(loop);
  std::string state;
  {
    Lone second(loop);
    second.session().AddNode(first.at());
    ASSERT_TRUE(second.RunUntilNodes(1));
    state = second.session().State();
  }
  Lone again(loop, state);
  EXPECT_THAT(again.session().remembered(), testing::ElementsAre(first.at()));
}

TEST(DhtSessionTest, KeepsItsNodeIdOverARestart) {
  // "7:node-id", and a list of strings of 24 bytes: the id, and the address that it is of.
  const auto id_of = [](const std::string& state) {
    const auto at = state.find("7:node-idl24:");
    return at == std::string::npos ? "" : state.substr(at + 13, 24);
  };
  const auto nothing = [] {};
  std::string first;
  {
    DhtSession session("", {{"127.0.0.1", 0}}, nothing);
    first = session.State();
  }
  ASSERT_EQ(id_of(first).size(), 24U);
  std::string second;
  {
    DhtSession session(first, {{"127.0.0.1", 0}}, nothing);
    second = session.State();
  }
  EXPECT_EQ(id_of(first), id_of(second));
  DhtSession other("", {{"127.0.0.1", 0}}, nothing);
  EXPECT_NE(id_of(first), id_of(other.State()));
}

TEST(DhtSessionTest, BeginsAnewWithADamagedState) {
  TestLoop loop;
  for (const std::string state : {"", "d", "no bencoding", "d9:dht statei7ee",
                                  "d9:dht stated7:node-idl3:abce5:nodes3:xyzee"}) {
    Lone session(loop, state);
    EXPECT_FALSE(session.session().State().empty()) << state;
  }
}

TEST(DhtSessionTest, SaysThatAPortIsTaken) {
  TestLoop loop;
  Lone first(loop);
  std::optional<std::string> trouble;
  std::unique_ptr<DhtSession> second;
  second = std::make_unique<DhtSession>("", std::vector<Endpoint>{first.at()}, [&] {
    loop.Post([&] {
      if (second == nullptr) return;
      if (auto news = second->Poll(); news.trouble) trouble = news.trouble;
    });
  });
  ASSERT_TRUE(loop.RunUntil([&] { return trouble.has_value(); }));
  EXPECT_THAT(*trouble, testing::HasSubstr(ToString(first.at())));
}

}  // namespace
}  // namespace shoal::index
