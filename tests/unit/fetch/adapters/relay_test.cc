// A relay, a callee that only dials out, and a caller, over real sockets.
#include "fetch/transport/relay_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "fetch/transport/call_taker.h"
#include "fetch/transport/http_client.h"
#include "fetch/transport/http_head.h"
#include "fetch/transport/peer_client.h"
#include "tests/unit/fetch/adapters/http_probe.h"
#include "tests/unit/fetch/adapters/test_identity.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::fetch {
namespace {

using test::TestLoop;
using testing::HasSubstr;

class RelayTest : public testing::Test {
 protected:
  void SetUp() override {
    HttpServer::Options options;
    options.listen = {"127.0.0.1", 0};
    options.name = "peer";
    options.tls = callee_;
    callee_server_ = HttpServer::Start(options, [this](const HttpRequest& request, auto respond) {
                       ++requests_;
                       HttpReply reply;
                       reply.body.push_back(
                           {request.target == "/large" ? large_ : "I am here", nullptr, {}, {}});
                       reply.headers = {{"Asker", request.peer->Hex()}};
                       respond(std::move(reply));
                     }).value();
    options.tls = relay_;
    relay_server_ =
        HttpServer::Start(options, [this](const HttpRequest& request, auto respond) {
          if (request.method == "CONNECT") {
            service_->Connect(*request.peer,
                              request.target.find(".peer.") != std::string::npos && lies_to_.load()
                                  ? callee_.id().Hex() + ".peer.shoal:443"
                                  : request.target,
                              std::move(respond));
          } else {
            service_->Reserve(*request.peer, kReserveWaitMax, std::move(respond));
          }
        }).value();
    MakeService({}, {});
    taker_ = std::make_unique<CallTaker>(
        callee_, [this](std::unique_ptr<RawConnection> connection, const std::string& remote) {
          EXPECT_THAT(remote, HasSubstr("relay"));
          callee_server_->Adopt(std::move(connection), remote);
        });
    callee_client_ = MakeClient(callee_);
    caller_client_ = MakeClient(caller_);
    asks_ = std::make_unique<PeerClient>(*callee_client_);
  }
  void TearDown() override {
    waits_ = false;
    loop_.Ask([this] {
      service_->Stop();
      return 0;
    });
    callee_client_.reset();
    caller_client_.reset();
    taker_.reset();
    relay_server_->Stop(Duration(0));
    callee_server_->Stop(Duration(0));
    loop_.Stop();
  }

  static std::unique_ptr<HttpClient> MakeClient(const TlsIdentity& identity) {
    HttpClient::Options options;
    options.identity = identity;
    return std::move(HttpClient::Start(options)).value();
  }

  void MakeService(RelayLimits limits, Splicer::Options splicer) {
    service_ = std::make_shared<RelayService>(
        RelayService::Ports{loop_,
                            [this](const PeerId&, const PeerId&) { return share_room_.load(); },
                            [] { return true; }},
        relay_.id(), limits, splicer);
  }

  [[nodiscard]] index::Endpoint Relay() const {
    index::Endpoint relay = relay_server_->endpoint();
    relay.relay = relay_.id();
    return relay;
  }

  // The callee waits at the relay for calls from now on.
  void WaitForCalls() {
    asks_->Reserve(relay_.id(), relay_server_->endpoint(), "", kReserveWaitMax,
                   [this](const Result<std::vector<std::uint64_t>>& calls) {
                     if (!waits_ || !calls) return;
                     for (const auto call : *calls) taker_->Take(Relay(), call);
                     WaitForCalls();
                   });
    while (View().peers.empty()) std::this_thread::yield();
  }

