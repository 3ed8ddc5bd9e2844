#include "registry-proxy/http/mirror.h"

#include <gmock/gmock.h>

#include "base/json.h"
#include "tests/unit/fetch/adapters/fetch_rig.h"

namespace shoal::proxy {
namespace {

using fetch::HttpHeaders;
using fetch::HttpReply;
using fetch::HttpRequest;
using fetch::Pattern;
using fetch::Sha256Of;
using fetch::SizeOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr const char* kNoHeader = "";

// The bytes a server would send of a reply.
std::string BodyOf(const HttpReply& reply) {
  std::string body;
  for (const auto& part : reply.body) {
    if (!part.file) {
      body += part.text;
      continue;
    }
    std::string some(static_cast<std::size_t>((part.end - part.begin).count()), '\0');
    EXPECT_TRUE(
        part.file->ReadAt(part.begin, std::as_writable_bytes(std::span(some.data(), some.size())))
            .ok());
    body += some;
  }
  return body;
}

std::string Header(const HttpReply& reply, std::string_view name) {
  return std::string(fetch::FindHeader(reply.headers, name));
}

class MirrorTest : public ::testing::Test {
 protected:
  MirrorTest()
      : host_(std::make_unique<fetch::TestHost>(1, folder_.path(), network_, upstream_)),
        blob_(Pattern(100'000)),
        manifest_(ManifestOf(blob_)),
        manifests_(host_->fetcher(), host_->pool()) {
    tags_ = std::make_unique<TagResolver>(
        TagResolver::Ports{loop_,
                           [this](const std::string&, const std::string&, const std::string&,
                                  std::function<void(Result<TagEntry>)> done) {
                             if (tag_) {
                               done(*tag_);
                             } else {
                               unanswered_.push_back(std::move(done));
                             }
                           },
                           [](const std::string&) { return Duration(std::chrono::seconds(60)); },
                           [](const std::string&) { return std::vector<index::CatalogImage>(); },
                           [this](const std::string&) { return held_tag_; }, [](const TagEntry&) {},
                           [](const std::string&) {}},
        std::vector<TagEntry>());
    mirror_ = std::make_shared<Mirror>(
        MirrorPorts{loop_, host_->pool(), host_->fetcher(), host_->counters(), manifests_, *tags_,
                    [this](const PullRequest& pull, std::function<void(Result<PassedOn>)> done) {
                      passed_on_.push_back(pull);
                      if (passed_) {
                        done(*passed_);
                      } else {
                        pending_ = std::move(done);
                      }
                    },
                    [this](const std::string& name, const Digest& digest) {
                      told_.Put({name, digest});
                    }});
  }
  ~MirrorTest() override {
    // What still runs may call whatever stands below the host.
    loop_.Stop();
    host_.reset();
  }

  static std::string ManifestOf(const std::string& layer) {
    return R"({"schemaVersion":2,"mediaType":")" + std::string(media::kOciManifest) +
           R"(","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":")" +
           ToString(Sha256Of("{}")) + R"(","size":2},"layers":[{"mediaType":"x/layer","digest":")" +
           ToString(Sha256Of(layer)) + R"(","size":)" + std::to_string(layer.size()) + "}]}";
  }
  [[nodiscard]] std::string BlobPath() const {
    return "/v2/app/web/blobs/" + ToString(Sha256Of(blob_)) + "?ns=reg.test";
  }
  [[nodiscard]] std::string ManifestPath() const {
    return "/v2/app/web/manifests/" + ToString(Sha256Of(manifest_)) + "?ns=reg.test";
  }
  static constexpr const char* kTagPath = "/v2/app/web/manifests/v1?ns=reg.test";

  void HoldBlob() { ASSERT_TRUE(host_->store().Put(Sha256Of(blob_), AsBytes(blob_)).ok()); }
  void HoldManifest() {
    ASSERT_TRUE(host_->store().Put(Sha256Of(manifest_), AsBytes(manifest_)).ok());
  }
  void SetTag() {
    tag_ =
        TagEntry{"", Sha256Of(manifest_), std::string(media::kOciManifest), SizeOf(manifest_), {}};
  }

