// The rate limit at both ends of a connection. A limit is an upper bound on what moves in a time
// that is measured around it, so a slow machine cannot fail these.
#include "fetch/transport/rate_limiter.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "fetch/transport/curl_call.h"
#include "fetch/transport/http_client.h"
#include "tests/unit/fetch/adapters/http_probe.h"
#include "tests/unit/fetch/adapters/test_identity.h"

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;

// How much may have moved since it was made.
class Allowance {
 public:
  explicit Allowance(Bytes per_second) : per_second_(per_second) {}
  // slack: beyond the burst.
  [[nodiscard]] std::size_t Now(Bytes slack) const {
    const auto time = RateLimiter::Now() - begin_ + kRateBurst;
    return static_cast<std::size_t>(per_second_.count() * time.count() / 1'000'000 + slack.count());
  }

 private:
  Bytes per_second_;
  Time begin_ = RateLimiter::Now();
};

class LimitedServerTest : public ::testing::TestWithParam<bool> {
 protected:
  void Start(Bytes rate, HttpServer::Handler handler) {
    limiter_.emplace(rate);
    HttpServer::Options options;
    options.listen = {"127.0.0.1", 0};
    options.name = "peer";
    if (GetParam()) options.tls = TestIdentity(2);
    options.rate = &*limiter_;
    server_ = std::move(HttpServer::Start(std::move(options), std::move(handler))).value();
    HttpClient::Options client;
    client.identity = TestIdentity(1);
    client_ = std::move(HttpClient::Start(client)).value();
  }

  HttpCall Call() {
    HttpCall call;
    const index::Endpoint at = server_->endpoint();
    if (GetParam()) {
      call.peer = HttpCall::ToPeer{at, TestIdentity(2).id()};
      call.url = PeerUrl(TestIdentity(2).id(), at, "/");
    } else {
      call.url = "http://" + index::ToString(at) + "/";
    }
    return call;
  }

  std::future<std::string> Get() {
    auto promise = std::make_shared<std::promise<std::string>>();
    client_->Get(Call(), 64 << 20, [promise](Result<HttpClient::Answer> answer) {
      promise->set_value(answer ? answer->body : answer.error().text);
    });
    return promise->get_future();
  }

  ScratchFolder folder_;
  std::optional<RateLimiter> limiter_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<HttpClient> client_;
};
INSTANTIATE_TEST_SUITE_P(PlainAndTls, LimitedServerTest, ::testing::Bool());

TEST_P(LimitedServerTest, SendsFilesWholeAndNoFasterThanItsRate) {
  const std::string text = Pattern(2 << 20);
  const SharedFile file = OpenForRead(folder_.Write("blob", text)).value();
  const Bytes rate(16 << 20);
  Start(rate, [&](const HttpRequest&, const HttpServer::Responder& respond) {
    respond(FileReply(file, 0, static_cast<std::int64_t>(text.size())));
  });
  const Allowance allowance(rate);
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 3; ++i) answers.push_back(Get());
  for (auto& answer : answers) EXPECT_TRUE(answer.get() == text);
  EXPECT_LE(3 * text.size(), allowance.Now(limiter_->slice() * 3));
}

