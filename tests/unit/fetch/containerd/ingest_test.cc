// An image written into containerd is complete there, or not there at all.
#include <string>
#include <thread>

#include "containerd_rig.h"
#include "fetch/containerd/containerd.h"

namespace shoal::fetch {
namespace {

class IngestTest : public ContainerdTest {
 protected:
  [[nodiscard]] std::string Check(const TestImage& image) const {
    return process_.Ctr("images check name==" + image.name()).text;
  }
  void ExpectComplete(const TestImage& image) const {
    const std::string checked = Check(image);
    EXPECT_NE(checked.find("complete"), std::string::npos) << checked;
    EXPECT_EQ(checked.find("incomplete"), std::string::npos) << checked;
    const Output exported =
        process_.Ctr("images export " + (dir_ / "out.tar") + " " + image.name());
    EXPECT_EQ(exported.exit, 0) << exported.text;
  }
  void ExpectNothingLeftOpen() const {
    EXPECT_EQ(process_.Ctr("leases ls -q").text, "");
    EXPECT_EQ(process_.Ctr("content active -q").text.find("shoal-"), std::string::npos);
  }
  // What a write of `ref` leaves that was broken off after `bytes`.
  void LeaveBrokenWrite(const Digest& digest, std::size_t total, const std::string& bytes) {
    WriteFile(dir_ / "part", bytes);
    const Output output = process_.Ctr("content ingest --expected-size " + std::to_string(total) +
                                       " --expected-digest " + ToString(digest) + " shoal-" +
                                       ToString(digest) + " < " + (dir_ / "part"));
    ASSERT_NE(output.exit, 0);
    ASSERT_NE(process_.Ctr("content active").text.find("shoal-"), std::string::npos);
  }

