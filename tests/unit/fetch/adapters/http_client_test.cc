#include "fetch/transport/http_client.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>

#include "tests/unit/fetch/adapters/test_identity.h"
#include "tests/unit/support/script_server.h"

namespace shoal::fetch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Answer;
using test::ScriptReply;
using test::ScriptServer;
using test::SeenRequest;

// Records what it hears; Wait blocks until OnDone.
class Recorder : public HttpSink {
 public:
  bool OnHead(const HttpHead& head) override {
    const std::lock_guard lock(mutex_);
    ++heads;
    last_head = head;
    started_.notify_all();
    return !refuse_head;
  }
  bool OnBytes(ByteSpan bytes) override {
    const std::lock_guard lock(mutex_);
    body.append(AsText(bytes));
    started_.notify_all();
    return !refuse_bytes;
  }
  void OnDone(Status status) override { done_.set_value(std::move(status)); }

  Status Wait() { return done_.get_future().get(); }
  void WaitForBytes() {
    std::unique_lock lock(mutex_);
    started_.wait(lock, [this] { return !body.empty(); });
  }

  int heads = 0;
  HttpHead last_head;
  std::string body;
  bool refuse_head = false;
  bool refuse_bytes = false;

 private:
  std::mutex mutex_;
  std::condition_variable started_;
  std::promise<Status> done_;
};

class HttpClientTest : public testing::Test {
 protected:
  void SetUp() override {
    HttpClient::Options options;
    options.identity = TestIdentity(1);
    client_ = std::move(HttpClient::Start(options)).value();
  }

  static HttpCall Call(const std::string& url) {
    HttpCall call;
    call.url = url;
    return call;
  }

  static HttpCall PeerCall(const ScriptServer& server, std::optional<PeerId> peer) {
    HttpCall call;
    call.peer = HttpCall::ToPeer{{"127.0.0.1", server.port()}, peer};
    call.url = PeerUrl(peer, call.peer->endpoint, "/p2p/v1/record");
    return call;
  }

  // The end of a call, and what came before it in `recorder`.
  Status Run(HttpCall call, Recorder& recorder) {
    // The client's share of the owner ends with OnDone, which this waits for.
    const auto sink = std::shared_ptr<Recorder>(&recorder, [](Recorder*) {});
    client_->Start(std::move(call), sink);
    return recorder.Wait();
  }

  Result<HttpClient::Answer> Get(HttpCall call, std::size_t max_bytes = 1 << 20) {
    std::promise<Result<HttpClient::Answer>> promise;
    client_->Get(std::move(call), max_bytes,
                 [&](Result<HttpClient::Answer> answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  }

  std::unique_ptr<HttpClient> client_;
};

TEST_F(HttpClientTest, GivesHeadBodyAndEnd) {
  ScriptServer server([](const SeenRequest&) {
    return ScriptReply{Answer(200, "hello", "X-Thing:  spaced \r\n")};
  });
  Recorder recorder;
  EXPECT_TRUE(Run(Call(server.Url("/a?b=c")), recorder).ok());
  EXPECT_EQ(recorder.heads, 1);
  EXPECT_EQ(recorder.last_head.status, 200);
  EXPECT_EQ(recorder.last_head.url, server.Url("/a?b=c"));
  EXPECT_EQ(recorder.body, "hello");
  bool found = false;
  for (const auto& [name, value] : recorder.last_head.headers) {
    found = found || (name == "X-Thing" && value == "spaced");
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(server.seen().at(0).target, "/a?b=c");
}

TEST_F(HttpClientTest, KeepsConnections) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "x")}; });
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Get(Call(server.Url("/"))).ok());
  for (const auto& request : server.seen()) EXPECT_EQ(request.connection, 0);
}

TEST_F(HttpClientTest, ShortCallsKeepTheirConnectionWhicheverThreadIsBusy) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "x")}; });
  ScriptServer silent([](const SeenRequest&) { return ScriptReply{"", ScriptReply::End::kHold}; });
  for (const std::uint64_t busy : {0, 1}) {
    std::vector<HttpClient::CallId> held;
    for (int i = 0; i < 4; ++i) {
      HttpCall call = Call(silent.Url("/"));
      call.affinity = busy;
      held.push_back(client_->Start(std::move(call), std::make_shared<Recorder>()));
    }
    ASSERT_TRUE(Get(Call(server.Url("/"))).ok());
    for (const auto id : held) client_->Cancel(id);
  }
  for (const auto& request : server.seen()) EXPECT_EQ(request.connection, 0);
}

