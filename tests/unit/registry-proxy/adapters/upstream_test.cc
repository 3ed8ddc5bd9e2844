#include "registry-proxy/upstream/upstream.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>

#include "registry-proxy/manifest.h"
#include "tests/unit/support/script_server.h"

namespace shoal::proxy {
namespace {

using fetch::HttpClient;
using std::chrono::milliseconds;
using std::chrono::seconds;
using test::Answer;
using test::ScriptReply;
using test::ScriptServer;
using test::SeenRequest;

Digest DigestOf(const std::string& body) {
  Digest digest;
  unsigned length = 0;
  EVP_Digest(body.data(), body.size(), reinterpret_cast<unsigned char*>(digest.bytes.data()),
             &length, EVP_sha256(), nullptr);
  return digest;
}

// Records what it hears. OnDone ends Wait.
class WaitingSink : public fetch::ByteSink {
 public:
  bool OnStart(Bytes blob, Bytes offset) override {
    size = blob;
    start = offset;
    ++starts;
    return !refuse_start;
  }
  bool OnBytes(ByteSpan bytes) override {
    const std::lock_guard lock(mutex_);
    body.append(AsText(bytes));
    got_.notify_all();
    return body.size() < stop_after;
  }
  void OnDone(Status status) override { done_.set_value(std::move(status)); }

  Status Wait() { return done_.get_future().get(); }
  std::future<Status> Future() { return done_.get_future(); }
  void WaitForBytes() {
    std::unique_lock lock(mutex_);
    got_.wait(lock, [this] { return !body.empty(); });
  }

  Bytes size, start;
  int starts = 0;
  std::string body;
  bool refuse_start = false;
  std::size_t stop_after = ~std::size_t{0};

 private:
  std::mutex mutex_;
  std::condition_variable got_;
  std::promise<Status> done_;
};

class UpstreamTest : public testing::Test {
 protected:
  void SetUp() override { client_ = std::move(HttpClient::Start({})).value(); }

  // An upstream whose registry "reg.test" is `server`.
  void Use(const ScriptServer& server, std::optional<Credentials> credentials = std::nullopt,
           const std::string& ca_file = "") {
    RegistryConfig config;
    config.host = "reg.test";
    config.url = server.Url("");
    config.credentials = std::move(credentials);
    config.ca_file = ca_file;
    Upstream::Options options;
    options.registries = Registries({config});
    options.stall_timeout = milliseconds(300);
    upstream_ = std::make_unique<Upstream>(*client_, std::move(options));
  }

  // The end of a blob's fetch.
  Status Fetch(WaitingSink& recorder, std::int64_t offset = 0, std::int64_t end = -1,
               bool manifest = false) {
    upstream_->Fetch({"reg.test", "a/b", manifest}, digest_, Bytes(offset), Bytes(end),
                     std::shared_ptr<WaitingSink>(&recorder, [](WaitingSink*) {}));
    return recorder.Wait();
  }
  Code FetchCode() {
    WaitingSink recorder;
    const auto status = Fetch(recorder);
    EXPECT_FALSE(status.ok());
    return status.ok() ? Code::kCancelled : status.error().code;
  }

  template <class T, class Ask>
  static Result<T> WaitFor(Ask ask) {
    std::promise<Result<T>> promise;
    ask([&](Result<T> result) { promise.set_value(std::move(result)); });
    return promise.get_future().get();
  }
  Result<ResolvedTag> Resolve(const std::string& tag) {
    return WaitFor<ResolvedTag>([&](auto done) { upstream_->Resolve(repository_, tag, done); });
  }
  Result<ManifestDocument> GetManifest(const Digest& digest) {
    return WaitFor<ManifestDocument>(
        [&](auto done) { upstream_->GetManifest(repository_, digest, done); });
  }

