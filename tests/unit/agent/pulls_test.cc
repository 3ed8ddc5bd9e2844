#include "agent/pulls.h"

#include <gmock/gmock.h>

#include "tests/unit/fetch/adapters/fetch_rig.h"

namespace shoal::agent {
namespace {

using fetch::Pattern;
using fetch::Sha256Of;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr const char* kPulled = "reg.test/app/web:v1";

std::string Described(const std::string& type, const std::string& content,
                      const std::string& more = "") {
  return R"({"mediaType":")" + type + R"(","digest":")" + ToString(Sha256Of(content)) +
         R"(","size":)" + std::to_string(content.size()) + more + "}";
}

class PullsTest : public ::testing::Test {
 protected:
  PullsTest()
      : host_(std::make_unique<fetch::TestHost>(1, folder_.path(), network_, upstream_)),
        config_("{}"),
        layer_(Pattern(50'000)),
        manifest_(R"({"schemaVersion":2,"mediaType":")" + std::string(proxy::media::kOciManifest) +
                  R"(","config":)" + Described(std::string(proxy::media::kOciConfig), config_) +
                  R"(,"layers":[)" + Described("x/layer", layer_) + "," +
                  Described("x/layer", layer_) + "]}"),
        manifests_(host_->fetcher(), host_->pool()),
        tags_(proxy::TagResolver::Ports{
                  host_->loop(),
                  [this](const std::string&, const std::string&, const std::string&,
                         std::function<void(Result<proxy::TagEntry>)> done) {
                    done(tag_ ? Result(proxy::TagEntry{"", *tag_, "", Bytes(-1), {}})
                              : Result<proxy::TagEntry>(Error{Code::kNotFound, "no such tag"}));
                  },
                  [](const std::string&) { return Duration(0); },
                  [](const std::string&) { return std::vector<index::CatalogImage>(); },
                  [](const std::string&) { return std::nullopt; }, [](const proxy::TagEntry&) {},
                  [](const std::string&) {}},
              {}),
        pulls_(Pulls::Ports{host_->loop(), host_->pool(), host_->fetcher(), host_->locals(),
                            manifests_, tags_, nullptr,
                            [this](const std::string& name, const Digest& digest) {
                              here_.Put({name, digest});
                            }}) {}

  // What still runs may call whatever stands below the host.
  ~PullsTest() override { host_.reset(); }

  static std::string IndexOf(const std::string& manifest, const std::string& architecture) {
    return R"({"schemaVersion":2,"mediaType":")" + std::string(proxy::media::kOciIndex) +
           R"(","manifests":[)" +
           Described(std::string(proxy::media::kOciManifest), manifest,
                     R"(,"platform":{"os":"linux","architecture":")" + architecture + R"("})") +
           "]}";
  }
  void GiveAll() {
    for (const std::string* text : {&config_, &layer_, &manifest_}) upstream_.Give(*text);
  }
  Result<std::uint64_t> Start(const std::string& image) {
    return host_->loop().Ask([&] { return pulls_.Start(image); });
  }
  std::optional<PullView> ViewOf(std::uint64_t id) {
    return host_->loop().Ask([&]() -> std::optional<PullView> {
      const PullView* view = pulls_.Find(id);
      return view == nullptr ? std::nullopt : std::optional(*view);
    });
  }
  // How a pull ended. The loop is asked until it says so.
  PullView Pull(const std::string& image) {
    const auto id = Start(image);
    EXPECT_TRUE(id.ok());
    return AwaitEnd(id.ok() ? *id : 0);
  }
  PullView AwaitEnd(std::uint64_t id) {
    const auto until = std::chrono::steady_clock::now() + fetch::kTestPatience;
    for (;;) {
      auto view = ViewOf(id);
      if (!view || view->state != PullState::kRunning) return view.value_or(PullView{});
      if (std::chrono::steady_clock::now() > until) {
        ADD_FAILURE() << "the pull does not end";
        return *view;
      }
      // Whatever changes its state comes by the pool or the loop.
      test::Inbox<int> turn;
      host_->pool().Post([&turn] { turn.Put(1); });
      turn.Take();
    }
  }

  fetch::ScratchFolder folder_;
  fetch::TestNetwork network_;
  fetch::ScriptedUpstream upstream_;
  std::unique_ptr<fetch::TestHost> host_;
  const std::string config_;
  const std::string layer_;
  const std::string manifest_;
  std::optional<Digest> tag_;
  proxy::ManifestSource manifests_;
  proxy::TagResolver tags_;
  test::Inbox<std::pair<std::string, Digest>> here_;
  Pulls pulls_;
};

TEST_F(PullsTest, FetchesAllOfAnImage) {
  GiveAll();
  tag_ = Sha256Of(manifest_);
  const PullView view = Pull(kPulled);
  EXPECT_EQ(view.state, PullState::kDone) << view.error;
  EXPECT_EQ(view.digest, tag_);
  ASSERT_THAT(view.blobs, SizeIs(2));  // the same layer twice is one blob
  for (const auto& blob : view.blobs) EXPECT_TRUE(blob.done && !blob.local);
  const auto here = here_.Take();
  ASSERT_TRUE(here);
  EXPECT_EQ(here->first, kPulled);
  EXPECT_EQ(host_->loop().Ask([&] { return pulls_.done(); }), 1);
}

