#include "agent/admin_server.h"

#include <gmock/gmock.h>

#include "tests/unit/fetch/adapters/http_probe.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A port that was free a moment ago: cpprestsdk does not say which one it got for port 0.
index::Endpoint FreeEndpoint() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), length), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length), 0);
  close(fd);
  return {"127.0.0.1", ntohs(address.sin_port)};
}

class AdminServerTest : public ::testing::Test {
 protected:
  AdminServerTest() {
    // Somebody else may have taken the port meanwhile.
    for (int tries = 0; tries < 10 && !server_; ++tries) {
      at_ = FreeEndpoint();
      auto started = AdminServer::Start(at_, [this](const AdminRequest& request) {
        seen_.Put(request);
        return reply_;
      });
      if (started) server_ = std::move(*started);
    }
    EXPECT_NE(server_, nullptr);
  }

  fetch::ProbeReply Send(const std::string& request) {
    fetch::Probe probe(at_);
    probe.Send(request);
    return probe.ReadReply();
  }
  static std::string Request(const std::string& method, const std::string& target,
                             const std::string& body = "") {
    return method + " " + target + " HTTP/1.1\r\nHost: x\r\n" +
           (body.empty() ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") +
           "\r\n" + body;
  }

  index::Endpoint at_;
  AdminReply reply_{200, "text/plain", "hello"};
  test::Inbox<AdminRequest> seen_;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminServerTest, GivesTheHandlerADecodedRequest) {
  const auto reply = Send(Request("GET", "/v1/blobs/sha256%3Aab?limit=10&q=a%20b"));
  EXPECT_EQ(reply.status(), 200);
  EXPECT_EQ(reply.body, "hello");
  EXPECT_THAT(reply.head, HasSubstr("text/plain"));
  const auto seen = seen_.Take();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->method, "GET");
  EXPECT_THAT(seen->path, ElementsAre("v1", "blobs", "sha256:ab"));
  EXPECT_EQ(seen->query.at("limit"), "10");
  EXPECT_EQ(seen->query.at("q"), "a b");
  EXPECT_TRUE(seen->body.is_null());
}

TEST_F(AdminServerTest, ReadsAJsonBody) {
  const auto reply = Send(Request("POST", "/v1/pulls", R"({"image":"nginx"})"));
  EXPECT_EQ(reply.status(), 200);
  const auto seen = seen_.Take();
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->method, "POST");
  EXPECT_EQ(seen->body.at("image").as_string(), "nginx");
}

TEST_F(AdminServerTest, RefusesWhatIsNoJsonAndWhatIsTooLong) {
  const auto no_json = Send(Request("POST", "/v1/pulls", "image=nginx"));
  EXPECT_EQ(no_json.status(), 400);
  EXPECT_THAT(no_json.body, HasSubstr("\"error\""));
  // cpprestsdk answers only once it has the whole body.
  EXPECT_EQ(Send(Request("POST", "/v1/pulls", std::string(70'000, ' '))).status(), 400);
  EXPECT_EQ(Send("POST /v1/pulls HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "2\r\n{}\r\n0\r\n\r\n")
                .status(),
            400);
  EXPECT_EQ(seen_.size(), 0U);
}

TEST_F(AdminServerTest, AHeadHasNoBody) {
  fetch::Probe probe(at_);
  probe.Send(Request("HEAD", "/v1/status"));
  EXPECT_EQ(probe.ReadReply().body, "");
  // What follows on the connection is the next answer, and not that body.
  probe.Send(Request("GET", "/v1/status"));
  EXPECT_EQ(probe.ReadReply().body, "hello");
}

TEST_F(AdminServerTest, AStreamIsSentAsItIsWritten) {
  reply_.content_type = "text/event-stream";
  reply_.stream = std::make_shared<AdminStream>();
  const auto stream = reply_.stream;
  ASSERT_TRUE(stream->Write("first\n"));
  fetch::Probe probe(at_);
  probe.Send(Request("GET", "/v1/events"));
  EXPECT_THAT(probe.ReadHead(), HasSubstr("Content-Type: text/event-stream"));
  EXPECT_EQ(probe.ReadExactly(11), "6\r\nfirst\n\r\n");
  ASSERT_TRUE(stream->Write("second\n"));
  EXPECT_EQ(probe.ReadExactly(12), "7\r\nsecond\n\r\n");
  stream->Close();
  EXPECT_FALSE(stream->Write("third\n"));
}

TEST_F(AdminServerTest, AStreamThatNobodyReadsIsCutOff) {
  AdminStream stream;  // as if its client took nothing
  const std::string event(4096, 'x');
  int written = 0;
  while (stream.Write(event)) ASSERT_LT(++written, 100);
  EXPECT_GE(written, 60);
  EXPECT_FALSE(stream.Write("x"));
}

TEST_F(AdminServerTest, SaysThatItsAddressIsTaken) {
  const auto second = AdminServer::Start(at_, [](const AdminRequest&) { return AdminReply{}; });
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kExhausted);
  EXPECT_THAT(second.error().text, HasSubstr("agent.admin"));
  EXPECT_THAT(second.error().text, HasSubstr(ToString(at_)));
}

TEST(AdminReplyTest, AnErrorsStatusFitsItsCode) {
  for (const auto& [code, status] : {std::pair(Code::kInvalid, 400),
                                     {Code::kNotFound, 404},
                                     {Code::kDenied, 403},
                                     {Code::kUnsupported, 405},
                                     {Code::kRetryLater, 503},
                                     {Code::kExhausted, 503},
                                     {Code::kCorrupt, 500},
                                     {Code::kCancelled, 500}}) {
    const AdminReply reply = ErrorReply({code, "why"});
    EXPECT_EQ(reply.status, status);
    EXPECT_EQ(reply.body, "{\"error\":\"why\"}\n");
    EXPECT_EQ(reply.content_type, "application/json");
  }
}

}  // namespace
}  // namespace shoal::agent
