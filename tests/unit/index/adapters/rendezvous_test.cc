#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "index/net/io_thread.h"
#include "index/rendezvous/rendezvous_index.h"
#include "index/rendezvous/server.h"
#include "index/rendezvous/server_link.h"
#include "tests/unit/index/adapters/live_records.h"
#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/index/adapters/test_loop.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

// A listening socket of its own port that accepts connections and says nothing.
class SilentListener {
 public:
  SilentListener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    EXPECT_EQ(::listen(fd_, 5), 0);
    port_ = ntohs(address.sin_port);
  }
  ~SilentListener() { ::close(fd_); }
  SilentListener(const SilentListener&) = delete;
  SilentListener& operator=(const SilentListener&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  int fd_;
  std::uint16_t port_ = 0;
};

std::uint16_t FreeTcpPort() { return SilentListener().port(); }

class RendezvousTest : public testing::Test {
 protected:
  struct Host {
    SigningKey key;
    std::unique_ptr<RendezvousIndex> index;
    std::map<PeerId, std::uint64_t> seen;  // to the sequence of the record
  };

  std::unique_ptr<RendezvousServer> Serve(int key, std::uint16_t port) {
    auto server = RendezvousServer::Start({{"127.0.0.1", port}, {}, {}}, KeyNo(key), loop_);
    EXPECT_TRUE(server.ok()) << server.error().text;
    return std::move(server).value();
  }

  static std::string Url(std::uint16_t port) { return "https://127.0.0.1:" + std::to_string(port); }

  std::unique_ptr<Host> Start(int n, std::vector<std::string> urls) {
    auto host = std::make_unique<Host>(Host{KeyNo(n), nullptr, {}});
    Host* raw = host.get();
    auto index = RendezvousIndex::Start(
        {std::move(urls), dir_ / ("pins" + std::to_string(n)), milliseconds(50), seconds(60)}, io_,
        loop_, host->key,
        [raw](const SignedRecord& record) { raw->seen[record.id()] = record.record().sequence; });
    EXPECT_TRUE(index.ok()) << index.error().text;
    host->index = std::move(index).value();
    return host;
  }

  static Digest BlobNo(int n) {
    Digest digest;
    digest.bytes[0] = static_cast<std::byte>(n);
    return digest;
  }

  // The answers in the order of the blobs.
  std::vector<std::optional<SwarmAnswer>> Ask(Host& host, const std::vector<Digest>& blobs,
                                              bool wants_lead) {
    std::vector<std::optional<SwarmAnswer>> answers(blobs.size());
    std::size_t answered = 0;
    for (std::size_t i = 0; i < blobs.size(); ++i) {
      host.index->AskSwarm({.peer = host.key.id(), .digest = blobs[i], .wants_lead = wants_lead},
                           [&answers, &answered, i](std::optional<SwarmAnswer> answer) {
                             answers[i] = std::move(answer);
                             ++answered;
                           });
    }
    EXPECT_TRUE(loop_.RunUntil([&] { return answered == blobs.size(); }));
    return answers;
  }

  TempDir dir_;
  std::uint16_t port_ = FreeTcpPort();
  TestLoop loop_;
  IoThread io_;
};

TEST_F(RendezvousTest, PeersOfARoomFindEachOther) {
  const auto server = Serve(100, port_);
  const auto a = Start(1, {Url(port_)});
  const auto b = Start(2, {Url(port_) + "#" + KeyNo(100).id().Hex()});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  b->index->Advertise(LiveRecord(b->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] {
    return a->seen.contains(b->key.id()) && b->seen.contains(a->key.id());
  })) << a->index->status().text
      << b->index->status().text;
  EXPECT_FALSE(a->seen.contains(a->key.id()));
  EXPECT_TRUE(a->index->status().ok);
  EXPECT_EQ(server->peer_count(), 2U);
  // A newer record comes through as well.
  b->index->Advertise(LiveRecord(b->key, 2), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->seen[b->key.id()] == 2; }));
}

