#include "fetch/transport/tls.h"

#include <gmock/gmock.h>

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "fetch/transport/channel.h"
#include "tests/unit/fetch/adapters/http_probe.h"
#include "tests/unit/fetch/adapters/test_identity.h"

namespace shoal::fetch {
namespace {

using ::testing::HasSubstr;

using Context = std::shared_ptr<SSL_CTX>;

Context BareContext() { return {SSL_CTX_new(TLS_client_method()), SSL_CTX_free}; }

Context ClientContext(const TlsIdentity& identity, std::optional<PeerId> expected) {
  Context context = BareContext();
  EXPECT_TRUE(identity.PrepareClient(context.get(), expected).ok());
  return context;
}

// A P-256 key and certificate, which is no peer's.
void UseForeignCertificate(SSL_CTX* context) {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::unique_ptr<X509, void (*)(X509*)> certificate(X509_new(), X509_free);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_sign(certificate.get(), key.get(), EVP_sha256());
  SSL_CTX_use_certificate(context, certificate.get());
  SSL_CTX_use_PrivateKey(context, key.get());
}

class TlsTest : public ::testing::Test {
 protected:
  TlsTest() : text_(Pattern((3 << 20) + 17)) {
    file_ = OpenForRead(folder_.Write("blob", text_)).value();
    HttpServer::Options options;
    options.listen = {"127.0.0.1", 0};
    options.name = "peer";
    options.tls = server_identity_;
    options.limits.header_time = std::chrono::seconds(5);
    auto started = HttpServer::Start(
        std::move(options),
        [this](const HttpRequest& request, const HttpServer::Responder& respond) {
          if (request.target == "/who") {
            respond(TextReply(request.peer ? request.peer->Hex() : "nobody"));
            return;
          }
          HttpReply reply = FileReply(file_, 3, static_cast<std::int64_t>(text_.size()));
          reply.body.insert(reply.body.begin(), {"before ", nullptr, {}, {}});
          reply.body.push_back({" after", nullptr, {}, {}});
          if (request.target == "/gated") reply.gate = gate_;
          reply.done = [this](Bytes sent, bool whole) { done_.Put({sent, whole}); };
          respond(std::move(reply));
        });
    server_ = std::move(started).value();
  }

  [[nodiscard]] std::string Expected() const { return "before " + text_.substr(3) + " after"; }

  // Whether a client with this context gets an answer.
  bool IsServed(SSL_CTX* context) {
    Probe probe(server_->endpoint());
    if (!probe.StartTls(context)) return false;
    const std::string request = "GET /who HTTP/1.1\r\n\r\n";
    SSL_write(probe.ssl(), request.data(), static_cast<int>(request.size()));
    return probe.ReadReply().status() == 200;
  }