  using Replies = test::Inbox<HttpReply>;
  void Send(const std::shared_ptr<Replies>& replies, const std::string& method,
            const std::string& target, HttpHeaders headers = {}) {
    HttpRequest request;
    request.method = method;
    request.target = target;
    request.headers = std::move(headers);
    request.remote = "127.0.0.1:5";
    mirror_->Handle(std::move(request),
                    [replies](HttpReply reply) { replies->Put(std::move(reply)); });
  }
  HttpReply Ask(const std::string& method, const std::string& target, HttpHeaders headers = {}) {
    auto replies = std::make_shared<Replies>();
    Send(replies, method, target, std::move(headers));
    auto reply = replies->Take();
    EXPECT_TRUE(reply) << "no answer to " << method << " " << target;
    EXPECT_NE(Header(*reply, "Shoal-Source"), kNoHeader) << method << " " << target;
    return reply ? std::move(*reply) : HttpReply{};
  }
  HttpReply Get(const std::string& target, const std::string& range = "") {
    HttpHeaders headers;
    if (!range.empty()) headers.emplace_back("Range", range);
    return Ask("GET", target, std::move(headers));
  }
  // All of a reply's bytes are there to be read.
  static void AwaitWhole(const HttpReply& reply, Bytes end) {
    if (!reply.gate) return;
    const int reader = reply.gate->Join();
    while (reply.gate->ReadableEnd(Bytes(0)) < end && !reply.gate->Failure()) {
      auto woken = std::make_shared<test::Inbox<int>>();
      reply.gate->Await(reader, reply.gate->ReadableEnd(Bytes(0)), [woken] { woken->Put(1); });
      ASSERT_TRUE(woken->Take());
    }
    reply.gate->Leave(reader);
  }
  static std::string CodeIn(const HttpReply& reply) {
    const auto json = ParseJson(BodyOf(reply), 10'000);
    EXPECT_TRUE(json.ok()) << BodyOf(reply);
    return json.ok() ? (*json).at("errors").at(0).at("code").as_string() : "";
  }

  fetch::ScratchFolder folder_;
  fetch::TestNetwork network_;
  fetch::ScriptedUpstream upstream_;
  test::TestLoop loop_;  // the mirror's own, so that its time can stand still
  std::unique_ptr<fetch::TestHost> host_;
  const std::string blob_;
  const std::string manifest_;
  ManifestSource manifests_;
  std::optional<Result<TagEntry>> tag_;
  std::optional<Digest> held_tag_;
  std::vector<std::function<void(Result<TagEntry>)>> unanswered_;
  std::optional<Result<PassedOn>> passed_;
  std::function<void(Result<PassedOn>)> pending_;
  std::vector<PullRequest> passed_on_;
  test::Inbox<std::pair<std::string, Digest>> told_;
  std::unique_ptr<TagResolver> tags_;
  std::shared_ptr<Mirror> mirror_;
};

TEST_F(MirrorTest, AnswersAPing) {
  const HttpReply reply = Get("/v2/");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(BodyOf(reply), "{}");
  EXPECT_EQ(Header(reply, "Docker-Distribution-API-Version"), "registry/2.0");
  const HttpReply head = Ask("HEAD", "/v2/");
  EXPECT_THAT(head.body, IsEmpty());
  EXPECT_EQ(head.content_length, Bytes(2));
}

TEST_F(MirrorTest, OnlyAnswersPulls) {
  for (const char* method : {"PUT", "POST", "PATCH", "DELETE"}) {
    const HttpReply reply = Ask(method, BlobPath());
    EXPECT_EQ(reply.status, 405) << method;
    EXPECT_EQ(CodeIn(reply), "UNSUPPORTED");
  }
  EXPECT_EQ(Get("/v2/app/web/blobs/uploads/").status, 405);
  EXPECT_EQ(Get("/v1/").status, 404);
}

TEST_F(MirrorTest, AnotherDigestAlgorithmIsNotFound) {
  const HttpReply blob = Get("/v2/app/web/blobs/sha512:" + std::string(128, 'a') + "?ns=reg.test");
  EXPECT_EQ(blob.status, 404);
  EXPECT_EQ(CodeIn(blob), "BLOB_UNKNOWN");
  const HttpReply manifest =
      Get("/v2/app/web/manifests/sha512:" + std::string(128, 'a') + "?ns=reg.test");
  EXPECT_EQ(manifest.status, 404);
  EXPECT_EQ(CodeIn(manifest), "MANIFEST_UNKNOWN");
  EXPECT_EQ(Get("/v2/app/web/blobs/sha256:xyz?ns=reg.test").status, 400);
}

TEST_F(MirrorTest, ServesAManifestByDigest) {
  HoldManifest();
  const HttpReply reply = Get(ManifestPath());
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(BodyOf(reply), manifest_);
  EXPECT_EQ(Header(reply, "Content-Type"), media::kOciManifest);
  EXPECT_EQ(Header(reply, "Docker-Content-Digest"), ToString(Sha256Of(manifest_)));
  EXPECT_EQ(Header(reply, "ETag"), "\"" + ToString(Sha256Of(manifest_)) + "\"");
  EXPECT_EQ(Header(reply, "Shoal-Source"), "local");
  EXPECT_EQ(Header(reply, "Warning"), kNoHeader);
  EXPECT_EQ(told_.size(), 0U);

  const HttpReply head = Ask("HEAD", ManifestPath());
  EXPECT_EQ(head.status, 200);
  EXPECT_THAT(head.body, IsEmpty());
  EXPECT_EQ(head.content_length, SizeOf(manifest_));
  EXPECT_EQ(Header(head, "Content-Type"), media::kOciManifest);
}

TEST_F(MirrorTest, ServesAManifestByTagAndTellsOfIt) {
  SetTag();
  upstream_.Give(manifest_);
  const HttpReply reply = Get(kTagPath);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(BodyOf(reply), manifest_);
  EXPECT_EQ(Header(reply, "Shoal-Source"), "upstream");
  const auto told = told_.Take();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->first, "reg.test/app/web:v1");
  EXPECT_EQ(told->second, Sha256Of(manifest_));
}

