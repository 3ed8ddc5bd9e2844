#include "agent/index_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>

#include "index/lmdb/env.h"
#include "index/net/io_thread.h"
#include "index/registration_rows.h"
#include "index/rendezvous/rendezvous_index.h"
#include "index/rendezvous/server_link.h"
#include "tests/unit/index/adapters/live_records.h"
#include "tests/unit/index/adapters/temp_dir.h"
#include "tests/unit/index/adapters/test_loop.h"

namespace shoal::agent {
namespace {

using namespace index;  // NOLINT: what is tested here is the index, behind its server

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

  // Its database is named by the key.
  std::unique_ptr<IndexServer> Serve(int key, std::uint16_t port,
                                     IndexServer::Options options = {}) {
    options.listen = {"127.0.0.1", port};
    options.service.dir = dir_ / ("index" + std::to_string(key));
    auto server = IndexServer::Start(options, KeyNo(key));
    EXPECT_TRUE(server.ok()) << server.error().text;
    return server.ok() ? std::move(server).value() : nullptr;
  }
  static ServerLink Link(std::uint16_t port, int key = 50) {
    return {{Url(port), std::nullopt}, "", *OwnCertificate::Make(KeyNo(key)), seconds(20)};
  }
  using Send = std::function<void(ServerLink&, ServerLink::OnAnswer)>;
  ServerAnswer AskLink(ServerLink& link, const Send& send) {
    std::optional<Result<ServerAnswer>> got;
    send(link, [&](Result<ServerAnswer> answer) {
      loop_.Post([&, answer = std::move(answer)] { got = answer; });
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return got.has_value(); }));
    if (got && got->ok()) return **got;
    ADD_FAILURE() << (got ? got->error().text : "no answer");
    return {{RendezvousStatus::kInternalError, ""}, {}, {}, 0, "", {}};
  }
  RendezvousStatus Register(ServerLink& link, int server, int peer, std::vector<std::string> names,
                            std::int64_t sent) {
    const auto key = KeyNo(peer);
    const auto body = EncodeRequest(RendezvousVerb::kRegister,
                                    {std::move(names), LiveRecord(key), seconds(60), sent},
                                    KeyNo(server).id(), key);
    return AskLink(link,
                   [&](ServerLink& to, ServerLink::OnAnswer done) {
                     to.Change(RendezvousVerb::kRegister, body, std::move(done));
                   })
        .error.status;
  }
  ServerAnswer Discover(ServerLink& link, const std::string& name, const std::string& cookie = "") {
    return AskLink(link, [&](ServerLink& to, ServerLink::OnAnswer done) {
      to.Discover(name, 100, cookie, Duration(0), std::move(done));
    });
  }

  static std::string Url(std::uint16_t port) { return "https://127.0.0.1:" + std::to_string(port); }

  std::unique_ptr<Host> Start(int n, std::vector<std::string> urls) {
    auto host = std::make_unique<Host>(Host{KeyNo(n), nullptr, {}});
    Host* raw = host.get();
    auto index = RendezvousIndex::Start({.urls = std::move(urls),
                                         .pin_file = dir_ / ("pins" + std::to_string(n)),
                                         .sync_interval = milliseconds(50),
                                         .ttl = seconds(60),
                                         .patience = patience_},
                                        io_, loop_, host->key, [raw](const SignedRecord& record) {
                                          raw->seen[record.id()] = record.record().sequence;
                                        });
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
  Duration patience_ = seconds(20);
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
  EXPECT_EQ(server->counts().peers, 2U);
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
      loop_.RunUntil([&] { return server->counts().registrations == 2 && a->index->status().ok; }));
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
  EXPECT_TRUE(loop_.RunUntil([&] { return server->counts().registrations == 251; }));
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
  EXPECT_EQ(server->counts().registrations, 0U);
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
  ASSERT_TRUE(loop_.RunUntil([&] {
    const auto status = a->index->status();
    return status.ok && status.text.starts_with("1 of 2 servers work");
  })) << a->index->status().text;
  EXPECT_THAT(a->index->status().target, HasSubstr(Url(port_)));
}