TEST_F(HttpClientTest, SendsHeadersPostsAndHeads) {
  ScriptServer server([](const SeenRequest& request) {
    return ScriptReply{request.method == "HEAD" ? "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
                                                : Answer(200, request.body)};
  });
  HttpCall post = Call(server.Url("/t"));
  post.method = "POST";
  post.body = "a=b";
  post.headers = {{"Accept", "x/y"}, {"Empty", ""}};
  auto answer = Get(std::move(post));
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->body, "a=b");
  EXPECT_EQ(server.seen()[0].Header("Accept"), "x/y");
  HttpCall head = Call(server.Url("/h"));
  head.method = "HEAD";
  ASSERT_TRUE(Get(std::move(head)).ok());
  EXPECT_EQ(server.seen()[1].method, "HEAD");
}

TEST_F(HttpClientTest, RefusesWhatCannotBeAsked) {
  for (const auto& url :
       {"gopher://x/", "nonsense://", "http://", "http://a b/", "file:///etc/hosts"}) {
    Recorder recorder;
    const auto status = Run(Call(url), recorder);
    ASSERT_FALSE(status.ok()) << url;
    EXPECT_EQ(status.error().code, Code::kInvalid) << url << ": " << status.error().text;
  }
  HttpCall call = Call("http://127.0.0.1:1/");
  call.headers = {{"X", "a\r\nHost: b"}};
  Recorder recorder;
  EXPECT_EQ(Run(std::move(call), recorder).error().code, Code::kInvalid);
}

TEST_F(HttpClientTest, SaysRetryLaterWhenNobodyAnswers) {
  std::uint16_t port = 0;
  {
    port = ScriptServer([](const SeenRequest&) { return ScriptReply{}; }).port();
  }
  Recorder recorder;
  const auto status = Run(Call("http://127.0.0.1:" + std::to_string(port) + "/"), recorder);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kRetryLater);
}

TEST_F(HttpClientTest, FailsAnAnswerThatIsCutShort) {
  for (const auto end : {ScriptReply::End::kClose, ScriptReply::End::kReset}) {
    ScriptServer server([end](const SeenRequest&) {
      return ScriptReply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", end};
    });
    Recorder recorder;
    const auto status = Run(Call(server.Url("/")), recorder);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, Code::kRetryLater);
  }
}

TEST_F(HttpClientTest, FailsAStalledAnswerSoon) {
  for (const std::string_view begun : {"", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123"}) {
    ScriptServer server([begun](const SeenRequest&) {
      return ScriptReply{std::string(begun), ScriptReply::End::kHold};
    });
    HttpCall call = Call(server.Url("/"));
    call.stall_timeout = milliseconds(150);
    Recorder recorder;
    const auto status = Run(std::move(call), recorder);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, Code::kRetryLater);
    EXPECT_NE(status.error().text.find("no byte for 150 ms"), std::string::npos);
  }
}

TEST_F(HttpClientTest, BoundsTheTotalTime) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{"", ScriptReply::End::kHold}; });
  HttpCall call = Call(server.Url("/"));
  call.total_timeout = milliseconds(100);
  Recorder recorder;
  EXPECT_EQ(Run(std::move(call), recorder).error().code, Code::kRetryLater);
}

TEST_F(HttpClientTest, StopsWhenTheSinkHasEnough) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "body")}; });
  Recorder at_head;
  at_head.refuse_head = true;
  EXPECT_EQ(Run(Call(server.Url("/")), at_head).error().code, Code::kCancelled);
  Recorder at_bytes;
  at_bytes.refuse_bytes = true;
  EXPECT_EQ(Run(Call(server.Url("/")), at_bytes).error().code, Code::kCancelled);
}

TEST_F(HttpClientTest, CancelEndsARunningCall) {
  ScriptServer server([](const SeenRequest&) {
    return ScriptReply{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123", ScriptReply::End::kHold};
  });
  auto recorder = std::make_shared<Recorder>();
  const auto id = client_->Start(Call(server.Url("/")), recorder);
  recorder->WaitForBytes();
  client_->Cancel(id);
  EXPECT_EQ(recorder->Wait().error().code, Code::kCancelled);
  client_->Cancel(id);
  client_->Cancel(12345);
}

TEST_F(HttpClientTest, DestructionCancelsEverything) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{"", ScriptReply::End::kHold}; });
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 40; ++i) {
    recorders.push_back(std::make_shared<Recorder>());
    client_->Start(Call(server.Url("/")), recorders.back());
  }
  client_.reset();
  for (auto& recorder : recorders) EXPECT_EQ(recorder->Wait().error().code, Code::kCancelled);
}