TEST_F(MirrorTest, AHeadOfATagNeedsNoManifest) {
  SetTag();
  const HttpReply reply = Ask("HEAD", kTagPath);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.content_length, SizeOf(manifest_));
  EXPECT_EQ(Header(reply, "Content-Type"), media::kOciManifest);
  EXPECT_EQ(Header(reply, "Docker-Content-Digest"), ToString(Sha256Of(manifest_)));
  EXPECT_THAT(reply.body, IsEmpty());
  EXPECT_THAT(upstream_.asked(), IsEmpty());
  EXPECT_EQ(Header(reply, "Shoal-Source"), "upstream");
  EXPECT_EQ(Header(Ask("HEAD", kTagPath), "Shoal-Source"), "local");
  // containerd gets the manifest by its digest then: it would not be known under the tag.
  const auto told = told_.Take();
  ASSERT_TRUE(told);
  EXPECT_EQ(told->first, "reg.test/app/web:v1");
  EXPECT_EQ(told->second, Sha256Of(manifest_));
}

TEST_F(MirrorTest, WarnsWhenATagMayBeStale) {
  held_tag_ = Sha256Of(manifest_);
  HoldManifest();
  tag_ = Error{Code::kRetryLater, "the registry is away"};
  for (const char* method : {"GET", "HEAD"}) {
    const HttpReply reply = Ask(method, kTagPath);
    EXPECT_EQ(reply.status, 200) << method;
    EXPECT_THAT(Header(reply, "Warning"), HasSubstr("110")) << method;
  }
}