TEST_F(RendezvousTest, OfSeveralServersAllUseTheSameForARoomAndForASwarm) {
  const std::uint16_t other_port = FreeTcpPort();
  auto one = Serve(100, port_);
  const auto two = Serve(101, other_port);
  const auto a = Start(1, {Url(port_), Url(other_port)});
  const auto b = Start(2, {Url(other_port), Url(port_)});
  a->index->Advertise(LiveRecord(a->key), 7, 1);
  b->index->Advertise(LiveRecord(b->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return a->seen.size() == 1 && b->seen.size() == 1; }));
  std::vector<Digest> blobs;
  for (int n = 1; n <= 20; ++n) blobs.push_back(BlobNo(n));
  const auto leads = Ask(*a, blobs, true);
  const auto seen = Ask(*b, blobs, true);
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    ASSERT_TRUE(leads[i] && seen[i]) << i;
    EXPECT_EQ(leads[i]->lead, a->key.id()) << i;
    EXPECT_EQ(seen[i]->lead, a->key.id()) << i;
  }
  // One goes: a newcomer and those who are here meet at the other.
  one.reset();
  const auto c = Start(3, {Url(port_), Url(other_port)});
  c->index->Advertise(LiveRecord(c->key), 7, 1);
  ASSERT_TRUE(loop_.RunUntil([&] { return c->seen.size() == 2 && a->seen.contains(c->key.id()); }));
  ASSERT_TRUE(loop_.RunUntil([&] {
    const auto again = Ask(*c, blobs, false);
    return std::ranges::all_of(again, [](const auto& answer) { return answer.has_value(); });
  }));
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
  auto link = Link(port_);
  const auto id = KeyNo(100).id();
  const auto ask = [&](const Send& send) { return AskLink(link, send).error.status; };
  const auto change = [&](std::string body) {
    return ask([&](ServerLink& to, ServerLink::OnAnswer done) {
      to.Change(RendezvousVerb::kRegister, body, std::move(done));
    });
  };
  EXPECT_EQ(change(""), RendezvousStatus::kNotAuthorized);
  EXPECT_EQ(change("{}"), RendezvousStatus::kInvalidRecord);
  const auto key = KeyNo(1);
  const auto now = ToUnixMs(WallNow());
  const auto forged = EncodeRequest(RendezvousVerb::kRegister,
                                    {{"a"}, LiveRecord(key), seconds(60), now}, id, KeyNo(2));
  EXPECT_EQ(change(forged), RendezvousStatus::kNotAuthorized);
  const auto good =
      EncodeRequest(RendezvousVerb::kRegister, {{"a"}, LiveRecord(key), seconds(60), now}, id, key);
  EXPECT_EQ(change(good), RendezvousStatus::kOk);
  EXPECT_EQ(change(good), RendezvousStatus::kNotAuthorized);  // a replay
  EXPECT_EQ(ask([](ServerLink& to, ServerLink::OnAnswer done) {
              to.Discover("a", 10, "nonsense", Duration(0), std::move(done));
            }),
            RendezvousStatus::kInvalidCookie);
  EXPECT_EQ(ask([](ServerLink& to, ServerLink::OnAnswer done) {
              to.Discover("a b", 10, "", Duration(0), std::move(done));
            }),
            RendezvousStatus::kInvalidNamespace);
  EXPECT_EQ(ask([](ServerLink& to, ServerLink::OnAnswer done) {
              to.Discover("a", -1, "", Duration(0), std::move(done));
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
  b->seen.clear();
  std::vector<std::optional<SwarmAnswer>> told;
  // On a machine that does not get from one answer to the next within the lead's lease, again.
  for (int blob = 1; blob <= 10; ++blob) {
    const auto led = Ask(*a, {BlobNo(blob)}, true);
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(led[0]);
    EXPECT_EQ(led[0]->lead, a->key.id());
    told = Ask(*b, {BlobNo(blob)}, true);
    ASSERT_TRUE(told[0]);
    if (std::chrono::steady_clock::now() - began < index::kLeadLease / 2) break;
  }
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
  auto link = Link(port_);
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

TEST_F(RendezvousTest, LosesNothingThatItAnsweredAndKnowsItsCookies) {
  auto server = Serve(100, port_);
  std::string cookie;
  const auto now = ToUnixMs(WallNow());
  {
    auto link = Link(port_);
    ASSERT_EQ(Register(link, 100, 1, {"a"}, now), RendezvousStatus::kOk);
    cookie = Discover(link, "a").cookie;
    ASSERT_EQ(Register(link, 100, 2, {"a", "b"}, now), RendezvousStatus::kOk);
  }
  server.reset();
  server = Serve(100, port_);
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->counts().registrations, 3U);
  auto link = Link(port_);
  const auto later = Discover(link, "a", cookie);
  ASSERT_EQ(later.records.size(), 1U);
  EXPECT_EQ(later.records[0].id(), KeyNo(2).id());
  EXPECT_EQ(Discover(link, "").records.size(), 2U);
  EXPECT_EQ(Register(link, 100, 2, {"a"}, now), RendezvousStatus::kNotAuthorized);  // a replay
}

TEST_F(RendezvousTest, AnswersWhoWaitsWhenSomebodyComes) {
  const auto server = Serve(100, port_);
  auto link = Link(port_);
  std::optional<Result<ServerAnswer>> got;
  link.Discover("room/open", 10, "", seconds(30), [&](Result<ServerAnswer> answer) {
    loop_.Post([&, answer = std::move(answer)] { got = answer; });
  });
  auto other = Link(port_, 51);
  while (server->counts().waiters == 0) static_cast<void>(Discover(other, "elsewhere"));
  ASSERT_EQ(Register(other, 100, 1, {"room/open"}, ToUnixMs(WallNow())), RendezvousStatus::kOk);
  ASSERT_TRUE(loop_.RunUntil([&] { return got.has_value(); }));
  ASSERT_TRUE(got->ok()) << got->error().text;
  ASSERT_EQ((*got)->records.size(), 1U);
  EXPECT_EQ(server->counts().waiters, 0U);
}

TEST_F(RendezvousTest, GoesOnWhenItsDatabaseIsFull) {
  IndexServer::Options options;
  options.service.map_max = Bytes(256 << 10);
  const auto server = Serve(100, port_, options);
  ASSERT_NE(server, nullptr);
  auto link = Link(port_);
  auto sent = ToUnixMs(WallNow());
  ASSERT_EQ(Register(link, 100, 1, {"a"}, ++sent), RendezvousStatus::kOk);
  RendezvousStatus status = RendezvousStatus::kOk;
  int full = 2;
  for (; status == RendezvousStatus::kOk && full < 500; ++full) {
    status = Register(link, 100, full, {"a", std::string(200, 'x')}, ++sent);
  }
  EXPECT_EQ(status, RendezvousStatus::kUnavailable);
  EXPECT_FALSE(Discover(link, "a").records.empty());
  // What takes rows away makes room.
  const auto leave = [&](int peer) {
    const auto body =
        EncodeRequest(RendezvousVerb::kUnregister,
                      {{"a", std::string(200, 'x')}, LiveRecord(KeyNo(peer)), {}, ++sent},
                      KeyNo(100).id(), KeyNo(peer));
    static_cast<void>(AskLink(link, [&](ServerLink& to, ServerLink::OnAnswer done) {
      to.Change(RendezvousVerb::kUnregister, body, std::move(done));
    }));
  };
  for (int peer = 2; peer < full; ++peer) leave(peer);
  EXPECT_EQ(Register(link, 100, 600, {"a"}, ++sent), RendezvousStatus::kOk);
}

TEST_F(RendezvousTest, BeginsAnewOverAnOlderDatabaseAndLeavesALaterOne) {
  const std::string dir = dir_ / "index100";
  const auto write = [&](std::uint64_t version) {
    auto env = LmdbEnv::Open(dir, Bytes(1 << 20));
    ASSERT_TRUE(env.ok());
    auto table = (*env)->Table("registrations");
    ASSERT_TRUE((*env)
                    ->Write([&](LmdbTxn& txn) {
                      static_cast<void>(txn.Put(*table, "p-of-long-ago", "x"));
                      return txn.Put(*table, MetaKey("version"), NumberValue(version));
                    })
                    .ok());
  };
  write(0);
  EXPECT_NE(Serve(100, port_), nullptr);
  write(3);
  IndexServer::Options options;
  options.listen = {"127.0.0.1", port_};
  options.service.dir = dir;
  const auto later = IndexServer::Start(options, KeyNo(100));
  ASSERT_FALSE(later.ok());
  EXPECT_EQ(later.error().code, Code::kUnsupported);
  EXPECT_THAT(later.error().text, HasSubstr("later version"));
}

TEST_F(RendezvousTest, HoldsAFloodingPeerToItsLimitWhileOthersAreServed) {
  IndexServer::Options options;
  options.service.limits.per_peer_max = 150;
  const auto server = Serve(100, port_, options);
  auto link = Link(port_);
  auto sent = ToUnixMs(WallNow());
  std::vector<RendezvousStatus> statuses;
  for (int round = 0; round < 5; ++round) {
    std::vector<std::string> names;
    for (int n = 0; n < 100; ++n) names.push_back(std::to_string(round * 100 + n));
    statuses.push_back(Register(link, 100, 1, names, ++sent));
  }
  EXPECT_EQ(statuses[0], RendezvousStatus::kOk);
  EXPECT_EQ(statuses[4], RendezvousStatus::kUnavailable);
  EXPECT_EQ(server->counts().registrations, 100U);
  EXPECT_EQ(Register(link, 100, 2, {"a"}, ++sent), RendezvousStatus::kOk);
}

TEST_F(RendezvousTest, SaysThatThePortIsTaken) {
  const SilentListener other;
  IndexServer::Options options;
  options.listen = {"127.0.0.1", other.port()};
  options.service.dir = dir_ / "index";
  const auto second = IndexServer::Start(options, KeyNo(101));
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().text, HasSubstr(std::to_string(other.port())));
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
  const auto none =
      RendezvousIndex::Start({.urls = {}, .pin_file = dir_ / "pins"}, io_, loop_, KeyNo(1), {});
  EXPECT_FALSE(none.ok());
}

}  // namespace
}  // namespace shoal::agent
