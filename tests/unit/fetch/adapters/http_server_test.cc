#include "fetch/transport/http_server.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <optional>
#include <thread>
#include <utility>

#include "tests/unit/fetch/adapters/http_probe.h"

namespace shoal::fetch {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Responder = HttpServer::Responder;

std::unique_ptr<HttpServer> StartServer(HttpServer::Handler handler,
                                        HttpServer::Limits limits = {}) {
  HttpServer::Options options;
  options.listen = {"127.0.0.1", 0};
  options.name = "mirror";
  options.limits = limits;
  auto server = HttpServer::Start(std::move(options), std::move(handler));
  SHOAL_CHECK(server.ok());
  return std::move(*server);
}

void Echo(const HttpRequest& request, const Responder& respond) {
  respond(TextReply(request.method + " " + request.target + " " + request.body));
}

class HttpServerFileTest : public ::testing::Test {
 protected:
  HttpServerFileTest()
      : text_(Pattern(3 << 20)), file_(OpenForRead(folder_.Write("blob", text_)).value()) {}

  // Answers every request with the whole file behind a gate.
  std::unique_ptr<HttpServer> StartGated(HttpServer::Limits limits = {}) {
    return StartServer(
        [this](const HttpRequest&, const Responder& respond) {
          HttpReply reply = FileReply(file_, 0, Size());
          reply.gate = gate_;
          reply.done = [this](Bytes sent, bool whole) { done_.Put({sent, whole}); };
          respond(std::move(reply));
        },
        limits);
  }
  // What is told of an answer of so many bytes to a client that takes nothing.
  std::optional<std::pair<Bytes, bool>> TellOfStalled(HttpServer::Limits limits,
                                                      std::int64_t bytes) {
    limits.send_stall = std::chrono::milliseconds(50);
    const auto server = StartServer(
        [this, bytes](const HttpRequest&, const Responder& respond) {
          HttpReply reply = FileReply(file_, 0, std::min(bytes, Size()));
          for (std::int64_t more = Size(); more < bytes; more += Size()) {
            reply.body.push_back(reply.body.front());
          }
          reply.done = [this](Bytes sent, bool whole) { done_.Put({sent, whole}); };
          respond(std::move(reply));
        },
        limits);
    Probe probe(server->endpoint(), 4096);
    probe.Get("/");
    return done_.Take();
  }
  [[nodiscard]] std::int64_t Size() const { return static_cast<std::int64_t>(text_.size()); }