TEST_F(MirrorTest, ATagThatTheUpstreamDoesNotGiveIsNotFound) {
  for (const Code code : {Code::kNotFound, Code::kDenied}) {
    tag_ = Error{code, "no"};
    const HttpReply reply = Get(kTagPath);
    EXPECT_EQ(reply.status, 404);  // never 401 or 403: podman gives up there
    EXPECT_EQ(Header(reply, "Shoal-Source"), "upstream");
    EXPECT_EQ(CodeIn(reply), "MANIFEST_UNKNOWN");
  }
  tag_ = Error{Code::kRetryLater, "429", std::chrono::minutes(1)};
  const HttpReply busy = Get(kTagPath);
  EXPECT_EQ(busy.status, 503);
  EXPECT_EQ(Header(busy, "Shoal-Source"), "local");
  EXPECT_NE(Header(busy, "Retry-After"), kNoHeader);
}

TEST_F(MirrorTest, AManifestOutlastsWhatWasSentOfItWrong) {
  // Of several pieces; a peer's are false.
  std::string manifest = manifest_;
  manifest.insert(1, R"("annotations":{"x":")" + std::string(60'000, 'x') + R"("},)");
  std::string lie = manifest;
  for (char& c : lie) c = static_cast<char>(c ^ 1);
  const Digest digest = Sha256Of(manifest);
  fetch::Liar liar(2, network_, lie, digest);
  upstream_.Give(manifest);
  upstream_.HoldAt(Bytes(0));
  auto live = host_->Open(digest);
  ASSERT_TRUE(live.ok());
  fetch::Reader reader(*live);
  EXPECT_EQ(reader.ReadTo(fetch::kTestPiece).size(), 16384U);
  auto replies = std::make_shared<Replies>();
  Send(replies, "GET", "/v2/app/web/manifests/" + ToString(digest) + "?ns=reg.test");
  for (int i = 0; i < 2; ++i) host_->loop().Ask([] { return 0; });
  upstream_.Release();
  liar.ShowLast();
  const auto reply = replies->Take();
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->status, 200);
  EXPECT_TRUE(BodyOf(*reply) == manifest);
}

TEST_F(MirrorTest, ServesRangesOfManifests) {
  HoldManifest();
  const std::string size = std::to_string(manifest_.size());
  const HttpReply open = Get(ManifestPath(), "bytes=10-");
  EXPECT_EQ(open.status, 206);
  EXPECT_EQ(BodyOf(open), manifest_.substr(10));
  EXPECT_EQ(Header(open, "Content-Range"),
            "bytes 10-" + std::to_string(manifest_.size() - 1) + "/" + size);
  EXPECT_EQ(BodyOf(Get(ManifestPath(), "bytes=-5")), manifest_.substr(manifest_.size() - 5));
  const HttpReply several = Get(ManifestPath(), "bytes=0-1,5-6");
  EXPECT_EQ(several.status, 200);
  EXPECT_EQ(BodyOf(several), manifest_);
  const HttpReply beyond = Get(ManifestPath(), "bytes=9999999-");
  EXPECT_EQ(beyond.status, 416);
  EXPECT_EQ(Header(beyond, "Content-Range"), "bytes */" + size);
}

TEST_F(MirrorTest, ServesABlob) {
  HoldBlob();
  const HttpReply reply = Get(BlobPath());
  EXPECT_EQ(reply.status, 200);
  AwaitWhole(reply, SizeOf(blob_));
  EXPECT_EQ(BodyOf(reply), blob_);
  EXPECT_EQ(Header(reply, "Content-Type"), media::kOctets);
  EXPECT_EQ(Header(reply, "Accept-Ranges"), "bytes");
  EXPECT_EQ(Header(reply, "Docker-Content-Digest"), ToString(Sha256Of(blob_)));
  EXPECT_EQ(Header(reply, "Shoal-Source"), "local");
  ASSERT_TRUE(reply.done);
  reply.done(Bytes(70), false);
  EXPECT_EQ(host_->counters().to_runtime, 70);

  const HttpReply head = Ask("HEAD", BlobPath());
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.content_length, SizeOf(blob_));
  EXPECT_THAT(head.body, IsEmpty());
  EXPECT_EQ(Header(head, "Content-Type"), media::kOctets);
}