  ScratchFolder folder_;
  std::string text_;
  SharedFile file_;
  std::shared_ptr<FakeGate> gate_ = std::make_shared<FakeGate>();
  Mail<std::pair<Bytes, bool>> done_;
  TlsIdentity server_identity_ = TestIdentity(1);
  TlsIdentity client_identity_ = TestIdentity(2);
  std::unique_ptr<HttpServer> server_;
};

TEST_F(TlsTest, BothSidesKnowWhoTheOtherIs) {
  const Context context = ClientContext(client_identity_, server_identity_.id());
  Probe probe(server_->endpoint());
  ASSERT_TRUE(probe.StartTls(context.get()));
  EXPECT_STREQ(SSL_get_version(probe.ssl()), "TLSv1.3");
  EXPECT_STREQ(SSL_get_cipher(probe.ssl()), "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(PeerOf(probe.ssl()), server_identity_.id());
  for (int i = 0; i < 3; ++i) {
    probe.Get("/who");
    EXPECT_EQ(probe.ReadReply().body, client_identity_.id().Hex());
  }
  EXPECT_EQ(server_->connections(), 1);
}

TEST_F(TlsTest, NobodyIsKnownBeforeTheHandshake) {
  const Context context = ClientContext(client_identity_, std::nullopt);
  const std::shared_ptr<SSL> ssl(SSL_new(context.get()), SSL_free);
  EXPECT_FALSE(PeerOf(ssl.get()));
  EXPECT_FALSE(PeerOf(nullptr));
}

TEST_F(TlsTest, FirstContactTakesAnybody) {
  EXPECT_TRUE(IsServed(ClientContext(client_identity_, std::nullopt).get()));
}

TEST_F(TlsTest, AServerThatIsNotTheExpectedPeerIsRefused) {
  Probe probe(server_->endpoint());
  EXPECT_FALSE(probe.StartTls(ClientContext(client_identity_, client_identity_.id()).get()));
}

TEST_F(TlsTest, APinCanBeReplaced) {
  const Context context = ClientContext(client_identity_, client_identity_.id());
  EXPECT_TRUE(client_identity_.PrepareClient(context.get(), server_identity_.id()).ok());
  EXPECT_TRUE(IsServed(context.get()));
}

TEST_F(TlsTest, AClientWithoutACertificateIsRefused) {
  EXPECT_FALSE(IsServed(BareContext().get()));
}

TEST_F(TlsTest, AClientWithAnotherKindOfKeyIsRefused) {
  const Context context = BareContext();
  UseForeignCertificate(context.get());
  EXPECT_FALSE(IsServed(context.get()));
}

TEST_F(TlsTest, OlderVersionsAreRefused) {
  const Context context = ClientContext(client_identity_, std::nullopt);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
  EXPECT_FALSE(IsServed(context.get()));
}

TEST_F(TlsTest, PlainHttpIsClosedWithoutReset) {
  Probe probe(server_->endpoint());
  probe.Get("/who");
  EXPECT_EQ(probe.ReadToEnd().find("HTTP/1.1"), std::string::npos);
}

TEST_F(TlsTest, FilesArriveWhole) {
  const Context context = ClientContext(client_identity_, server_identity_.id());
  Probe probe(server_->endpoint(), 16 << 10);  // a small window: the server has to wait often
  ASSERT_TRUE(probe.StartTls(context.get()));
  for (int i = 0; i < 3; ++i) {
    probe.Get("/blob");
    EXPECT_TRUE(probe.ReadReply().body == Expected());
    const std::pair<Bytes, bool> told(Bytes(static_cast<std::int64_t>(Expected().size())), true);
    EXPECT_EQ(done_.Take(), told);
  }
}

TEST_F(TlsTest, GatedBytesGoOutAsTheyBecomeReadable) {
  const Context context = ClientContext(client_identity_, server_identity_.id());
  Probe probe(server_->endpoint());
  ASSERT_TRUE(probe.StartTls(context.get()));
  probe.Get("/gated");
  EXPECT_THAT(probe.ReadHead(), HasSubstr("200 OK"));
  EXPECT_EQ(probe.ReadExactly(7), "before ");
  ASSERT_TRUE(gate_->WaitForReader());
  gate_->Open(Bytes(100'003));
  EXPECT_TRUE(probe.ReadExactly(100'000) == text_.substr(3, 100'000));
  ASSERT_TRUE(gate_->WaitForReader());
  gate_->Open(Bytes(static_cast<std::int64_t>(text_.size())));
  EXPECT_TRUE(probe.ReadExactly(text_.size() - 100'003 + 6) == text_.substr(100'003) + " after");
}

TEST_F(TlsTest, AFailedGateSaysGoodbye) {
  const Context context = ClientContext(client_identity_, server_identity_.id());
  gate_->Open(Bytes(1003));
  Probe probe(server_->endpoint());
  ASSERT_TRUE(probe.StartTls(context.get()));
  probe.Get("/gated");
  ASSERT_TRUE(gate_->WaitForReader());
  gate_->Fail({Code::kRetryLater, "all sources are gone"});
  probe.ReadHead();
  EXPECT_EQ(probe.ReadToEnd(), "before " + text_.substr(3, 1000));
  EXPECT_EQ(SSL_get_shutdown(probe.ssl()) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
}

TEST_F(TlsTest, AClientThatLeavesAtAClosedGateIsNoticed) {
  const Context context = ClientContext(client_identity_, server_identity_.id());
  Probe probe(server_->endpoint());
  ASSERT_TRUE(probe.StartTls(context.get()));
  probe.Get("/gated");
  ASSERT_TRUE(gate_->WaitForReader());
  SSL_shutdown(probe.ssl());
  probe.Close();
  EXPECT_TRUE(gate_->WaitUntilLeft());
}

TEST_F(TlsTest, AFileThatIsCutShortEndsTheConnection) {
  std::filesystem::resize_file(folder_.path() + "/blob", 1000);
  const Context context = ClientContext(client_identity_, server_identity_.id());
  Probe probe(server_->endpoint());
  ASSERT_TRUE(probe.StartTls(context.get()));
  probe.Get("/blob");
  EXPECT_LT(probe.ReadToEnd().size(), 2000U);
  const auto told = done_.Take();
  ASSERT_TRUE(told);
  EXPECT_FALSE(told->second);
}

// On a host that is late with its handshakes, those who gave up cost it nothing more.
TEST(TlsChannelTest, NoHandshakeWithWhomHasHungUp) {
  for (const bool hangs_up : {false, true}) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    const Context dials = ClientContext(TestIdentity(1), std::nullopt);
    const Context accepts = TestIdentity(2).ServerContext();
    std::vector<std::byte> scratch(64 << 10);
    const auto dialler = MakeTlsChannel(dials.get(), ends[0], scratch, TlsSide::kDials);
    const auto acceptor = MakeTlsChannel(accepts.get(), ends[1], scratch, TlsSide::kAccepts);
    EXPECT_EQ(dialler->Handshake().want, Io::Want::kRead);  // its first message is sent
    const int hung_up = hangs_up ? shutdown(ends[0], SHUT_WR) : 0;
    EXPECT_EQ(hung_up, 0);
    EXPECT_EQ(acceptor->Handshake().want, hangs_up ? Io::Want::kFailed : Io::Want::kRead);
    char answer = 0;
    EXPECT_EQ(recv(ends[0], &answer, 1, 0) == 1, !hangs_up);
    close(ends[0]);
    close(ends[1]);
  }
}

}  // namespace
}  // namespace shoal::fetch
