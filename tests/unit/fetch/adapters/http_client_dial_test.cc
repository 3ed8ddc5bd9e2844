// What becomes of connections to peers whose handshakes take long, and of those that nobody waits
// for any more.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>

#include "fetch/transport/http_client.h"
#include "tests/unit/fetch/adapters/http_probe.h"
#include "tests/unit/fetch/adapters/test_identity.h"
#include "tests/unit/support/script_server.h"

namespace shoal::fetch {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using test::ScriptReply;
using test::ScriptServer;
using test::SeenRequest;
using Got = Result<HttpClient::Answer>;

// A gate that holds whoever comes while it is shut.
class Latch {
 public:
  void Open() {
    if (!std::exchange(open_, true)) promise_.set_value();
  }
  void Wait() const { future_.wait(); }

 private:
  bool open_ = false;
  std::promise<void> promise_;
  std::shared_future<void> future_{promise_.get_future().share()};
};

// Handshakes and answers wait at their gates. One short call at a time: the next waits for one that
// goes on though it was given up.
class HttpClientDialTest : public testing::Test {
 protected:
  explicit HttpClientDialTest(int calls = 1) : calls_(calls) {}
  void SetUp() override {
    HttpClient::Options options;
    options.threads = 1;
    options.small_calls_per_host_max = calls_;
    options.identity = TestIdentity(1);
    client_ = std::move(HttpClient::Start(options)).value();
    server_.emplace(
        [this](const SeenRequest& request) {
          Notify();
          if (request.target == "/slow") answers_.Wait();
          return ScriptReply{test::Answer(200, request.target)};
        },
        TestIdentity(2).ServerContext(),
        [this](int /*number*/) {
          ++handshakes_;
          Notify();
          gate_.load()->Wait();
        });
  }
  void TearDown() override {
    shut_.Open();
    answers_.Open();
    client_.reset();
    server_.reset();
  }

  HttpCall Call(std::string_view path) const {
    HttpCall call;
    const PeerId peer = TestIdentity(2).id();
    call.peer = HttpCall::ToPeer{{"127.0.0.1", server_->port()}, peer};
    call.url = PeerUrl(peer, call.peer->endpoint, path);
    call.connect_timeout = kTestPatience;
    return call;
  }
  HttpClient::CallId Start(HttpCall call, std::promise<Got>& into,
                           std::function<void()> on_turn = {}) {
    return client_->Get(
        std::move(call), 1000, [&into](Got got) { into.set_value(std::move(got)); },
        std::move(on_turn));
  }
  Got Get(std::string_view path) {
    std::promise<Got> promise;
    Start(Call(path), promise);
    return promise.get_future().get();
  }
  void ExpectCancelled(HttpClient::CallId id, std::promise<Got>& promise) {
    client_->Cancel(id);
    const Got got = promise.get_future().get();
    ASSERT_FALSE(got.ok());
    EXPECT_EQ(got.error().code, Code::kCancelled);
  }
  void Notify() {
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
  }
  // Looks again at each handshake, request and turn.
  template <class Condition>
  bool Becomes(const Condition& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kTestPatience, condition);
  }
  // Returns when so much time has passed: a call to a server that says nothing takes as long.
  void LetPass(Duration time) {
    ScriptServer silent([](const SeenRequest&) {
      return ScriptReply{"", ScriptReply::End::kHold};
    });
    HttpCall call;
    call.url = silent.Url("/");
    call.stall_timeout = time;
    std::promise<Got> promise;
    Start(std::move(call), promise);
    EXPECT_FALSE(promise.get_future().get().ok());
  }
  // Gives up a connected call whose answer is due within `stall`, and lets it come. Returns the
  // number of the connection that the next call used.
  int ConnectionAfterGivingUp(Duration stall) {
    shut_.Open();
    std::promise<Got> promise;
    HttpCall call = Call("/slow");
    call.stall_timeout = stall;
    const auto id = Start(std::move(call), promise);
    EXPECT_TRUE(Becomes([this] { return server_->Count("/slow") == 1; }));
    ExpectCancelled(id, promise);
    answers_.Open();
    EXPECT_TRUE(Get("/next").ok());
    return server_->seen().back().connection;
  }
  // Makes dials known to take about this.
  void DialSlowly(Duration took) {
    gate_ = &shut_;
    std::promise<Got> promise;
    Start(Call("/first"), promise);
    ASSERT_TRUE(Becomes([this] { return handshakes_ == 1; }));
    LetPass(took);
    shut_.Open();
    ASSERT_TRUE(promise.get_future().get().ok());
  }