TEST_F(HttpClientTest, GetBoundsTheAnswer) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "12345")}; });
  EXPECT_EQ(Get(Call(server.Url("/")), 5)->body, "12345");
  EXPECT_EQ(Get(Call(server.Url("/")), 4).error().code, Code::kExhausted);
}

TEST_F(HttpClientTest, RefusesAnEndlessHeader) {
  ScriptServer server([](const SeenRequest&) {
    std::string head = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 1000; ++i) head += "X-" + std::to_string(i) + ": y\r\n";
    return ScriptReply{head, ScriptReply::End::kHold};
  });
  Recorder recorder;
  EXPECT_EQ(Run(Call(server.Url("/")), recorder).error().code, Code::kRetryLater);
  EXPECT_EQ(recorder.heads, 0);
}

TEST_F(HttpClientTest, FollowsRedirectsAndLeavesCredentialsBehind) {
  ScriptServer other([](const SeenRequest&) { return ScriptReply{Answer(200, "blob")}; });
  // Another name is another host, whatever it resolves to.
  const std::string elsewhere = "http://localhost:" + std::to_string(other.port()) + "/cdn";
  ScriptServer server([&](const SeenRequest& request) {
    if (request.target == "/here") return ScriptReply{Answer(302, "", "Location: /there\r\n")};
    if (request.target == "/there") return ScriptReply{Answer(200, "same host")};
    return ScriptReply{Answer(307, "go", "Location: " + elsewhere + "\r\n")};
  });
  HttpCall bearer = Call(server.Url("/blob"));
  bearer.follow_redirects = true;
  bearer.headers = {{"Authorization", "Bearer secret"}};
  auto answer = Get(bearer);
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->body, "blob");
  EXPECT_EQ(answer->head.url, elsewhere);
  EXPECT_EQ(server.seen()[0].Header("Authorization"), "Bearer secret");
  EXPECT_EQ(other.seen()[0].Header("Authorization"), "");

  HttpCall basic = Call(server.Url("/blob"));
  basic.follow_redirects = true;
  basic.user_password = "user:password";
  ASSERT_TRUE(Get(basic).ok());
  EXPECT_EQ(server.seen()[1].Header("Authorization"), "Basic dXNlcjpwYXNzd29yZA==");
  EXPECT_EQ(other.seen()[1].Header("Authorization"), "");

  bearer.url = server.Url("/here");
  EXPECT_EQ(Get(bearer)->body, "same host");
  EXPECT_EQ(server.seen()[3].Header("Authorization"), "Bearer secret");

  bearer.url = server.Url("/blob");
  bearer.follow_redirects = false;
  EXPECT_EQ(Get(bearer)->head.status, 307);
}

TEST_F(HttpClientTest, EndsARingOfRedirects) {
  ScriptServer server(
      [](const SeenRequest&) { return ScriptReply{Answer(302, "", "Location: /again\r\n")}; });
  HttpCall call = Call(server.Url("/"));
  call.follow_redirects = true;
  EXPECT_EQ(Get(std::move(call)).error().code, Code::kInvalid);
}

TEST_F(HttpClientTest, TrustsOnlyKnownAuthorities) {
  const auto certificate = test::MakeTestCertificate();
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "x")}; },
                      certificate.context);
  const auto refused = Get(Call(server.Url("/")));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kDenied) << refused.error().text;

  HttpCall insecure = Call(server.Url("/"));
  insecure.insecure = true;
  EXPECT_TRUE(Get(std::move(insecure)).ok());
  // The connection made without verification must not serve a call that wants it.
  EXPECT_EQ(Get(Call(server.Url("/"))).error().code, Code::kDenied);

  const std::string path = testing::TempDir() + "/shoal_ca_" + std::to_string(getpid()) + ".pem";
  std::ofstream(path) << certificate.pem;
  HttpCall trusted = Call(server.Url("/"));
  trusted.ca_file = path;
  const auto answer = Get(trusted);
  EXPECT_TRUE(answer.ok()) << answer.error().text;
  unlink(path.c_str());
  HttpCall missing = Call(server.Url("/"));
  missing.ca_file = path + ".none";
  EXPECT_EQ(Get(std::move(missing)).error().code, Code::kInvalid);
}