  // Over one message, and not a multiple of it.
  const TestImage image_{"reg.test/app:v1",
                         {RandomBytes((5 << 20) + 17, 1), RandomBytes(1 << 20, 2), ""}};
};

TEST_F(IngestTest, MakesAnImageThatContainerdCallsComplete) {
  StartBoth();
  const Status ingested = adapter_->Ingest(image_.ToIngest(dir_));
  ASSERT_TRUE(ingested.ok()) << ingested.error().ToString();
  ExpectComplete(image_);
  ExpectNothingLeftOpen();
  EXPECT_TRUE(heard_.Await([&](const auto& told) { return told.images.size() == 1; }));
}

TEST_F(IngestTest, DoesNoHarmTheSecondTime) {
  StartBoth();
  ASSERT_TRUE(adapter_->Ingest(image_.ToIngest(dir_)).ok());
  const Status again = adapter_->Ingest(image_.ToIngest(dir_));
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  ExpectComplete(image_);
}

TEST_F(IngestTest, MovesATagToItsNewImage) {
  StartBoth();
  ASSERT_TRUE(adapter_->Ingest(image_.ToIngest(dir_)).ok());
  const TestImage next(image_.name(), {RandomBytes(3000, 9)});
  ASSERT_TRUE(adapter_->Ingest(next.ToIngest(dir_)).ok());
  ExpectComplete(next);
  EXPECT_TRUE(heard_.Await([&](const auto& told) {
    return told.images.size() == 1 && told.images[0].digest == next.digest();
  }));
}

TEST_F(IngestTest, SurvivesGarbageCollection) {
  StartBoth();
  ASSERT_TRUE(adapter_->Ingest(image_.ToIngest(dir_)).ok());
  const TestImage other("reg.test/other:v1", {RandomBytes(3000, 9)});
  ASSERT_TRUE(adapter_->Ingest(other.ToIngest(dir_)).ok());
  ASSERT_EQ(process_.Ctr("images rm --sync " + other.name()).exit, 0);
  EXPECT_FALSE(Lists(Sha256(other.layer(0))));
  ExpectComplete(image_);
}

TEST_F(IngestTest, LabelsAManifestThatWasThereWithoutLabels) {
  StartBoth();
  const std::string manifest = image_.blobs().back();
  WriteFile(dir_ / "manifest", manifest);
  ASSERT_EQ(process_.Ctr("content ingest m < " + (dir_ / "manifest")).exit, 0);
  const Status ingested = adapter_->Ingest(image_.ToIngest(dir_));
  ASSERT_TRUE(ingested.ok()) << ingested.error().ToString();
  EXPECT_NE(process_.Ctr("content ls").text.find("containerd.io/gc.ref.content.config"),
            std::string::npos);
  ExpectComplete(image_);
}

TEST_F(IngestTest, TakesContentThatAnotherNamespaceHas) {
  StartBoth();
  Import(image_, "other");
  ASSERT_TRUE(adapter_->Ingest(image_.ToIngest(dir_)).ok());
  ExpectComplete(image_);
}

TEST_F(IngestTest, GoesOnWhereAWriteWasBrokenOff) {
  StartBoth();
  const std::string& layer = image_.layer(0);
  LeaveBrokenWrite(Sha256(layer), layer.size(), layer.substr(0, 1'234'567));
  const Status ingested = adapter_->Ingest(image_.ToIngest(dir_));
  ASSERT_TRUE(ingested.ok()) << ingested.error().ToString();
  ExpectComplete(image_);
  ExpectNothingLeftOpen();
}

TEST_F(IngestTest, StartsAnewWhenWhatWasLeftIsWrong) {
  StartBoth();
  const std::string& layer = image_.layer(0);
  LeaveBrokenWrite(Sha256(layer), layer.size(), std::string(1'234'567, 'x'));
  const Status ingested = adapter_->Ingest(image_.ToIngest(dir_));
  ASSERT_TRUE(ingested.ok()) << ingested.error().ToString();
  ExpectComplete(image_);
}

TEST_F(IngestTest, RefusesWrongBytesAndLeavesNothing) {
  StartBoth();
  IngestImage image = image_.ToIngest(dir_);
  std::string wrong = image_.layer(1);
  wrong[77] ^= 1;
  WriteFile(dir_ / "wrong", wrong);
  image.blobs[1].file = *OpenForRead(dir_ / "wrong");
  const Status ingested = adapter_->Ingest(image);
  ASSERT_FALSE(ingested.ok());
  EXPECT_EQ(ingested.error().code, Code::kCorrupt);
  EXPECT_NE(ingested.error().text.find(image_.name()), std::string::npos);
  EXPECT_EQ(process_.Ctr("images ls -q").text, "");
  EXPECT_FALSE(Lists(Sha256(image_.layer(0))));
  ExpectNothingLeftOpen();
}

TEST_F(IngestTest, RefusesAFileOfTheWrongSize) {
  StartBoth();
  IngestImage image = image_.ToIngest(dir_);
  WriteFile(dir_ / "short", image_.layer(0).substr(1));
  image.blobs[0].file = *OpenForRead(dir_ / "short");
  const Status ingested = adapter_->Ingest(image);
  ASSERT_FALSE(ingested.ok());
  EXPECT_EQ(ingested.error().code, Code::kCorrupt);
  ExpectNothingLeftOpen();
}

// SIGSTOP first, so that the ingest is certainly under way when containerd dies.
TEST_F(IngestTest, AsksToRetryWhenContainerdGoesAwayInTheMiddle) {
  StartBoth();
  process_.Signal(SIGSTOP);
  Status ingested = Ok();
  std::thread ingest([&] { ingested = adapter_->Ingest(image_.ToIngest(dir_)); });
  process_.End(SIGKILL);
  ingest.join();
  ASSERT_FALSE(ingested.ok());
  EXPECT_EQ(ingested.error().code, Code::kRetryLater);

  const int seen = heard_.count();
  process_.Start();
  ASSERT_TRUE(heard_.AwaitAny(seen));
  EXPECT_TRUE(adapter_->Ingest(image_.ToIngest(dir_)).ok());
  ExpectComplete(image_);
}

TEST_F(IngestTest, EndsWhenStoppedInTheMiddle) {
  StartBoth();
  process_.Signal(SIGSTOP);
  Status ingested = Ok();
  std::thread ingest([&] { ingested = adapter_->Ingest(image_.ToIngest(dir_)); });
  adapter_->Stop();
  ingest.join();
  ASSERT_FALSE(ingested.ok());
  EXPECT_TRUE(ingested.error().code == Code::kCancelled ||
              ingested.error().code == Code::kRetryLater);  // the latter when Stop was first
}

}  // namespace
}  // namespace shoal::fetch