TEST_F(RendezvousTest, ResolvesWhoAdvertisesABlobUntilItIsWithdrawn) {
  const auto server = Serve(100, port_);
  const auto a = Start(1, {Url(port_)});
  const auto b = Start(2, {Url(port_)});
  const Key key = BlobKey(Digest{});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  a->index->AdvertiseKey(key);
  ASSERT_TRUE(
      loop_.RunUntil([&] { return server->registration_count() == 2 && a->index->status().ok; }));
  const auto resolve = [&](Host& host) {
    std::optional<std::vector<SignedRecord>> found;
    host.index->Resolve(key, seconds(5),
                        [&](std::vector<SignedRecord> records) { found = std::move(records); });
    EXPECT_TRUE(loop_.RunUntil([&] { return found.has_value(); }));
    return *found;
  };
  const auto found = resolve(*b);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].id(), a->key.id());
  EXPECT_TRUE(resolve(*a).empty());  // not ourselves
  a->index->Withdraw(key);
  ASSERT_TRUE(loop_.RunUntil([&] { return resolve(*b).empty(); }));
}

TEST_F(RendezvousTest, ManyKeysGoInSeveralRequests) {
  const auto server = Serve(100, port_);
  const auto a = Start(1, {Url(port_)});
  for (int n = 0; n < 250; ++n) a->index->AdvertiseKey("blob/" + std::to_string(n));
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  EXPECT_TRUE(loop_.RunUntil([&] { return server->registration_count() == 251; }));
}

TEST_F(RendezvousTest, ResolveKeepsItsBoundWhenNobodyAnswers) {
  const SilentListener silent;
  const auto a = Start(1, {Url(silent.port())});
  bool resolved = false;
  const auto begun = SteadyNow();
  a->index->Resolve("blob/x", milliseconds(50), [&](const std::vector<SignedRecord>& found) {
    EXPECT_TRUE(found.empty());
    resolved = true;
  });
  ASSERT_TRUE(loop_.RunUntil([&] { return resolved; }));
  EXPECT_LT(SteadyNow() - begun, seconds(2));
}

TEST_F(RendezvousTest, RefusesAServerThatIsNotThePinnedOne) {
  const auto server = Serve(100, port_);
  const auto a = Start(1, {Url(port_) + "#" + KeyNo(101).id().Hex()});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] {
    return a->index->status().text.find("not the one we know") != std::string::npos;
  })) << a->index->status().text;
  EXPECT_FALSE(a->index->status().ok);
  EXPECT_EQ(server->registration_count(), 0U);
}

TEST_F(RendezvousTest, RemembersWhomItTrustedFirst) {
  auto server = Serve(100, port_);
  auto a = Start(1, {Url(port_)});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->index->status().ok; }));
  a.reset();
  server.reset();
  server = Serve(101, port_);
  a = Start(1, {Url(port_)});
  a->index->Advertise(LiveRecord(a->key, 2), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] {
    return a->index->status().text.find("not the one we know") != std::string::npos;
  })) << a->index->status().text;
  EXPECT_THAT(a->index->status().text, HasSubstr(dir_ / "pins1"));
}

TEST_F(RendezvousTest, GoesToTheNextServerWhenOneIsAway) {
  const auto server = Serve(100, port_);
  const auto a = Start(1, {Url(FreeTcpPort()), Url(port_)});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->index->status().ok; }));
  EXPECT_EQ(a->index->status().target, Url(port_));
}

TEST_F(RendezvousTest, TellsAServerThatBeganAnewEverything) {
  auto server = Serve(100, port_);
  const auto a = Start(1, {Url(port_)});
  const auto b = Start(2, {Url(port_)});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  b->index->Advertise(LiveRecord(b->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->seen.size() == 1 && b->seen.size() == 1; }));
  server.reset();
  a->seen.clear();
  b->seen.clear();
  server = Serve(100, port_);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->seen.size() == 1 && b->seen.size() == 1; }));
}