TEST_F(PullsTest, PicksThisHostsPlatformFromAnIndex) {
  const std::string index = IndexOf(manifest_, HostPlatform().architecture);
  GiveAll();
  upstream_.Give(index);
  tag_ = Sha256Of(index);
  const PullView view = Pull(kPulled);
  EXPECT_EQ(view.state, PullState::kDone) << view.error;
  EXPECT_EQ(view.digest, Sha256Of(index));
  EXPECT_THAT(view.blobs, SizeIs(2));
}

TEST_F(PullsTest, SaysWhenThereIsNoImageForThisHost) {
  const std::string index = IndexOf(manifest_, "pdp11");
  upstream_.Give(index);
  tag_ = Sha256Of(index);
  const PullView view = Pull(kPulled);
  EXPECT_EQ(view.state, PullState::kFailed);
  EXPECT_THAT(view.error, HasSubstr("has no image for linux/"));
}

TEST_F(PullsTest, TakesADigestAsItIs) {
  GiveAll();
  const PullView view = Pull("reg.test/app/web@" + ToString(Sha256Of(manifest_)));
  EXPECT_EQ(view.state, PullState::kDone) << view.error;
}

TEST_F(PullsTest, WhatIsHereIsLocal) {
  GiveAll();
  ASSERT_TRUE(host_->store().Put(Sha256Of(layer_), AsBytes(layer_)).ok());
  tag_ = Sha256Of(manifest_);
  const PullView view = Pull(kPulled);
  ASSERT_THAT(view.blobs, SizeIs(2));
  EXPECT_FALSE(view.blobs[0].local);
  EXPECT_TRUE(view.blobs[1].local);
}

TEST_F(PullsTest, SaysWhatIsMissing) {
  EXPECT_THAT(Pull(kPulled).error, HasSubstr("no such tag"));
  tag_ = Sha256Of(manifest_);
  EXPECT_THAT(Pull(kPulled).error, HasSubstr("the manifest of reg.test/app/web:v1"));
  upstream_.Give(manifest_);
  upstream_.Give(config_);
  const PullView view = Pull(kPulled);
  EXPECT_EQ(view.state, PullState::kFailed);
  EXPECT_THAT(view.error, HasSubstr(ToString(Sha256Of(layer_))));
  EXPECT_EQ(host_->loop().Ask([&] { return pulls_.failed(); }), 3);
}

TEST_F(PullsTest, RefusesANameThatIsNone) {
  const auto id = Start("UPPER/case:");
  ASSERT_FALSE(id.ok());
  EXPECT_EQ(id.error().code, Code::kInvalid);
}

TEST_F(PullsTest, JoinsAPullThatRunsAndCanCancelIt) {
  GiveAll();
  upstream_.HoldAt(Bytes(0));
  tag_ = Sha256Of(manifest_);
  const auto first = Start(kPulled);
  const auto second = Start(kPulled);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  EXPECT_TRUE(host_->loop().Ask([&] { return pulls_.Cancel(*first); }).ok());
  const auto view = ViewOf(*first);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->state, PullState::kFailed);
  EXPECT_THAT(view->error, HasSubstr("cancelled"));
  EXPECT_FALSE(host_->loop().Ask([&] { return pulls_.Cancel(999); }).ok());
  EXPECT_EQ(host_->loop().Ask([&] { return pulls_.active(); }), 0);
  EXPECT_THAT(host_->loop().Ask([&] { return pulls_.List(); }), SizeIs(1));
}

TEST_F(PullsTest, ACancelledPullEndsTheFetchesThatOnlyItWants) {
  GiveAll();
  upstream_.HoldAt(Bytes(5000));  // only the layer is longer
  tag_ = Sha256Of(manifest_);
  const auto id = Start(kPulled);
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(upstream_.WaitSentTo(Bytes(5000)));
  EXPECT_TRUE(host_->loop().Ask([&] { return pulls_.Cancel(*id); }).ok());
  for (;;) {
    const auto end = host_->NextEnd();
    ASSERT_TRUE(end) << "the fetch of the layer goes on";
    if (end->view.digest != Sha256Of(layer_)) continue;
    ASSERT_FALSE(end->status.ok());
    EXPECT_EQ(end->status.error().code, Code::kCancelled);
    break;
  }
}

TEST_F(PullsTest, ACancelledPullLeavesTheFetchesThatOthersWant) {
  GiveAll();
  upstream_.HoldAt(Bytes(5000));
  tag_ = Sha256Of(manifest_);
  const auto id = Start(kPulled);
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(upstream_.WaitSentTo(Bytes(5000)));
  test::Inbox<Status> done;
  host_->fetcher().Fetch(fetch::TestHost::Request(Sha256Of(layer_)),
                         [&done](Status status) { done.Put(std::move(status)); });
  EXPECT_TRUE(host_->loop().Ask([&] { return pulls_.Cancel(*id); }).ok());
  upstream_.Release();
  const auto status = done.Take();
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->ok()) << status->error().text;
}

TEST_F(PullsTest, APullThatIsCancelledBeforeItsManifestFetchesNothing) {
  GiveAll();
  upstream_.HoldAt(Bytes(0));
  tag_ = Sha256Of(manifest_);
  const auto id = Start(kPulled);
  ASSERT_TRUE(id.ok());
  ASSERT_TRUE(upstream_.WaitForCalls(1));
  EXPECT_TRUE(host_->loop().Ask([&] { return pulls_.Cancel(*id); }).ok());
  upstream_.WaitForCancelled();
  EXPECT_THAT(upstream_.asked(), SizeIs(::testing::Le(1U)));
  EXPECT_EQ(host_->loop().Ask([&] { return host_->fetcher().active_count(); }), 0U);
}

}  // namespace
}  // namespace shoal::agent