  const RepositoryRef repository_{"reg.test", "a/b"};
  const Digest digest_ = DigestOf("blob");
  std::unique_ptr<HttpClient> client_;
  std::unique_ptr<Upstream> upstream_;
};

// A registry that honours ranges.
ScriptReply Blob(const SeenRequest& request, const std::string& blob) {
  const auto range = request.Header("Range");
  if (range.empty()) return {Answer(200, blob)};
  const auto dash = range.find('-');
  const auto first = std::stoul(range.substr(6, dash - 6));
  if (first >= blob.size()) return {Answer(416, "")};
  const auto last = dash + 1 < range.size() ? std::stoul(range.substr(dash + 1)) : blob.size() - 1;
  return {Answer(206, blob.substr(first, last - first + 1),
                 "Content-Range: bytes " + std::to_string(first) + "-" + std::to_string(last) +
                     "/" + std::to_string(blob.size()) + "\r\n")};
}

TEST_F(UpstreamTest, FetchesABlobAndPartsOfIt) {
  ScriptServer server([](const SeenRequest& request) { return Blob(request, "0123456789"); });
  Use(server);
  struct Row {
    std::int64_t offset, end;
    std::string body;
  };
  for (const auto& row : {Row{0, -1, "0123456789"}, Row{3, -1, "3456789"}, Row{3, 5, "34"},
                          Row{0, 10, "0123456789"}, Row{9, 10, "9"}}) {
    WaitingSink recorder;
    const auto status = Fetch(recorder, row.offset, row.end);
    EXPECT_TRUE(status.ok()) << status.error().text;
    EXPECT_EQ(recorder.size, Bytes(10));
    EXPECT_EQ(recorder.start, Bytes(row.offset));
    EXPECT_EQ(recorder.body, row.body);
  }
  EXPECT_EQ(server.seen()[0].target, "/v2/a/b/blobs/" + ToString(digest_));
}

TEST_F(UpstreamTest, ReadsPastThePrefixWhenRangesAreIgnored) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "0123456789")}; });
  Use(server);
  WaitingSink tail;
  EXPECT_TRUE(Fetch(tail, 4, -1).ok());
  EXPECT_EQ(tail.body, "456789");
  EXPECT_EQ(tail.size, Bytes(10));
  WaitingSink middle;
  EXPECT_TRUE(Fetch(middle, 4, 6).ok());
  EXPECT_EQ(middle.body, "45");
}

TEST_F(UpstreamTest, EmptyBlobsAreWhole) {
  ScriptServer server([](const SeenRequest&) { return ScriptReply{Answer(200, "")}; });
  Use(server);
  WaitingSink recorder;
  EXPECT_TRUE(Fetch(recorder).ok());
  EXPECT_EQ(recorder.starts, 1);
  EXPECT_EQ(recorder.size, Bytes(0));
}

TEST_F(UpstreamTest, RefusesAWrongRange) {
  std::string content_range;
  ScriptServer server([&](const SeenRequest&) {
    return ScriptReply{Answer(206, "45", "Content-Range: " + content_range + "\r\n")};
  });
  Use(server);
  for (const auto* wrong : {"bytes 0-1/10", "bytes 5-6/10", "bytes 4-5/*", "bytes 4-5/5",
                            "bytes 5-4/10", "nonsense", "bytes 4-99999999999999999999/10"}) {
    content_range = wrong;
    WaitingSink recorder;
    const auto status = Fetch(recorder, 4, 6);
    ASSERT_FALSE(status.ok()) << wrong;
    EXPECT_EQ(status.error().code, Code::kRetryLater);
    EXPECT_EQ(recorder.starts, 0);
  }
}