TEST_F(RendezvousTest, AnswersWrongRequestsWithTheWordForIt) {
  const auto server = Serve(100, port_);
  const ServerLink link({Url(port_), std::nullopt}, "");
  const auto id = KeyNo(100).id();
  const auto ask = [&](const std::function<void(ServerLink&, ServerLink::OnAnswer)>& send) {
    std::optional<Result<ServerAnswer>> got;
    send(const_cast<ServerLink&>(link), [&](Result<ServerAnswer> answer) {
      loop_.Post([&, answer = std::move(answer)] { got = answer; });
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }));
    if (!got->ok()) ADD_FAILURE() << got->error().text;
    return got->ok() ? (*got)->error.status : RendezvousStatus::kInternalError;
  };
  const auto change = [&](std::string body) {
    return ask([&](ServerLink& to, ServerLink::OnAnswer done) {
      to.Change(RendezvousVerb::kRegister, body, std::move(done));
    });
  };
  EXPECT_EQ(change(""), RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(change("{}"), RendezvousStatus::kInvalidRecord);
  EXPECT_EQ(change(std::string(kRendezvousRequestBytesMax + 1, ' ')),
            RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(change(std::string(std::size_t{20} << 20, ' ')), RendezvousStatus::kNotAuthorized);
  const auto key = KeyNo(1);
  const auto forged = EncodeRequest(RendezvousVerb::kRegister,
                                    {{"a"}, LiveRecord(key), seconds(60), 1}, id, KeyNo(2));
  EXPECT_EQ(change(forged), RendezvousStatus::kNotAuthorized);
  const auto good =
      EncodeRequest(RendezvousVerb::kRegister, {{"a"}, LiveRecord(key), seconds(60), 1}, id, key);
  EXPECT_EQ(change(good), RendezvousStatus::kOk);
  EXPECT_EQ(change(good), RendezvousStatus::kNotAuthorized);  // a replay
  EXPECT_EQ(ask([](ServerLink& to, ServerLink::OnAnswer done) {
              to.Discover("a", 10, "nonsense", std::move(done));
            }),
            RendezvousStatus::kInvalidCookie);
  EXPECT_EQ(ask([](ServerLink& to, ServerLink::OnAnswer done) {
              to.Discover("", 10, "", std::move(done));
            }),
            RendezvousStatus::kInvalidNamespace);
  EXPECT_EQ(ask([](ServerLink& to, ServerLink::OnAnswer done) {
              to.Discover("a", -1, "", std::move(done));
            }),
            RendezvousStatus::kInvalidNamespace);
}

TEST_F(RendezvousTest, SwarmMembersHearOfEachOtherInOneRoundTrip) {
  const auto server = Serve(100, port_);
  const auto a = Start(1, {Url(port_)});
  const auto b = Start(2, {Url(port_)});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  b->index->Advertise(LiveRecord(b->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->index->status().ok && b->index->status().ok; }));
  const auto led = Ask(*a, {BlobNo(1)}, true);
  ASSERT_TRUE(led[0]);
  EXPECT_EQ(led[0]->lead, a->key.id());
  b->seen.clear();
  const auto told = Ask(*b, {BlobNo(1)}, true);
  ASSERT_TRUE(told[0]);
  EXPECT_EQ(told[0]->lead, a->key.id());
  EXPECT_THAT(told[0]->members, testing::ElementsAre(a->key.id()));
  // The record came before the answer, and does not come again.
  EXPECT_TRUE(b->seen.contains(a->key.id()));
}

TEST_F(RendezvousTest, AsksAboutManyBlobsAtOnceAndAnswersEach) {
  const auto server = Serve(100, port_);
  const auto a = Start(1, {Url(port_)});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->index->status().ok; }));
  std::vector<Digest> blobs;
  for (int n = 0; n < 250; ++n) blobs.push_back(BlobNo(n));
  const auto answers = Ask(*a, blobs, true);
  for (const auto& answer : answers) {
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->lead, a->key.id());
  }
}