TEST_P(LimitedServerTest, SendsLongTextsWholeAndNoFasterThanItsRate) {
  const std::string text = Pattern(1 << 20);
  const Bytes rate(8 << 20);
  Start(rate, [&](const HttpRequest&, const HttpServer::Responder& respond) {
    HttpReply reply = TextReply(text.substr(0, 300'000));
    reply.body.push_back({text.substr(300'000), nullptr, {}, {}});
    respond(std::move(reply));
  });
  const Allowance allowance(rate);
  EXPECT_TRUE(Get().get() == text);
  EXPECT_LE(text.size(), allowance.Now(limiter_->slice()));
}

TEST(RateLimiterTest, CountsHeadersAsPacketsAreFull) {
  const auto took = [](Bytes rate, RateLimiter::Of what) {
    RateLimiter limiter(rate, what);
    const Time now = RateLimiter::Now();
    limiter.Account(now, rate);  // a second's worth
    return limiter.Book(now, Bytes(0)) - (now - kRateBurst);
  };
  EXPECT_EQ(took(Bytes(2'000'000), RateLimiter::Of::kUploads), 1025ms);
  EXPECT_EQ(took(Bytes(2'000'000), RateLimiter::Of::kDownloads), 1050ms);
  EXPECT_EQ(took(kFullPacketsFrom, RateLimiter::Of::kDownloads), 1025ms);
}

// They are counted, and those behind them wait the longer.
TEST_P(LimitedServerTest, ShortTextsAreSentAtOnce) {
  Start(kRateMin, [](const HttpRequest&, const HttpServer::Responder& respond) {
    respond(TextReply(std::string(10'000, 'x')));
  });
  const Time before = RateLimiter::Now();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Get().get().size(), 10'000U);
  EXPECT_GE(limiter_->Book(RateLimiter::Now(), Bytes(0)) - before, 2900ms);
}

TEST_P(LimitedServerTest, AnAnswerThatIsCutGivesBackItsTurn) {
  const std::string text = Pattern(8 << 20);
  const SharedFile file = OpenForRead(folder_.Write("blob", text)).value();
  Mail<Bytes> done;
  Start(Bytes(4 << 20), [&](const HttpRequest&, const HttpServer::Responder& respond) {
    HttpReply reply = FileReply(file, 0, static_cast<std::int64_t>(text.size()));
    reply.done = [&](Bytes sent, bool) { done.Put(sent); };
    respond(std::move(reply));
  });
  Mail<bool> ended;
  class Cutter : public HttpSink {
   public:
    explicit Cutter(Mail<bool>& ended) : ended_(ended) {}
    bool OnHead(const HttpHead&) override { return true; }
    bool OnBytes(ByteSpan) override { return false; }
    void OnDone(Status status) override { ended_.Put(status.ok()); }

   private:
    Mail<bool>& ended_;
  };
  client_->Start(Call(), std::make_shared<Cutter>(ended));
  EXPECT_EQ(ended.Take(), false);
  const auto sent = done.Take();
  ASSERT_TRUE(sent);
  EXPECT_LT(*sent, Bytes(8 << 20));
  EXPECT_LE(limiter_->Book(RateLimiter::Now(), Bytes(0)), RateLimiter::Now() + kRateSlice);
}

class LimitedClientTest : public LimitedServerTest {
 protected:
  void StartBoth(Bytes rate, std::string text) {
    Start(kRateMax, [text](const HttpRequest&, const HttpServer::Responder& respond) {
      respond(TextReply(text));
    });
    limiter_.emplace(rate);
    HttpClient::Options options;
    options.identity = TestIdentity(1);
    options.connections_per_host_max = 100;
    options.rate = &*limiter_;
    client_ = std::move(HttpClient::Start(options)).value();
  }
};
INSTANTIATE_TEST_SUITE_P(PlainAndTls, LimitedClientTest, ::testing::Bool());

TEST_P(LimitedClientTest, ReceivesWholeAndNoFasterThanItsRate) {
  const std::string text = Pattern(2 << 20);
  const Bytes rate(16 << 20);
  StartBoth(rate, text);
  const Allowance allowance(rate);
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 3; ++i) answers.push_back(Get());
  for (auto& answer : answers) EXPECT_TRUE(answer.get() == text);
  EXPECT_LE(3 * text.size(), allowance.Now(limiter_->slice() * 3 + kUnheldBytes * 3));
}

// Twenty calls begin at once, and each waits longer for its next turn than its stall timeout.
TEST_P(LimitedClientTest, ACallThatWaitsForItsTurnHasNotStalled) {
  const std::string text = Pattern(8 << 10);
  StartBoth(kRateMin, text);
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 20; ++i) {
    auto promise = std::make_shared<std::promise<std::string>>();
    HttpCall call = Call();
    call.stall_timeout = 1s;
    call.connect_timeout = 20s;
    client_->Get(std::move(call), 64 << 20, [promise](Result<HttpClient::Answer> answer) {
      promise->set_value(answer ? answer->body : answer.error().text);
    });
    answers.push_back(promise->get_future());
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get() == text);
}

TEST_P(LimitedClientTest, AHeldCallCanBeCancelled) {
  StartBoth(kRateMin, Pattern(1 << 20));
  Mail<Status> ended;
  Mail<bool> held;
  class Sink : public HttpSink {
   public:
    Sink(Mail<Status>& ended, Mail<bool>& held) : ended_(ended), held_(held) {}
    bool OnHead(const HttpHead&) override { return true; }
    bool OnBytes(ByteSpan bytes) override {
      size_ += bytes.size();
      if (size_ > 2 * static_cast<std::size_t>(kUnheldBytes.count())) held_.Put(true);
      return true;
    }
    void OnDone(Status status) override { ended_.Put(std::move(status)); }

   private:
    Mail<Status>& ended_;
    Mail<bool>& held_;
    std::size_t size_ = 0;
  };
  const auto id = client_->Start(Call(), std::make_shared<Sink>(ended, held));
  EXPECT_TRUE(held.Take());
  client_->Cancel(id);
  const auto status = ended.Take();
  ASSERT_TRUE(status);
  EXPECT_EQ(status->error().code, Code::kCancelled);
}

}  // namespace
}  // namespace shoal::fetch