TEST_F(MirrorTest, ServesRangesOfBlobs) {
  HoldBlob();
  AwaitWhole(Get(BlobPath()), SizeOf(blob_));
  const HttpReply one = Get(BlobPath(), "bytes=100-199");
  EXPECT_EQ(one.status, 206);
  EXPECT_EQ(BodyOf(one), blob_.substr(100, 100));
  EXPECT_EQ(Header(one, "Content-Range"), "bytes 100-199/100000");
  EXPECT_EQ(BodyOf(Get(BlobPath(), "bytes=-7")), blob_.substr(blob_.size() - 7));
  EXPECT_EQ(BodyOf(Get(BlobPath(), "bytes=99990-")), blob_.substr(99'990));

  const HttpReply several = Get(BlobPath(), "bytes=0-9,500-509");
  EXPECT_EQ(several.status, 206);
  EXPECT_THAT(Header(several, "Content-Type"), HasSubstr("multipart/byteranges; boundary="));
  EXPECT_EQ(Header(several, "Content-Range"), kNoHeader);
  const std::string body = BodyOf(several);
  EXPECT_THAT(body, HasSubstr("bytes 0-9/100000\r\n\r\n" + blob_.substr(0, 10)));
  EXPECT_THAT(body, HasSubstr("bytes 500-509/100000\r\n\r\n" + blob_.substr(500, 10)));

  const HttpReply beyond = Get(BlobPath(), "bytes=100000-");
  EXPECT_EQ(beyond.status, 416);
  EXPECT_EQ(Header(beyond, "Content-Range"), "bytes */100000");
  EXPECT_EQ(Get(BlobPath(), "bytes=nonsense").status, 200);
}

TEST_F(MirrorTest, RangesAreForGetOnly) {
  HoldBlob();
  const HttpReply head = Ask("HEAD", BlobPath(), {{"Range", "bytes=0-9"}});
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.content_length, SizeOf(blob_));
}

TEST_F(MirrorTest, KnowsWhatTheClientHasAlready) {
  HoldBlob();
  HoldManifest();
  const std::string blob_tag = "\"" + ToString(Sha256Of(blob_)) + "\"";
  const HttpReply blob = Ask("GET", BlobPath(), {{"If-None-Match", blob_tag}});
  EXPECT_EQ(blob.status, 304);
  EXPECT_THAT(blob.body, IsEmpty());
  EXPECT_EQ(Header(blob, "ETag"), blob_tag);
  const HttpReply manifest =
      Ask("GET", ManifestPath(), {{"If-None-Match", "\"" + ToString(Sha256Of(manifest_)) + "\""}});
  EXPECT_EQ(manifest.status, 304);
  EXPECT_THAT(manifest.body, IsEmpty());
  // A range of what has changed meanwhile is answered with the whole.
  EXPECT_EQ(Ask("GET", BlobPath(), {{"Range", "bytes=0-9"}, {"If-Range", "\"other\""}}).status,
            200);
  EXPECT_EQ(Ask("GET", BlobPath(), {{"Range", "bytes=0-9"}, {"If-Range", blob_tag}}).status, 206);
}

TEST_F(MirrorTest, SaysTheNamespaceOnlyWhenItWasAskedWithOne) {
  HoldBlob();
  EXPECT_EQ(Header(Get(BlobPath()), "OCI-Namespace"), "reg.test");
  const std::string plain = "/v2/reg.test/app/web/blobs/" + ToString(Sha256Of(blob_));
  const HttpReply reply = Get(plain);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(Header(reply, "OCI-Namespace"), kNoHeader);
}

TEST_F(MirrorTest, FetchesABlobAndStreamsItWhileItArrives) {
  upstream_.Give(blob_);
  upstream_.HoldAt(fetch::kTestPiece * 2);
  const HttpReply reply = Get(BlobPath());
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(Header(reply, "Shoal-Source"), "upstream");
  ASSERT_TRUE(reply.gate);
  upstream_.Release();
  AwaitWhole(reply, SizeOf(blob_));
  EXPECT_EQ(BodyOf(reply), blob_);
}

TEST_F(MirrorTest, ABlobOfPeersSaysSo) {
  fetch::TestHost peer(2, folder_.path() + "/peer", network_, upstream_);
  peer.Hold(blob_);
  const HttpReply reply = Get(BlobPath());
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(Header(reply, "Shoal-Source"), "peers");
  AwaitWhole(reply, SizeOf(blob_));
}

TEST_F(MirrorTest, ABlobThatNobodyHasIsNotFound) {
  const HttpReply reply = Get(BlobPath());
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(CodeIn(reply), "BLOB_UNKNOWN");
  const HttpReply head = Ask("HEAD", BlobPath());
  EXPECT_EQ(head.status, 404);
  EXPECT_THAT(head.body, IsEmpty());
}

TEST_F(MirrorTest, AnswersInsideABoundWhateverHappens) {
  upstream_.Give(blob_);
  upstream_.HoldAt(Bytes(0));
  auto replies = std::make_shared<Replies>();
  Send(replies, "GET", BlobPath());
  Send(replies, "GET", kTagPath);  // a tag that no upstream answers for
  Send(replies, "GET", "/v2/app/web/tags/list?ns=reg.test");
  ASSERT_TRUE(upstream_.WaitForCalls(1));
  loop_.Advance(kHeaderTimeMax - std::chrono::milliseconds(1));
  EXPECT_EQ(replies->size(), 0U);
  loop_.Advance(std::chrono::milliseconds(1));
  for (int i = 0; i < 3; ++i) {
    const auto reply = replies->Take();
    ASSERT_TRUE(reply);
    EXPECT_EQ(reply->status, 503);
  }
  // What comes later is not heard.
  upstream_.Release();
  pending_(PassedOn{});
  EXPECT_EQ(host_->NextWhole(), Sha256Of(blob_));
  EXPECT_EQ(replies->size(), 0U);
}

TEST_F(MirrorTest, PassesOnTagsAndReferrers) {
  PassedOn list;
  list.media_type = "application/json";
  list.body = R"({"name":"app/web","tags":["v1"]})";
  list.headers = {{"Link", "</v2/x>; rel=\"next\""}};
  passed_ = list;
  const HttpReply reply = Get("/v2/app/web/tags/list?ns=reg.test");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(BodyOf(reply), list.body);
  EXPECT_EQ(Header(reply, "Link"), "</v2/x>; rel=\"next\"");
  EXPECT_EQ(Header(reply, "Shoal-Source"), "upstream");
  EXPECT_EQ(Header(reply, "OCI-Namespace"), "reg.test");
  EXPECT_EQ(Ask("HEAD", "/v2/app/web/tags/list").content_length, SizeOf(list.body));
  Get("/v2/app/web/referrers/" + ToString(Sha256Of("x")) + "?ns=reg.test");
  ASSERT_THAT(passed_on_, SizeIs(3));
  EXPECT_EQ(passed_on_[2].kind, PullKind::kReferrers);
  passed_ = Error{Code::kNotFound, "no"};
  EXPECT_EQ(Get("/v2/app/web/tags/list?ns=reg.test").status, 404);
}

TEST_F(MirrorTest, WhatIsNoManifestIsNotServedAsOne) {
  const std::string text = "no manifest at all";
  ASSERT_TRUE(host_->store().Put(Sha256Of(text), AsBytes(text)).ok());
  EXPECT_EQ(Get("/v2/app/web/manifests/" + ToString(Sha256Of(text)) + "?ns=reg.test").status, 503);
}

TEST_F(MirrorTest, GoesByTheSizeThatAManifestNames) {
  HoldManifest();
  EXPECT_EQ(Get(ManifestPath()).status, 200);
  // The upstream says another size than the manifest did.
  upstream_.GiveAs(Sha256Of(blob_), blob_ + "more");
  EXPECT_EQ(Get(BlobPath()).status, 503);
}

}  // namespace
}  // namespace shoal::proxy