TEST_F(HttpClientTest, TalksToThePeerItExpects) {
  const auto identity = TestIdentity(2);
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "record")}; },
                      identity.ServerContext());
  const auto answer = Get(PeerCall(server, identity.id()));
  ASSERT_TRUE(answer.ok()) << answer.error().text;
  EXPECT_EQ(answer->body, "record");
}

TEST_F(HttpClientTest, RefusesAnotherPeerBeforeAnythingIsAsked) {
  const auto identity = TestIdentity(2);
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "record")}; },
                      identity.ServerContext());
  for (int i = 0; i < 3; ++i) {
    const auto answer = Get(PeerCall(server, TestIdentity(3).id()));
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code, Code::kDenied) << answer.error().text;
  }
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(HttpClientTest, NeverReusesAFirstContactForAPinnedPeer) {
  const auto identity = TestIdentity(2);
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "record")}; },
                      identity.ServerContext());
  HttpCall first = PeerCall(server, std::nullopt);
  first.affinity = 0;
  ASSERT_TRUE(Get(first).ok());
  ASSERT_TRUE(Get(first).ok());
  EXPECT_EQ(server.seen()[1].connection, 0);

  HttpCall wrong = PeerCall(server, TestIdentity(3).id());
  wrong.affinity = 0;
  EXPECT_EQ(Get(wrong).error().code, Code::kDenied);
  HttpCall right = PeerCall(server, identity.id());
  right.affinity = 0;
  ASSERT_TRUE(Get(right).ok());
  EXPECT_GT(server.seen()[2].connection, 0);

  wrong.url = first.url;  // the name of another
  EXPECT_EQ(Get(wrong).error().code, Code::kInvalid);
}

TEST_F(HttpClientTest, PeersAreNeverReachedThroughAProxy) {
  const auto identity = TestIdentity(2);
  ScriptServer proxy([](const SeenRequest&) { return ScriptReply{Answer(200, "from the proxy")}; });
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "direct")}; },
                      identity.ServerContext());
  setenv("http_proxy", ("http://" + proxy.host()).c_str(), 1);
  setenv("HTTPS_PROXY", ("http://" + proxy.host()).c_str(), 1);
  const auto upstream = Get(Call("http://registry.invalid/v2/"));
  const auto peer = Get(PeerCall(server, identity.id()));
  unsetenv("http_proxy");
  unsetenv("HTTPS_PROXY");
  ASSERT_TRUE(upstream.ok()) << upstream.error().text;
  EXPECT_EQ(upstream->body, "from the proxy");
  ASSERT_TRUE(peer.ok()) << peer.error().text;
  EXPECT_EQ(peer->body, "direct");
}

TEST_F(HttpClientTest, CarriesLargeBodiesOverTlsWhole) {
  const auto identity = TestIdentity(2);
  std::string body(5'000'011, '\0');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761U >> 13);
  ScriptServer server([&](const SeenRequest&) { return ScriptReply{Answer(200, body)}; },
                      identity.ServerContext());
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 12; ++i) {
    recorders.push_back(std::make_shared<Recorder>());
    client_->Start(PeerCall(server, identity.id()), recorders.back());
  }
  for (auto& recorder : recorders) {
    EXPECT_TRUE(recorder->Wait().ok());
    EXPECT_TRUE(recorder->body == body);
  }
}

TEST_F(HttpClientTest, ReadsTinyTlsRecordsOfAChunkedAnswer) {
  const auto identity = TestIdentity(2);
  std::string wire = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 2000; ++i)
    wire += "1\r\n" + std::string(1, static_cast<char>('a' + i % 26)) + "\r\n";
  wire += "0\r\n\r\n";
  for (const std::size_t write_bytes : {1, 3, 7, 100, 1 << 20}) {
    ScriptServer server(
        [&](const SeenRequest&) {
          return ScriptReply{wire, ScriptReply::End::kKeep, write_bytes};
        },
        identity.ServerContext());
    for (int i = 0; i < 3; ++i) {
      HttpCall call = PeerCall(server, identity.id());
      call.stall_timeout = seconds(2);
      const auto answer = Get(std::move(call));
      ASSERT_TRUE(answer.ok()) << answer.error().text;
      EXPECT_EQ(answer->body.size(), 2000U);
    }
  }
}