  Latch shut_;
  Latch answers_;
  int calls_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::atomic<int> handshakes_ = 0;
  std::atomic<Latch*> gate_ = &shut_;
  std::optional<ScriptServer> server_;
  std::unique_ptr<HttpClient> client_;
};

TEST_F(HttpClientDialTest, ADialGoesOnWhenNobodyWaitsForIt) {
  std::promise<Got> promise;
  const auto id = Start(Call("/first"), promise);
  ASSERT_TRUE(Becomes([this] { return handshakes_ == 1; }));
  ExpectCancelled(id, promise);
  shut_.Open();
  ASSERT_TRUE(Becomes([this] { return server_->Count("/first") == 1; }));
  ASSERT_TRUE(Get("/second").ok());
  EXPECT_EQ(handshakes_, 1) << "its connection was kept";
}

TEST_F(HttpClientDialTest, ALongAnswerThatNobodyWaitsForIsNotAskedFor) {
  class Sink : public HttpSink {
   public:
    bool OnHead(const HttpHead& /*head*/) override { return true; }
    bool OnBytes(ByteSpan /*bytes*/) override { return true; }
    void OnDone(Status status) override { done.set_value(std::move(status)); }
    std::promise<Status> done;
  };
  const auto sink = std::make_shared<Sink>();
  const auto id = client_->Start(Call("/long"), sink);
  ASSERT_TRUE(Becomes([this] { return handshakes_ == 1; }));
  client_->Cancel(id);
  EXPECT_EQ(sink->done.get_future().get().error().code, Code::kCancelled);
  shut_.Open();
  ASSERT_TRUE(Get("/second").ok());
  EXPECT_EQ(server_->Count("/long"), 0);
}

TEST_F(HttpClientDialTest, AShortAnswerThatIsDueSoonIsReadForItsConnection) {
  EXPECT_EQ(ConnectionAfterGivingUp(seconds(2)), 0) << "it was kept";
}

TEST_F(HttpClientDialTest, AnAnswerThatMayBeHeldBackForLongIsNotWaitedFor) {
  EXPECT_EQ(ConnectionAfterGivingUp(seconds(12)), 1);
}

TEST_F(HttpClientDialTest, ItIsACallsTurnOnceItsDialTakesLongerThanTheyDo) {
  DialSlowly(milliseconds(300));
  Latch never;
  gate_ = &never;
  std::atomic<bool> turn = false;
  std::promise<Got> promise;
  HttpCall call = Call("/second");
  call.fresh = true;
  const auto id = Start(std::move(call), promise, [&] {
    turn = true;
    Notify();
  });
  ASSERT_TRUE(Becomes([this] { return handshakes_ == 2; }));
  LetPass(milliseconds(150));
  EXPECT_FALSE(turn) << "dials take 300 ms";
  EXPECT_TRUE(Becomes([&turn] { return turn.load(); })) << "but not for ever";
  ExpectCancelled(id, promise);
  never.Open();
  ASSERT_TRUE(Becomes([this] { return server_->Count("/second") == 1; }));
}

class HttpClientDialsTest : public HttpClientDialTest {
 protected:
  HttpClientDialsTest() : HttpClientDialTest(8) {}
};

TEST_F(HttpClientDialsTest, FewDialToAPeerAtOnceWhereThatTakesLong) {
  DialSlowly(milliseconds(400));
  Latch later;
  gate_ = &later;
  std::array<std::promise<Got>, 5> promises;
  for (auto& promise : promises) {
    HttpCall call = Call("/more");
    call.fresh = true;
    Start(std::move(call), promise);
  }
  ASSERT_TRUE(Becomes([this] { return handshakes_ == 3; }));
  LetPass(milliseconds(150));
  EXPECT_EQ(handshakes_, 3) << "two of them";
  later.Open();
  for (auto& promise : promises) EXPECT_TRUE(promise.get_future().get().ok());
  EXPECT_EQ(handshakes_, 6);
}

}  // namespace
}  // namespace shoal::fetch