TEST_F(RendezvousTest, ASwarmAskingIsAnsweredWhenNobodyAnswersIt) {
  const SilentListener silent;
  const auto a = Start(1, {Url(silent.port())});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  EXPECT_EQ(Ask(*a, {BlobNo(1)}, true)[0], std::nullopt);
  // Pinned, so that the question is sent, and left without an answer.
  const auto b = Start(2, {Url(silent.port()) + "#" + KeyNo(100).id().Hex()});
  b->index->Advertise(LiveRecord(b->key), 7, 1);
  EXPECT_EQ(Ask(*b, {BlobNo(1)}, true)[0], std::nullopt);
}

TEST_F(RendezvousTest, RefusesSwarmAskingsThatAreForgedReplayedOrForAnother) {
  const auto server = Serve(100, port_);
  ServerLink link({Url(port_), std::nullopt}, "");
  const auto key = KeyNo(1);
  const auto ask = [&](const PeerId& to, const SigningKey& by, std::int64_t sent) {
    const SwarmRequest request{std::make_shared<const SignedRecord>(LiveRecord(key)),
                               sent,
                               {SwarmAsk{.peer = key.id(), .digest = BlobNo(1)}},
                               {}};
    std::optional<Result<ServerAnswer>> got;
    link.AskSwarm(EncodeSwarmRequest(request, to, by), [&](Result<ServerAnswer> answer) {
      loop_.Post([&, answer = std::move(answer)] { got = answer; });
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }));
    return got->ok() ? (*got)->error.status : RendezvousStatus::kInternalError;
  };
  const auto id = KeyNo(100).id();
  const auto now = ToUnixMs(WallNow());
  EXPECT_EQ(ask(id, key, now), RendezvousStatus::kOk);
  EXPECT_EQ(ask(id, key, now), RendezvousStatus::kNotAuthorized);  // a replay
  EXPECT_EQ(ask(id, key, now - 1), RendezvousStatus::kOk);         // overtaken
  EXPECT_EQ(ask(id, KeyNo(2), now + 1), RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(ask(KeyNo(101).id(), key, now + 1), RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(ask(id, key, 1), RendezvousStatus::kOk);  // not too old while few were heard
}

TEST_F(RendezvousTest, EndsWithRequestsThatItsLoopNeverCameTo) {
  auto server = Serve(100, port_);
  TestLoop answers;
  ServerLink link({Url(port_), std::nullopt}, "");
  int answered = 0;
  for (int n = 0; n < 8; ++n) {
    link.Discover("a", 10, "",
                  [&](const Result<ServerAnswer>&) { answers.Post([&] { ++answered; }); });
  }
  // Two are before the loop, which is busy elsewhere.
  ASSERT_TRUE(loop_.WaitFor(2));
  server.reset();
  loop_.RunWhatWaits();
  EXPECT_TRUE(answers.RunUntil([&] { return answered == 8; }));
}

TEST_F(RendezvousTest, SaysThatThePortIsTaken) {
  const SilentListener other;
  const auto second =
      RendezvousServer::Start({{"127.0.0.1", other.port()}, {}, {}}, KeyNo(101), loop_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().text, HasSubstr("rendezvous.listen"));
}

TEST_F(RendezvousTest, RefusesWhatIsNoServerUrl) {
  for (const std::string url :
       {"", "host:7383", "http://host:7383", "https://host", "https://host:7383/path",
        "https://host:7383#abc", "https://host:7383#", "https://:7383", "https://host:0"}) {
    EXPECT_FALSE(ParseServerUrl(url).ok()) << url;
  }
  const auto plain = ParseServerUrl("https://[fd00::1]:7383/");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->target, "https://[fd00::1]:7383");
  EXPECT_FALSE(plain->pin);
  const auto none = RendezvousIndex::Start({{}, dir_ / "pins", seconds(1), seconds(60)}, io_, loop_,
                                           KeyNo(1), {});
  EXPECT_FALSE(none.ok());
}

}  // namespace
}  // namespace shoal::index