TEST_F(HttpClientTest, LeavesNoRecordBehindOnKeptConnections) {
  const auto identity = TestIdentity(2);
  const std::string body(200'000, 'x');
  ScriptServer server(
      [&](const SeenRequest& request) {
        const std::size_t write_bytes = 900 + std::stoul(request.target.substr(1)) * 167 % 17'000;
        return ScriptReply{Answer(200, body), ScriptReply::End::kKeep, write_bytes};
      },
      identity.ServerContext());
  std::vector<std::shared_ptr<Recorder>> recorders;
  for (int i = 0; i < 150; ++i) {
    recorders.push_back(std::make_shared<Recorder>());
    HttpCall call = PeerCall(server, identity.id());
    call.url = PeerUrl(identity.id(), call.peer->endpoint, "/" + std::to_string(i));
    call.stall_timeout = seconds(10);
    call.connect_timeout = seconds(60);  // most wait for a connection first
    client_->Start(std::move(call), recorders.back());
  }
  for (auto& recorder : recorders) {
    const auto status = recorder->Wait();
    EXPECT_TRUE(status.ok()) << status.error().text;
    EXPECT_EQ(recorder->body.size(), body.size());
  }
}

// One connection to each host, and a server whose answer to /first waits until it may come.
class HttpClientTurnsTest : public HttpClientTest {
 protected:
  void SetUp() override {
    HttpClient::Options options;
    options.threads = 1;
    options.connections_per_host_max = 1;
    client_ = std::move(HttpClient::Start(options)).value();
  }

  ScriptReply Reply(const SeenRequest& request) {
    if (request.target == "/first") {
      reached_.set_value();
      released_.get_future().wait();
    }
    return ScriptReply{Answer(200, request.target)};
  }

  // Returns when so much time has passed that a call of which `limit` is asked would be late.
  void LetPass(Duration limit) {
    ScriptServer silent([](const SeenRequest&) {
      return ScriptReply{"", ScriptReply::End::kHold};
    });
    HttpCall call = Call(silent.Url("/"));
    call.stall_timeout = limit * 2;
    Recorder recorder;
    EXPECT_EQ(Run(std::move(call), recorder).error().code, Code::kRetryLater);
  }

  std::promise<void> reached_;
  std::promise<void> released_;
};

TEST_F(HttpClientTurnsTest, ACallIsNotLateWhileItWaitsForItsTurn) {
  ScriptServer server([this](const SeenRequest& request) { return Reply(request); });
  auto first = std::make_shared<Recorder>();
  auto second = std::make_shared<Recorder>();
  client_->Start(Call(server.Url("/first")), first);
  reached_.get_future().wait();
  HttpCall call = Call(server.Url("/second"));
  call.connect_timeout = call.stall_timeout = milliseconds(150);
  client_->Start(std::move(call), second);
  LetPass(milliseconds(150));
  released_.set_value();
  EXPECT_TRUE(first->Wait().ok());
  const auto status = second->Wait();
  EXPECT_TRUE(status.ok()) << status.error().text;
  EXPECT_EQ(second->body, "/second");
}

// Calls with an affinity run on each thread.
TEST(HttpClientThreadsTest, TogetherRunNoMoreShortCallsThanAHostMayHave) {
  HttpClient::Options options;
  options.threads = 2;
  options.small_calls_per_host_max = 2;
  const auto client = std::move(HttpClient::Start(options)).value();
  ScriptServer silent([](const SeenRequest&) { return ScriptReply{"", ScriptReply::End::kHold}; });
  ScriptServer other([](const SeenRequest&) { return ScriptReply{Answer(200, "x")}; });
  const auto get = [&](const ScriptServer& server, std::uint64_t affinity) {
    HttpCall call;
    call.url = server.Url("/");
    call.affinity = affinity;
    auto ended = std::make_shared<std::promise<void>>();
    client->Get(std::move(call), 1, [ended](const auto&) { ended->set_value(); });
    return ended->get_future();
  };
  for (const std::uint64_t thread : {0, 1}) {
    for (int i = 0; i < 3; ++i) get(silent, thread);
    get(other, thread).wait();  // whatever of them may begin has begun
  }
  EXPECT_LE(silent.seen().size(), 2U);
}

TEST_F(HttpClientTest, ASinkMayStartTheNextCall) {
  ScriptServer server(
      [](const SeenRequest& request) { return ScriptReply{Answer(200, request.target)}; });
  std::promise<std::string> promise;
  client_->Get(Call(server.Url("/1")), 100, [&](Result<HttpClient::Answer>) {
    client_->Get(Call(server.Url("/2")), 100,
                 [&](Result<HttpClient::Answer> second) { promise.set_value(second->body); });
  });
  EXPECT_EQ(promise.get_future().get(), "/2");
}

}  // namespace
}  // namespace shoal::fetch