  Result<HttpClient::Answer> Get(const std::string& path, const index::Endpoint& at,
                                 const PeerId& peer) {
    HttpCall call;
    call.peer = HttpCall::ToPeer{at, peer};
    call.url = PeerUrl(peer, at, path);
    call.connect_timeout = kTestPatience;
    std::promise<Result<HttpClient::Answer>> promise;
    caller_client_->Get(std::move(call), 64 << 20,
                        [&](auto answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  }

  RelayService::View View() {
    return loop_.Ask([this] { return service_->view(); });
  }

  TestLoop loop_{TestLoop::Clock::kReal};
  TlsIdentity relay_ = TestIdentity(1);
  TlsIdentity callee_ = TestIdentity(2);
  TlsIdentity caller_ = TestIdentity(3);
  const std::string large_ = Pattern((3 << 20) + 5);
  std::atomic<bool> share_room_ = true;
  std::atomic<bool> lies_to_ = false;  // the relay connects every caller to the callee
  std::atomic<bool> waits_ = true;
  std::atomic<int> requests_ = 0;  // that the callee got
  std::unique_ptr<HttpServer> callee_server_;
  std::unique_ptr<HttpServer> relay_server_;
  std::shared_ptr<RelayService> service_;
  std::unique_ptr<CallTaker> taker_;
  std::unique_ptr<HttpClient> callee_client_;
  std::unique_ptr<HttpClient> caller_client_;
  std::unique_ptr<PeerClient> asks_;
};

TEST_F(RelayTest, TheCallerReachesTheCalleeAndEachKnowsTheOther) {
  WaitForCalls();
  for (int i = 0; i < 3; ++i) {
    const auto answer = Get("/here", Relay(), callee_.id());
    ASSERT_TRUE(answer) << answer.error().text;
    EXPECT_EQ(answer->body, "I am here");
    EXPECT_EQ(FindHeader(answer->head.headers, "asker"), caller_.id().Hex());
  }
  EXPECT_EQ(View().calls, 1) << "the circuit is kept, as any connection";
}

TEST_F(RelayTest, CarriesLargeBodiesWhole) {
  WaitForCalls();
  const auto answer = Get("/large", Relay(), callee_.id());
  ASSERT_TRUE(answer) << answer.error().text;
  EXPECT_EQ(answer->body, large_);
  EXPECT_GE(View().bytes, std::ssize(large_));
}

TEST_F(RelayTest, AWrongCalleeIsRefused) {
  WaitForCalls();
  lies_to_ = true;
  const auto answer = Get("/here", Relay(), TestIdentity(7).id());
  ASSERT_FALSE(answer);
  EXPECT_EQ(View().calls, 1) << "they were connected";
  EXPECT_EQ(requests_, 0) << "and nothing was asked";
}

TEST_F(RelayTest, AWrongRelayIsRefusedBeforeItIsAsked) {
  WaitForCalls();
  index::Endpoint other = Relay();
  other.relay = TestIdentity(7).id();
  const auto answer = Get("/here", other, callee_.id());
  ASSERT_FALSE(answer);
  EXPECT_EQ(View().calls, 0);
}

TEST_F(RelayTest, ADirectConnectionAndACircuitAreNotTakenForEachOther) {
  WaitForCalls();
  ASSERT_TRUE(Get("/here", Relay(), callee_.id()));
  ASSERT_TRUE(Get("/here", callee_server_->endpoint(), callee_.id()));
  EXPECT_EQ(View().calls, 1);
  EXPECT_EQ(callee_server_->connections(), 2);
}

TEST_F(RelayTest, WhoSharesNoRoomIsNotConnected) {
  WaitForCalls();
  share_room_ = false;
  EXPECT_FALSE(Get("/here", Relay(), callee_.id()));
  EXPECT_EQ(View().refused, 1);
}

TEST_F(RelayTest, WhoHoldsNoPlaceIsNotReached) {
  EXPECT_FALSE(Get("/here", Relay(), callee_.id()));
  EXPECT_EQ(View().refused, 1);
}

TEST_F(RelayTest, ACallThatNobodyTakesEnds) {
  MakeService({.accept = std::chrono::milliseconds(20)}, {});
  // It holds a place, and does not listen.
  asks_->Reserve(relay_.id(), relay_server_->endpoint(), "", Duration(0), [](const auto&) {});
  while (View().peers.empty()) std::this_thread::yield();
  const auto answer = Get("/here", Relay(), callee_.id());
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().text, HasSubstr("504"));
  EXPECT_EQ(View().circuits, 0);
}

TEST_F(RelayTest, ACircuitWithoutBytesIsClosed) {
  loop_.Ask([this] {
    service_->Stop();
    return 0;
  });
  MakeService({}, {.idle = std::chrono::milliseconds(50)});
  WaitForCalls();
  ASSERT_TRUE(Get("/here", Relay(), callee_.id()));
  while (View().circuits > 0) std::this_thread::yield();
  ASSERT_TRUE(Get("/here", Relay(), callee_.id()));
  EXPECT_EQ(View().calls, 2);
}

TEST_F(RelayTest, ACircuitEndsAfterItsTime) {
  loop_.Ask([this] {
    service_->Stop();
    return 0;
  });
  MakeService({.life = std::chrono::milliseconds(50)}, {});
  WaitForCalls();
  static_cast<void>(Get("/here", Relay(), callee_.id()));
  while (View().calls < 1 || View().circuits > 0) std::this_thread::yield();
}

TEST_F(RelayTest, TheRelayStopsWithCircuitsOpen) {
  WaitForCalls();
  ASSERT_TRUE(Get("/here", Relay(), callee_.id()));
}

}  // namespace
}  // namespace shoal::fetch