TEST_F(UpstreamTest, SaysWhatAStatusMeans) {
  int answer = 0;
  ScriptServer server([&](const SeenRequest&) {
    return ScriptReply{
        Answer(answer, R"({"errors":[{"code":"X","message":"the registry's own words"}]})")};
  });
  const std::pair<int, Code> rows[] = {{404, Code::kNotFound},   {410, Code::kNotFound},
                                       {401, Code::kDenied},     {403, Code::kDenied},
                                       {429, Code::kRetryLater}, {500, Code::kRetryLater},
                                       {502, Code::kRetryLater}, {416, Code::kInvalid},
                                       {400, Code::kInvalid},    {405, Code::kUnsupported}};
  for (const auto& [status, code] : rows) {
    Use(server);
    answer = status;
    WaitingSink recorder;
    const auto result = Fetch(recorder);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, code) << status;
    EXPECT_NE(result.error().text.find("the registry's own words"), std::string::npos);
    EXPECT_NE(result.error().text.find(std::to_string(status)), std::string::npos);
    EXPECT_EQ(recorder.starts, 0);
  }
}

TEST_F(UpstreamTest, KeepsToRetryAfterForThatKindOfRequest) {
  ScriptServer server([](const SeenRequest& request) {
    if (request.target.find("/blobs/") != std::string::npos) return Blob(request, "0123456789");
    return ScriptReply{Answer(429, "", "Retry-After: 300\r\n")};
  });
  Use(server);
  EXPECT_EQ(GetManifest(digest_).error().code, Code::kRetryLater);
  const auto second = GetManifest(digest_);
  EXPECT_EQ(second.error().code, Code::kRetryLater);
  EXPECT_NE(second.error().text.find("asked not to be asked"), std::string::npos);
  EXPECT_EQ(server.Count("/v2/a/b/manifests/"), 1);
  WaitingSink recorder;
  EXPECT_TRUE(Fetch(recorder).ok()) << "blobs are not limited with manifests";
}

TEST_F(UpstreamTest, FailsWhatIsCutShortStalledOrOfNoLength) {
  ScriptReply reply;
  ScriptServer server([&](const SeenRequest&) { return reply; });
  Use(server);
  const std::string begun = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
  for (const auto end :
       {ScriptReply::End::kClose, ScriptReply::End::kReset, ScriptReply::End::kHold}) {
    reply = {begun, end};
    WaitingSink recorder;
    EXPECT_EQ(Fetch(recorder).error().code, Code::kRetryLater);
  }
  reply = {Answer(206, "45", "Content-Range: bytes 4-5/10\r\n")};
  WaitingSink less;
  EXPECT_EQ(Fetch(less, 4, 8).error().code, Code::kRetryLater);
  EXPECT_EQ(less.body, "45");
  reply = {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"};
  WaitingSink chunked;
  const auto status = Fetch(chunked);
  EXPECT_EQ(status.error().code, Code::kInvalid);
  EXPECT_NE(status.error().text.find("how long"), std::string::npos);
}

TEST_F(UpstreamTest, StopsForTheSinkAndForNonsense) {
  ScriptServer server([](const SeenRequest& request) { return Blob(request, "0123456789"); });
  Use(server);
  WaitingSink refuses;
  refuses.refuse_start = true;
  EXPECT_EQ(Fetch(refuses).error().code, Code::kCancelled);
  WaitingSink sated;
  sated.stop_after = 1;
  EXPECT_EQ(Fetch(sated).error().code, Code::kCancelled);
  WaitingSink empty;
  EXPECT_EQ(Fetch(empty, 5, 5).error().code, Code::kInvalid);
  WaitingSink beyond;
  EXPECT_FALSE(Fetch(beyond, 50, -1).ok());
  std::promise<Result<ResolvedTag>> promise;
  upstream_->Resolve({"reg.test", "../../etc"}, "v1",
                     [&](Result<ResolvedTag> r) { promise.set_value(std::move(r)); });
  EXPECT_EQ(promise.get_future().get().error().code, Code::kInvalid);
  EXPECT_EQ(Resolve("no tag").error().code, Code::kInvalid);
}

// A registry that wants a bearer token, and the server that gives it.
class TokenRegistry {
 public:
  explicit TokenRegistry(std::string wanted_authorization = "")
      : wanted_(std::move(wanted_authorization)),
        tokens_([this](const SeenRequest& request) { return Token(request); }),
        registry_([this](const SeenRequest& request) { return Serve(request); }) {}

  ScriptServer& registry() { return registry_; }
  ScriptServer& tokens() { return tokens_; }
  std::atomic<int> token_status = 200;
  std::atomic<bool> accept = true;  // the tokens given out
  std::atomic<int> generation = 1;

 private:
  ScriptReply Token(const SeenRequest& request) {
    const int status = token_status;
    if (status != 200) return {Answer(status, "")};
    if (!wanted_.empty() && request.Header("Authorization") != wanted_) return {Answer(401, "")};
    return {Answer(200, R"({"token":"t)" + std::to_string(generation) + R"(","expires_in":300})")};
  }
  ScriptReply Serve(const SeenRequest& request) {
    if (accept && request.Header("Authorization") == "Bearer t" + std::to_string(generation)) {
      return Blob(request, "0123456789");
    }
    return {Answer(401, "{}",
                   "WWW-Authenticate: Bearer realm=\"" + tokens_.Url("/token") +
                       "\",service=\"the registry\",scope=\"repository:a/b:pull\"\r\n")};
  }

  std::string wanted_;
  ScriptServer tokens_;
  ScriptServer registry_;
};

TEST_F(UpstreamTest, FetchesATokenOnceAndKeepsIt) {
  TokenRegistry rig;
  Use(rig.registry());
  for (int i = 0; i < 3; ++i) {
    WaitingSink recorder;
    const auto status = Fetch(recorder);
    ASSERT_TRUE(status.ok()) << status.error().text;
    EXPECT_EQ(recorder.body, "0123456789");
    EXPECT_EQ(recorder.starts, 1);
  }
  ASSERT_EQ(rig.tokens().seen().size(), 1U);
  EXPECT_EQ(rig.tokens().seen()[0].target,
            "/token?service=the%20registry&scope=repository%3Aa%2Fb%3Apull");
  EXPECT_EQ(rig.registry().seen().size(), 4U);
}

TEST_F(UpstreamTest, RenewsATokenThatIsRefused) {
  TokenRegistry rig;
  Use(rig.registry());
  WaitingSink first;
  ASSERT_TRUE(Fetch(first).ok());
  rig.generation = 2;
  WaitingSink second;
  ASSERT_TRUE(Fetch(second).ok());
  EXPECT_EQ(rig.tokens().seen().size(), 2U);
}

TEST_F(UpstreamTest, GivesUpAfterOneRetry) {
  TokenRegistry rig;
  rig.accept = false;
  Use(rig.registry());
  EXPECT_EQ(FetchCode(), Code::kDenied);
  EXPECT_EQ(rig.registry().seen().size(), 2U);
  rig.token_status = 403;
  EXPECT_EQ(FetchCode(), Code::kDenied);
  rig.token_status = 503;
  EXPECT_EQ(FetchCode(), Code::kRetryLater);
}

TEST_F(UpstreamTest, SendsCredentialsToTheTokenServerAlone) {
  TokenRegistry rig("Basic dXNlcjpwYXNzd29yZA==");
  Use(rig.registry(), Credentials{"user", "password", ""});
  WaitingSink recorder;
  EXPECT_TRUE(Fetch(recorder).ok());
  for (const auto& request : rig.registry().seen()) {
    EXPECT_EQ(request.head.find("Basic"), std::string::npos);
  }
}

TEST_F(UpstreamTest, PostsARefreshToken) {
  TokenRegistry rig;
  Use(rig.registry(), Credentials{"", "", "refresh"});
  WaitingSink recorder;
  EXPECT_TRUE(Fetch(recorder).ok());
  const auto request = rig.tokens().seen().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/token");
  EXPECT_NE(request.body.find("refresh_token=refresh"), std::string::npos);
}

TEST_F(UpstreamTest, ManyBlobsShareOneTokenRequest) {
  TokenRegistry rig;
  Use(rig.registry());
  std::vector<std::unique_ptr<WaitingSink>> recorders;
  for (int i = 0; i < 20; ++i) {
    recorders.push_back(std::make_unique<WaitingSink>());
    upstream_->Fetch({"reg.test", "a/b", false}, digest_, Bytes(0), Bytes(-1),
                     std::shared_ptr<WaitingSink>(recorders.back().get(), [](WaitingSink*) {}));
  }
  for (auto& recorder : recorders) EXPECT_TRUE(recorder->Wait().ok());
  EXPECT_EQ(rig.tokens().seen().size(), 1U);
}

TEST_F(UpstreamTest, AnswersABasicChallenge) {
  ScriptServer server([](const SeenRequest& request) {
    if (request.Header("Authorization") == "Basic dXNlcjpwYXNzd29yZA==") {
      return Blob(request, "0123456789");
    }
    return ScriptReply{Answer(401, "", "WWW-Authenticate: Basic realm=\"x\"\r\n")};
  });
  Use(server, Credentials{"user", "password", ""});
  WaitingSink first;
  EXPECT_TRUE(Fetch(first).ok());
  WaitingSink second;
  EXPECT_TRUE(Fetch(second).ok());
  EXPECT_EQ(server.seen().size(), 3U) << "the second knows what is wanted";
  Use(server, Credentials{"user", "wrong", ""});
  EXPECT_EQ(FetchCode(), Code::kDenied);
  Use(server);
  EXPECT_EQ(FetchCode(), Code::kDenied);
}

TEST_F(UpstreamTest, FollowsARedirectAndLeavesTheTokenBehind) {
  ScriptServer cdn([](const SeenRequest& request) { return Blob(request, "0123456789"); });
  ScriptServer server([&](const SeenRequest& request) {
    if (request.Header("Authorization").empty()) {
      return ScriptReply{Answer(401, "", "WWW-Authenticate: Basic realm=\"x\"\r\n")};
    }
    return ScriptReply{
        Answer(307, "moved",
               "Location: http://localhost:" + std::to_string(cdn.port()) + "/cdn?sig=1\r\n")};
  });
  Use(server, Credentials{"user", "password", ""});
  WaitingSink recorder;
  EXPECT_TRUE(Fetch(recorder, 2, 5).ok());
  EXPECT_EQ(recorder.body, "234");
  const auto request = cdn.seen().at(0);
  EXPECT_EQ(request.Header("Authorization"), "");
  EXPECT_EQ(request.Header("Range"), "bytes=2-4");
}

// A registry that redirects to `cdn`, with a signature of its own each time.
ScriptReply Redirect(const ScriptServer& cdn, int number) {
  return {Answer(307, "moved",
                 "Location: http://localhost:" + std::to_string(cdn.port()) +
                     "/cdn?sig=" + std::to_string(number) + "\r\n")};
}

TEST_F(UpstreamTest, AsksWhereItWasRedirectedToForFurtherRanges) {
  ScriptServer cdn([](const SeenRequest& request) { return Blob(request, "0123456789"); });
  ScriptServer server([&](const SeenRequest& request) {
    if (request.Header("Authorization").empty()) {
      return ScriptReply{Answer(401, "", "WWW-Authenticate: Basic realm=\"x\"\r\n")};
    }
    return Redirect(cdn, 1);
  });
  Use(server, Credentials{"user", "password", ""});
  for (int i = 0; i < 4; ++i) {
    WaitingSink recorder;
    EXPECT_TRUE(Fetch(recorder, i, i + 2).ok());
    EXPECT_EQ(recorder.body, std::string("0123456789").substr(static_cast<std::size_t>(i), 2));
  }
  EXPECT_EQ(server.seen().size(), 2U) << "the challenge, and the redirect";
  EXPECT_EQ(cdn.seen().size(), 4U);
  for (const auto& request : cdn.seen()) EXPECT_EQ(request.Header("Authorization"), "");
}

TEST_F(UpstreamTest, ATargetThatNoLongerAnswersIsAskedForAnew) {
  std::atomic<int> valid = 1;
  ScriptServer cdn([&](const SeenRequest& request) {
    const bool fresh = request.target == "/cdn?sig=" + std::to_string(valid.load());
    return fresh ? Blob(request, "0123456789") : ScriptReply{Answer(403, "expired")};
  });
  ScriptServer server([&](const SeenRequest&) { return Redirect(cdn, valid.load()); });
  Use(server);
  for (const int signature : {1, 1, 2, 2, 3}) {
    valid = signature;
    WaitingSink recorder;
    EXPECT_TRUE(Fetch(recorder, 2, 5).ok());
    EXPECT_EQ(recorder.body, "234");
    EXPECT_EQ(recorder.starts, 1);
  }
  EXPECT_EQ(server.seen().size(), 3U);
  EXPECT_EQ(cdn.seen().size(), 7U) << "five that answer, and two that had expired";
}

TEST_F(UpstreamTest, ATargetThatIsGoneIsAskedForAnew) {
  auto cdn = std::make_unique<ScriptServer>(
      [](const SeenRequest& request) { return Blob(request, "0123456789"); });
  ScriptServer other([](const SeenRequest& request) { return Blob(request, "0123456789"); });
  std::atomic<bool> moved = false;
  ScriptServer server([&](const SeenRequest&) { return Redirect(moved ? other : *cdn, 1); });
  Use(server);
  WaitingSink before;
  EXPECT_TRUE(Fetch(before).ok());
  moved = true;
  cdn.reset();
  WaitingSink after;
  EXPECT_TRUE(Fetch(after).ok());
  EXPECT_EQ(after.body, "0123456789");
  EXPECT_EQ(other.seen().size(), 1U);
}

TEST_F(UpstreamTest, WhatTheRegistrySaysOfARefusalCounts) {
  std::atomic<bool> refuses = false;
  ScriptServer cdn([&](const SeenRequest& request) {
    return refuses ? ScriptReply{Answer(403, "no")} : Blob(request, "0123456789");
  });
  ScriptServer server([&](const SeenRequest&) {
    return refuses ? ScriptReply{Answer(404, "gone")} : Redirect(cdn, 1);
  });
  Use(server);
  WaitingSink recorder;
  EXPECT_TRUE(Fetch(recorder).ok());
  refuses = true;
  EXPECT_EQ(FetchCode(), Code::kNotFound);
}

TEST_F(UpstreamTest, ResolvesATagByHead) {
  const Digest digest = DigestOf("manifest");
  ScriptServer server([&](const SeenRequest&) {
    return ScriptReply{"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nContent-Type: " +
                       std::string(media::kOciIndex) +
                       "\r\nDocker-Content-Digest: " + ToString(digest) + "\r\n\r\n"};
  });
  Use(server);
  const auto tag = Resolve("v1");
  ASSERT_TRUE(tag.ok()) << tag.error().text;
  EXPECT_EQ(tag->digest, digest);
  EXPECT_EQ(tag->size, Bytes(1234));
  EXPECT_EQ(tag->media_type, media::kOciIndex);
  EXPECT_EQ(tag->body, "");
  const auto seen = server.seen();
  ASSERT_EQ(seen.size(), 1U);
  EXPECT_EQ(seen[0].method, "HEAD");
  EXPECT_EQ(seen[0].target, "/v2/a/b/manifests/v1");
  EXPECT_NE(seen[0].Header("Accept").find("manifest.list.v2+json"), std::string::npos);
}

TEST_F(UpstreamTest, ResolvesATagByGetWhereHeadTellsTooLittle) {
  const std::string body = R"({"schemaVersion":2,"manifests":[]})";
  int head_status = 200;
  ScriptServer server([&](const SeenRequest& request) {
    if (request.method == "HEAD") {
      return ScriptReply{"HTTP/1.1 " + std::to_string(head_status) +
                         " X\r\nContent-Length: 0\r\n\r\n"};
    }
    // Chunked and untyped: what is sent is all that is known.
    return ScriptReply{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n22\r\n" + body +
                       "\r\n0\r\n\r\n"};
  });
  ASSERT_EQ(body.size(), 0x22U);
  for (const int status : {200, 405, 400, 501}) {
    Use(server);
    head_status = status;
    const auto tag = Resolve("v1");
    ASSERT_TRUE(tag.ok()) << status << tag.error().text;
    EXPECT_EQ(tag->digest, DigestOf(body));
    EXPECT_EQ(tag->media_type, media::kOciIndex);
    EXPECT_EQ(tag->body, body);
  }
  head_status = 404;
  EXPECT_EQ(Resolve("v1").error().code, Code::kNotFound);
}

TEST_F(UpstreamTest, ProvesManifests) {
  const std::string body = R"({"layers":[]})";
  ScriptServer server([&](const SeenRequest&) {
    return ScriptReply{Answer(200, body, "Content-Type: application/json; charset=utf-8\r\n")};
  });
  Use(server);
  const auto right = GetManifest(DigestOf(body));
  ASSERT_TRUE(right.ok());
  EXPECT_EQ(right->body, body);
  EXPECT_EQ(right->media_type, media::kOciManifest);
  EXPECT_EQ(GetManifest(DigestOf("other")).error().code, Code::kCorrupt);
}

TEST_F(UpstreamTest, GivesAManifestThroughThePort) {
  ScriptServer server([&](const SeenRequest&) { return ScriptReply{Answer(200, "blob")}; });
  Use(server);
  WaitingSink whole;
  EXPECT_TRUE(Fetch(whole, 0, -1, true).ok());
  EXPECT_EQ(whole.body, "blob");
  WaitingSink part;
  EXPECT_TRUE(Fetch(part, 1, 3, true).ok());
  EXPECT_EQ(part.body, "lo");
  EXPECT_EQ(part.size, Bytes(4));
  EXPECT_EQ(server.Count("/v2/a/b/manifests/sha256:"), 2);
}

TEST_F(UpstreamTest, BoundsManifests) {
  const std::string body(kManifestBytesMax + 1, 'x');
  ScriptServer server([&](const SeenRequest&) {
    return ScriptReply{"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + body,
                       ScriptReply::End::kHold};
  });
  Use(server);
  EXPECT_EQ(GetManifest(digest_).error().code, Code::kExhausted);
}

TEST_F(UpstreamTest, PassesListsThrough) {
  ScriptServer server([](const SeenRequest& request) {
    if (request.target.find("referrers") != std::string::npos) {
      return ScriptReply{Answer(200, "{}",
                                "Content-Type: " + std::string(media::kOciIndex) +
                                    "\r\nOCI-Filters-Applied: artifactType\r\n")};
    }
    return ScriptReply{Answer(200, R"({"tags":[]})",
                              "Content-Type: application/json\r\nLink: </v2/x>; rel=\"next\"\r\n")};
  });
  Use(server);
  const auto referrers = WaitFor<PassedDocument>(
      [&](auto done) { upstream_->GetReferrers(repository_, digest_, "artifactType=x", done); });
  ASSERT_TRUE(referrers.ok());
  EXPECT_EQ(referrers->filters_applied, "artifactType");
  EXPECT_EQ(server.seen()[0].target, "/v2/a/b/referrers/" + ToString(digest_) + "?artifactType=x");
  const auto tags =
      WaitFor<PassedDocument>([&](auto done) { upstream_->GetTags(repository_, "n=5", done); });
  ASSERT_TRUE(tags.ok());
  EXPECT_EQ(tags->link, "</v2/x>; rel=\"next\"");
  EXPECT_EQ(server.seen()[1].target, "/v2/a/b/tags/list?n=5");
}

TEST_F(UpstreamTest, TrustsItsOwnAuthorityOnly) {
  const auto certificate = test::MakeTestCertificate();
  ScriptServer server([](const SeenRequest& request) { return Blob(request, "0123456789"); },
                      certificate.context);
  Use(server);
  EXPECT_EQ(FetchCode(), Code::kDenied);
  const std::string path = testing::TempDir() + "/shoal_up_" + std::to_string(getpid()) + ".pem";
  std::ofstream(path) << certificate.pem;
  Use(server, std::nullopt, path);
  WaitingSink recorder;
  EXPECT_TRUE(Fetch(recorder).ok());
  unlink(path.c_str());
}

TEST_F(UpstreamTest, ACancelledFetchHearsNoMore) {
  ScriptServer server([](const SeenRequest&) {
    return ScriptReply{"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234",
                       ScriptReply::End::kHold};
  });
  Use(server);
  auto recorder = std::make_shared<WaitingSink>();
  auto future = recorder->Future();
  const auto id =
      upstream_->Fetch({"reg.test", "a/b", false}, digest_, Bytes(0), Bytes(-1), recorder);
  recorder->WaitForBytes();
  upstream_->Cancel(id);
  upstream_->Cancel(id);
  upstream_->Cancel(999);
  upstream_.reset();  // waits for what runs
  EXPECT_EQ(future.wait_for(seconds(0)), std::future_status::timeout);
}

TEST_F(UpstreamTest, EndsWhileATokenIsAwaited) {
  ScriptServer tokens([](const SeenRequest&) { return ScriptReply{"", ScriptReply::End::kHold}; });
  ScriptServer server([&](const SeenRequest&) {
    return ScriptReply{
        Answer(401, "", "WWW-Authenticate: Bearer realm=\"" + tokens.Url("/t") + "\"\r\n")};
  });
  Use(server);
  std::vector<std::shared_ptr<WaitingSink>> recorders;
  for (int i = 0; i < 10; ++i) {
    recorders.push_back(std::make_shared<WaitingSink>());
    upstream_->Fetch({"reg.test", "a/b", false}, digest_, Bytes(0), Bytes(-1), recorders.back());
  }
  upstream_.reset();
}

}  // namespace
}  // namespace shoal::proxy
