#include "fetch/transport/local_blobs.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "tests/unit/fetch/adapters/fetch_rig.h"

namespace shoal::fetch {
namespace {

// Runs what is posted when the test says so.
class ManualPool final : public Executor {
 public:
  void Post(std::function<void()> work) override { queue_.push_back(std::move(work)); }
  // Returns how much ran.
  int RunAll() {
    int count = 0;
    for (; !queue_.empty(); ++count) {
      auto work = std::move(queue_.front());
      queue_.pop_front();
      work();
    }
    return count;
  }

 private:
  std::deque<std::function<void()>> queue_;
};

class LocalBlobsTest : public ::testing::Test {
 protected:
  LocalBlobsTest() : store_(folder_.path()), text_(Pattern(100'000)), digest_(Sha256Of(text_)) {
    Restart();
  }

  // As a new process: nothing is proved yet.
  void Restart() {
    LocalBlobs::Ports ports;
    if (runtime_) {
      ports.open_in_runtime = [this](const Digest& digest) -> Result<SharedFile> {
        return OpenForRead(folder_.path() + "/runtime-" + digest.Hex());
      };
    }
    ports.on_corrupt = [this](const Digest& digest) { corrupt_.push_back(digest); };
    locals_.emplace(*store_, pool_, kTestPiece, std::move(ports));
  }
  void PutInStore() { ASSERT_TRUE(store_->Put(digest_, AsBytes(text_)).ok()); }
  std::string PutInRuntime(const std::string& text) {
    return folder_.Write("runtime-" + digest_.Hex(), text);
  }
  void Spoil() const {
    std::fstream file(store_.PathOf(digest_), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(50'000);
    file.put(static_cast<char>(text_[50'000] ^ 1));
  }

  ScratchFolder folder_;
  TestStore store_;
  const std::string text_;
  const Digest digest_;
  bool runtime_ = false;
  ManualPool pool_;
  std::vector<Digest> corrupt_;
  std::optional<LocalBlobs> locals_;
};

TEST_F(LocalBlobsTest, HasNothingThatIsNowhere) {
  EXPECT_FALSE(locals_->Has(digest_));
  EXPECT_EQ(locals_->Open(digest_), nullptr);
}

TEST_F(LocalBlobsTest, HashesABlobWhenItIsFirstOpened) {
  PutInStore();
  EXPECT_TRUE(locals_->Has(digest_));
  const auto live = locals_->Open(digest_);
  ASSERT_NE(live, nullptr);
  EXPECT_FALSE(live->proved());
  EXPECT_EQ(live->ReadableEnd(Bytes(0)), Bytes(0));
  EXPECT_EQ(locals_->Open(digest_), live);  // one job, however many open it
  EXPECT_EQ(pool_.RunAll(), 1);
  EXPECT_TRUE(live->proved());
  EXPECT_EQ(live->chain().known_prefix(), TestChain(text_).known_prefix());
  EXPECT_EQ(live->origin().ToString(), "local");
  EXPECT_EQ(ReadAll(live->file()), text_);
}

TEST_F(LocalBlobsTest, BelievesWhatThisProcessHasHashed) {
  PutInStore();
  ASSERT_NE(locals_->Open(digest_), nullptr);
  pool_.RunAll();
  const auto again = locals_->Open(digest_);
  ASSERT_NE(again, nullptr);
  EXPECT_TRUE(again->proved());
  EXPECT_TRUE(again->have().all());
  EXPECT_TRUE(again->chain().complete());
  EXPECT_EQ(pool_.RunAll(), 0);
}

TEST_F(LocalBlobsTest, WhoeverOpensAProvedBlobSeesAllOfIt) {
  const std::string text = Pattern(4'000'000);
  const Digest digest = Sha256Of(text);
  ASSERT_TRUE(store_->Put(digest, AsBytes(text)).ok());
  ASSERT_TRUE(store_->SaveChain(digest, TestChain(text)).ok());
  locals_->MarkProved(digest);
  std::atomic<int> partly{0};
  const auto open = [&] {
    for (int i = 0; i < 300; ++i) {
      const auto live = locals_->Open(digest);
      if (live == nullptr || !live->proved() || !live->have().all()) ++partly;
    }
  };
  std::thread other(open);
  open();
  other.join();
  EXPECT_EQ(partly, 0);
}

TEST_F(LocalBlobsTest, BelievesWhatATransferHasJustProved) {
  PutInStore();
  ASSERT_TRUE(store_->SaveChain(digest_, TestChain(text_)).ok());
  locals_->MarkProved(digest_);
  const auto live = locals_->Open(digest_);
  ASSERT_NE(live, nullptr);
  EXPECT_TRUE(live->proved());
}

TEST_F(LocalBlobsTest, RemovesACorruptFileAndNeverCompletesIt) {
  PutInStore();
  Spoil();
  const auto live = locals_->Open(digest_);
  ASSERT_NE(live, nullptr);
  pool_.RunAll();
  EXPECT_FALSE(live->proved());
  ASSERT_TRUE(live->Failure());
  EXPECT_EQ(live->Failure()->code, Code::kCorrupt);
  EXPECT_LT(live->ReadableEnd(Bytes(0)), SizeOf(text_));
  EXPECT_FALSE(store_->Find(digest_));
  EXPECT_THAT(corrupt_, testing::ElementsAre(digest_));
  EXPECT_EQ(locals_->Open(digest_), nullptr);
}

TEST_F(LocalBlobsTest, FindsACorruptPieceByTheChainOfAnEarlierRun) {
  PutInStore();
  ASSERT_TRUE(store_->SaveChain(digest_, TestChain(text_)).ok());
  Spoil();
  const auto live = locals_->Open(digest_);
  ASSERT_NE(live, nullptr);
  pool_.RunAll();
  EXPECT_TRUE(live->Failure());
  // Byte 50,000 lies in the fourth piece: nothing from there on was offered.
  EXPECT_EQ(live->have().count(), 3);
  EXPECT_EQ(live->ReadableEnd(Bytes(0)), kTestPiece * 3);
}

TEST_F(LocalBlobsTest, HashesAChangedFileAgain) {
  PutInStore();
  ASSERT_NE(locals_->Open(digest_), nullptr);
  pool_.RunAll();
  Spoil();
  std::filesystem::last_write_time(
      store_.PathOf(digest_),
      std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  const auto live = locals_->Open(digest_);
  ASSERT_NE(live, nullptr);
  EXPECT_FALSE(live->proved());
  EXPECT_EQ(pool_.RunAll(), 1);
  EXPECT_TRUE(live->Failure());
}

TEST_F(LocalBlobsTest, KeepsTheChainOfWhatItHashed) {
  runtime_ = true;
  Restart();
  PutInRuntime(text_);
  EXPECT_TRUE(locals_->Has(digest_));
  ASSERT_NE(locals_->Open(digest_), nullptr);
  pool_.RunAll();
  const auto chain = store_->FindChain(digest_);
  ASSERT_TRUE(chain);
  EXPECT_TRUE(chain->complete());
  EXPECT_EQ(chain->Encode(), TestChain(text_).Encode());
}

TEST_F(LocalBlobsTest, LeavesTheRuntimesCorruptFileAloneUntilItChanges) {
  runtime_ = true;
  Restart();
  const std::string path = PutInRuntime("something else");
  const auto live = locals_->Open(digest_);
  ASSERT_NE(live, nullptr);
  pool_.RunAll();
  EXPECT_TRUE(live->Failure());
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_THAT(corrupt_, testing::ElementsAre(digest_));
  EXPECT_EQ(locals_->Open(digest_), nullptr);
  EXPECT_EQ(pool_.RunAll(), 0);

  std::filesystem::remove(path);
  PutInRuntime(text_);
  std::filesystem::last_write_time(
      path, std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  const auto mended = locals_->Open(digest_);
  ASSERT_NE(mended, nullptr);
  pool_.RunAll();
  EXPECT_TRUE(mended->proved());
}

TEST_F(LocalBlobsTest, CutsABlobAsItsChainDoes) {
  PutInStore();
  const Geometry fine = Geometry::Make(SizeOf(text_), Bytes(32 << 10)).value();
  Chain chain(fine);
  ChainHasher hasher;
  for (PieceIndex i{0}; i < fine.last(); ++i) {
    hasher.Update(AsBytes(std::string_view(text_).substr(
        static_cast<std::size_t>(fine.OffsetOf(i).count()), 32 << 10)));
    chain.Set(i + 1, hasher.State());
  }
  ASSERT_TRUE(store_->SaveChain(digest_, chain).ok());
  const auto live = locals_->Open(digest_);
  ASSERT_NE(live, nullptr);
  EXPECT_EQ(live->geometry(), fine);
  pool_.RunAll();
  EXPECT_TRUE(live->proved());
}

TEST_F(LocalBlobsTest, ProvesAnEmptyBlob) {
  const Digest empty = Sha256Of("");
  ASSERT_TRUE(store_->Put(empty, AsBytes("")).ok());
  const auto live = locals_->Open(empty);
  ASSERT_NE(live, nullptr);
  pool_.RunAll();
  EXPECT_TRUE(live->proved());
}

}  // namespace
}  // namespace shoal::fetch