  ScratchFolder folder_;
  std::string text_;
  SharedFile file_;
  std::shared_ptr<FakeGate> gate_ = std::make_shared<FakeGate>();
  Mail<std::pair<Bytes, bool>> done_;
};

TEST(HttpServerTest, KeepsAConnectionForManyRequests) {
  const auto server = StartServer(Echo);
  Probe probe(server->endpoint());
  for (int i = 0; i < 3; ++i) {
    probe.Get("/" + std::to_string(i));
    const ProbeReply reply = probe.ReadReply();
    EXPECT_EQ(reply.status(), 200);
    EXPECT_EQ(reply.body, "GET /" + std::to_string(i) + " ");
    EXPECT_THAT(reply.head, AllOf(HasSubstr("Connection: keep-alive"), HasSubstr("Date: "),
                                  HasSubstr("Content-Type: text/plain\r\n")));
  }
  EXPECT_EQ(server->connections(), 1);
}

TEST(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  const auto server = StartServer(Echo);
  Probe probe(server->endpoint());
  std::string all;
  for (int i = 0; i < 50; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\n\r\n";
  probe.Send(all);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(probe.ReadReply().body, "GET /" + std::to_string(i) + " ");
}

TEST(HttpServerTest, ReadsRequestsThatComeByteByByte) {
  const auto server = StartServer(Echo);
  Probe probe(server->endpoint());
  for (const char c : std::string("PUT /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")) {
    probe.Send({&c, 1});
  }
  EXPECT_EQ(probe.ReadReply().body, "PUT /x abc");
}

TEST(HttpServerTest, ReadsChunkedBodies) {
  const auto server = StartServer(Echo);
  Probe probe(server->endpoint());
  probe.Send(
      "POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(probe.ReadReply().body, "POST /x abcde");
}

TEST(HttpServerTest, HeadGetsTheLengthAndNoBody) {
  const auto server = StartServer([](const HttpRequest& request, const Responder& respond) {
    HttpReply reply;
    if (request.target == "/claimed") {
      reply.content_length = Bytes(12345);
    } else {
      reply = TextReply("seven b");
    }
    respond(std::move(reply));
  });
  Probe probe(server->endpoint());
  probe.Send("HEAD /text HTTP/1.1\r\n\r\nHEAD /claimed HTTP/1.1\r\n\r\nGET /text HTTP/1.1\r\n\r\n");
  EXPECT_THAT(probe.ReadReply(true).head, HasSubstr("Content-Length: 7\r\n"));
  EXPECT_THAT(probe.ReadReply(true).head, HasSubstr("Content-Length: 12345\r\n"));
  EXPECT_EQ(probe.ReadReply().body, "seven b");
}

TEST(HttpServerTest, PassesUnknownMethodsHeadersAndTheClientsAddress) {
  Mail<HttpRequest> seen;
  const auto server = StartServer([&](HttpRequest request, const Responder& respond) {
    seen.Put(std::move(request));
    respond(TextReply("", 405));
  });
  Probe probe(server->endpoint());
  probe.Send("BREW /pot?x=1 HTTP/1.1\r\nAccept: a\r\nAccept: b\r\n\r\n");
  EXPECT_EQ(probe.ReadReply().status(), 405);
  const auto request = seen.Take();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "BREW");
  EXPECT_EQ(request->target, "/pot?x=1");
  EXPECT_EQ(FindHeader(request->headers, "ACCEPT"), "a");
  EXPECT_EQ(request->headers.size(), 2U);
  EXPECT_TRUE(request->remote.starts_with("127.0.0.1:"));
  EXPECT_FALSE(request->peer);
}

TEST(HttpServerTest, AHeaderNeverBecomesTwo) {
  const auto server = StartServer([](const HttpRequest&, const Responder& respond) {
    HttpReply reply = TextReply("x");
    reply.headers.emplace_back("Warning", "a\r\nEvil: yes");
    respond(std::move(reply));
  });
  Probe probe(server->endpoint());
  probe.Get("/");
  EXPECT_THAT(probe.ReadReply().head, HasSubstr("Warning: aEvil: yes\r\n"));
}

TEST(HttpServerTest, OldClientsAndThoseThatAskForItAreClosedAfterTheAnswer) {
  const auto server = StartServer(Echo);
  for (const std::string request :
       {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"}) {
    Probe probe(server->endpoint());
    probe.Send(request);
    EXPECT_THAT(probe.ReadToEnd(), HasSubstr("Connection: close\r\n"));
  }
}

TEST(HttpServerTest, SaysGoOnToThoseWhoExpectIt) {
  const auto server = StartServer(Echo);
  Probe probe(server->endpoint());
  probe.Send("PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_THAT(probe.ReadHead(), HasSubstr("100 Continue"));
  probe.Send("ok");
  EXPECT_EQ(probe.ReadReply().body, "PUT /x ok");
}

struct BadRequest {
  std::string text;
  int status;
};

class HttpServerBadRequestTest : public ::testing::TestWithParam<BadRequest> {};

TEST_P(HttpServerBadRequestTest, IsRefusedAndClosedWithoutReset) {
  const auto server = StartServer(Echo);
  Probe probe(server->endpoint());
  probe.Send(GetParam().text);
  const std::string answer = probe.ReadToEnd();
  EXPECT_THAT(answer, HasSubstr("HTTP/1.1 " + std::to_string(GetParam().status)));
  EXPECT_THAT(answer, HasSubstr("{\"error\":"));
}

INSTANTIATE_TEST_SUITE_P(
    All, HttpServerBadRequestTest,
    ::testing::Values(
        BadRequest{"rubbish\r\n\r\n" + std::string(40'000, 'x'), 400},
        BadRequest{std::string("\0\1\2\3", 4) + "\r\n\r\n", 400},
        BadRequest{"GET / HTTP/9.9\r\n\r\n", 400},
        BadRequest{"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        BadRequest{"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400},
        BadRequest{"GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x') + "\r\n\r\n", 431},
        BadRequest{"GET / HTTP/1.1\r\nX: " + std::string(20'000, 'x'), 431},
        BadRequest{"GET /" + std::string(9'000, 'x') + " HTTP/1.1\r\n\r\n", 414},
        BadRequest{"PUT / HTTP/1.1\r\nContent-Length: 100000\r\n\r\nabc", 413},
        BadRequest{"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" +
                       std::string(0x10100, 'x'),
                   413}));

TEST(HttpServerTest, SlowHeadersEndInATimeout) {
  HttpServer::Limits limits;
  limits.header_time = std::chrono::milliseconds(50);
  const auto server = StartServer(Echo, limits);
  Probe probe(server->endpoint());
  probe.Send("GET / HTTP/1.1\r\nX: ");
  EXPECT_THAT(probe.ReadToEnd(), HasSubstr("HTTP/1.1 408"));
}

TEST(HttpServerTest, IdleConnectionsAreClosed) {
  HttpServer::Limits limits;
  limits.idle = std::chrono::milliseconds(50);
  const auto server = StartServer(Echo, limits);
  Probe silent(server->endpoint());
  Probe probe(server->endpoint());
  probe.Get("/");
  EXPECT_EQ(probe.ReadReply().status(), 200);
  EXPECT_EQ(probe.ReadToEnd(), "");
  EXPECT_EQ(silent.ReadToEnd(), "");
}

TEST(HttpServerTest, ConnectionsOverTheLimitAreToldSo) {
  HttpServer::Limits limits;
  limits.connections_max = 1;
  const auto server = StartServer(Echo, limits);
  Probe first(server->endpoint());
  first.Get("/");
  EXPECT_EQ(first.ReadReply().status(), 200);
  Probe second(server->endpoint());
  second.Get("/");
  EXPECT_THAT(second.ReadToEnd(), HasSubstr("HTTP/1.1 503"));
  first.Get("/");
  EXPECT_EQ(first.ReadReply().status(), 200);
}

TEST(HttpServerTest, ARequestThatNobodyAnswersGets500) {
  const auto server = StartServer([](const HttpRequest&, const Responder&) {});
  Probe probe(server->endpoint());
  probe.Get("/");
  EXPECT_EQ(probe.ReadReply().status(), 500);
}

TEST(HttpServerTest, AHandlerThatThrowsGets500) {
  const auto server = StartServer([](const HttpRequest&, const Responder&) {
    throw std::runtime_error("what a library may do");
  });
  Probe probe(server->endpoint());
  probe.Get("/");
  EXPECT_EQ(probe.ReadReply().status(), 500);
}

TEST(HttpServerTest, AnswersLaterAndFromAnotherThreadAndOnlyOnce) {
  Mail<Responder> kept;
  const auto server =
      StartServer([&](const HttpRequest&, Responder respond) { kept.Put(std::move(respond)); });
  Probe probe(server->endpoint());
  probe.Get("/");
  auto respond = kept.Take();
  ASSERT_TRUE(respond);
  (*respond)(TextReply("first"));
  (*respond)(TextReply("second"));
  EXPECT_EQ(probe.ReadReply().body, "first");
}

TEST(HttpServerTest, AnAnswerForAClientThatLeftIsToldUnsent) {
  Mail<Responder> kept;
  Mail<std::pair<Bytes, bool>> done;
  const auto server =
      StartServer([&](const HttpRequest&, Responder respond) { kept.Put(std::move(respond)); });
  Probe probe(server->endpoint());
  probe.Get("/");
  auto respond = kept.Take();
  ASSERT_TRUE(respond);
  probe.Close();
  HttpReply reply = TextReply("nobody reads this");
  reply.done = [&](Bytes sent, bool whole) { done.Put({sent, whole}); };
  // The server may or may not have noticed yet.
  (*respond)(std::move(reply));
  EXPECT_TRUE(done.Take());
}

TEST(HttpServerTest, APortThatIsTakenIsNamed) {
  const auto server = StartServer(Echo);
  HttpServer::Options options;
  options.listen = server->endpoint();
  options.name = "mirror";
  const auto second = HttpServer::Start(options, Echo);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kExhausted);
  EXPECT_EQ(second.error().text,
            "the mirror cannot listen on " + index::ToString(server->endpoint()) +
                ": the address is in use; stop what listens there or set mirror.listen");
}

TEST(HttpServerTest, AnAddressThatIsNoneIsRefused) {
  for (const std::string host : {"", "no address", "300.1.1.1", "203.0.113.7"}) {
    HttpServer::Options options;
    options.listen = {host, 0};
    options.name = "peer";
    const auto server = HttpServer::Start(options, Echo);
    ASSERT_FALSE(server.ok()) << host;
    EXPECT_EQ(server.error().code, Code::kInvalid) << host;
    EXPECT_THAT(server.error().text, HasSubstr("peer.listen"));
  }
}

TEST(HttpServerTest, ListensOnIpv6AndOnAllAddresses) {
  for (const std::string host : {"::1", "::", "0.0.0.0"}) {
    HttpServer::Options options;
    options.listen = {host, 0};
    options.name = "peer";
    const auto server = HttpServer::Start(options, Echo);
    ASSERT_TRUE(server.ok()) << host << ": " << server.error().text;
    Probe probe({host == "::1" ? "::1" : "127.0.0.1", (*server)->endpoint().port});
    probe.Get("/");
    EXPECT_EQ(probe.ReadReply().status(), 200) << host;
  }
}

TEST_F(HttpServerFileTest, SendsTextsAndRangesOfFilesInOrder) {
  const auto server = StartServer([this](const HttpRequest&, const Responder& respond) {
    HttpReply reply = FileReply(file_, 5, 2'000'000);
    reply.status = 206;
    reply.body.insert(reply.body.begin(), {"head ", nullptr, {}, {}});
    reply.body.push_back({" middle ", nullptr, {}, {}});
    reply.body.push_back({"", file_, Bytes(7), Bytes(7)});
    reply.body.push_back({"", file_, Bytes(Size() - 10), Bytes(Size())});
    reply.body.push_back({" tail", nullptr, {}, {}});
    reply.done = [this](Bytes sent, bool whole) { done_.Put({sent, whole}); };
    respond(std::move(reply));
  });
  Probe probe(server->endpoint());
  const std::string expected =
      "head " + text_.substr(5, 1'999'995) + " middle " + text_.substr(text_.size() - 10) + " tail";
  for (int i = 0; i < 3; ++i) {
    probe.Get("/");
    const ProbeReply reply = probe.ReadReply();
    EXPECT_EQ(reply.status(), 206);
    EXPECT_TRUE(reply.body == expected);
    const std::pair<Bytes, bool> told(Bytes(static_cast<std::int64_t>(expected.size())), true);
    EXPECT_EQ(done_.Take(), told);
  }
}

TEST_F(HttpServerFileTest, GatedBytesGoOutAsTheyBecomeReadable) {
  const auto server = StartGated();
  Probe probe(server->endpoint());
  probe.Get("/");
  EXPECT_THAT(probe.ReadHead(), HasSubstr("Content-Length: 3145728"));  // before any byte
  std::string got;
  for (const std::int64_t end :
       {std::int64_t{1}, std::int64_t{1000}, std::int64_t{1 << 20}, Size()}) {
    ASSERT_TRUE(gate_->WaitForReader());
    gate_->Open(Bytes(end));
    got += probe.ReadExactly(static_cast<std::size_t>(end) - got.size());
  }
  EXPECT_TRUE(got == text_);
  EXPECT_TRUE(gate_->WaitUntilLeft());
  const std::pair<Bytes, bool> told(Bytes(Size()), true);
  EXPECT_EQ(done_.Take(), told);
}

TEST_F(HttpServerFileTest, AFailedGateClosesWithFinEvenIfTheClientSentMore) {
  const auto server = StartGated();
  gate_->Open(Bytes(1000));
  Probe probe(server->endpoint());
  probe.Get("/");
  probe.Get("/pipelined");
  ASSERT_TRUE(gate_->WaitForReader());
  gate_->Fail({Code::kRetryLater, "all sources are gone"});
  probe.ReadHead();
  EXPECT_EQ(probe.ReadToEnd(), text_.substr(0, 1000));
  const std::pair<Bytes, bool> told(Bytes(1000), false);
  EXPECT_EQ(done_.Take(), told);
  EXPECT_TRUE(gate_->WaitUntilLeft());
}

TEST_F(HttpServerFileTest, AGateThatStallsClosesWithFin) {
  HttpServer::Limits limits;
  limits.gate_stall = std::chrono::milliseconds(50);
  const auto server = StartGated(limits);
  gate_->Open(Bytes(1000));
  Probe probe(server->endpoint());
  probe.Get("/");
  probe.ReadHead();
  EXPECT_EQ(probe.ReadToEnd(), text_.substr(0, 1000));
}

TEST_F(HttpServerFileTest, AClientThatLeavesAtAClosedGateIsNoticed) {
  const auto server = StartGated();
  Probe probe(server->endpoint());
  probe.Get("/");
  ASSERT_TRUE(gate_->WaitForReader());
  probe.Close();
  EXPECT_TRUE(gate_->WaitUntilLeft());
  const std::pair<Bytes, bool> told(Bytes(0), false);
  EXPECT_EQ(done_.Take(), told);
}

TEST_F(HttpServerFileTest, AClientThatLeavesMidBodyIsNoticed) {
  const auto server = StartGated();
  gate_->Open(Bytes(Size()));
  Probe probe(server->endpoint(), 4096);
  probe.Get("/");
  probe.ReadHead();
  probe.Close();
  const auto told = done_.Take();
  ASSERT_TRUE(told);
  EXPECT_FALSE(told->second);
}

TEST_F(HttpServerFileTest, AClientThatTakesNothingIsClosed) {
  const auto told = TellOfStalled({}, 20 * Size());  // beyond any buffer
  ASSERT_TRUE(told);
  EXPECT_FALSE(told->second);
}

TEST_F(HttpServerFileTest, WhatIsNotOnTheWireWaitsWithUs) {
  HttpServer::Limits limits;
  limits.unsent_max = Bytes(64 << 10);
  const auto told = TellOfStalled(limits, 512 << 10);  // a kernel would take it all
  ASSERT_TRUE(told);
  EXPECT_FALSE(told->second);
  EXPECT_LT(told->first, Bytes(256 << 10));
}

TEST_F(HttpServerFileTest, StopLetsRunningAnswersFinish) {
  const auto server = StartGated();
  gate_->Open(Bytes(1000));
  Probe idle(server->endpoint());
  Probe probe(server->endpoint());
  probe.Get("/");
  ASSERT_TRUE(gate_->WaitForReader());
  std::thread stopper([&] { server->Stop(kTestPatience); });
  EXPECT_EQ(idle.ReadToEnd(), "");  // the stop has begun
  idle.Close();
  gate_->Open(Bytes(Size()));
  EXPECT_TRUE(probe.ReadReply().body == text_);
  EXPECT_EQ(probe.ReadToEnd(), "");
  probe.Close();
  stopper.join();
  EXPECT_EQ(server->connections(), 0);
}

TEST_F(HttpServerFileTest, StopCutsWhatDoesNotEnd) {
  const auto server = StartGated();
  Probe probe(server->endpoint());
  probe.Get("/");
  ASSERT_TRUE(gate_->WaitForReader());
  server->Stop(Duration(0));
  probe.ReadHead();
  EXPECT_EQ(probe.ReadToEnd(), "");
  const std::pair<Bytes, bool> told(Bytes(0), false);
  EXPECT_EQ(done_.Take(), told);
  EXPECT_TRUE(gate_->WaitUntilLeft());
  gate_->Open(Bytes(Size()));  // a wake that comes too late does nothing
}

TEST(HttpServerTest, AnAnswerThatOutlivesTheServerIsToldUnsent) {
  Mail<Responder> kept;
  Mail<std::pair<Bytes, bool>> done;
  auto server =
      StartServer([&](const HttpRequest&, Responder respond) { kept.Put(std::move(respond)); });
  Probe probe(server->endpoint());
  probe.Get("/");
  auto respond = kept.Take();
  ASSERT_TRUE(respond);
  server->Stop(Duration(0));
  server.reset();
  HttpReply reply = TextReply("too late");
  reply.done = [&](Bytes sent, bool whole) { done.Put({sent, whole}); };
  (*respond)(std::move(reply));
  const std::pair<Bytes, bool> told(Bytes(0), false);
  EXPECT_EQ(done.Take(), told);
}

}  // namespace
}  // namespace shoal::fetch
