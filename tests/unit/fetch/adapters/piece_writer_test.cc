#include "fetch/transport/piece_writer.h"

#include "tests/unit/fetch/adapters/fetch_rig.h"

namespace shoal::fetch {
namespace {

constexpr PieceIndex kFirst{0};
constexpr PieceIndex kSecond{1};

class PieceWriterTest : public ::testing::Test {
 protected:
  PieceWriterTest() : store_(folder_.path()), text_(Pattern(40'000)) {
    const Chain chain = TestChain(text_);
    partial_ = store_->OpenPartial(Sha256Of(text_), chain.geometry()).value();
    writer_.emplace(partial_, partial_->have());
  }
  [[nodiscard]] std::string OnDisk(std::size_t at, std::size_t count) const {
    return ReadAll(partial_->file()).substr(at, count);
  }

  ScratchFolder folder_;
  TestStore store_;
  const std::string text_;
  std::shared_ptr<PartialBlob> partial_;
  std::optional<PieceWriter> writer_;
};

TEST_F(PieceWriterTest, LetsOneRequestWriteAPiece) {
  EXPECT_TRUE(writer_->Claim(kFirst, 1));
  EXPECT_TRUE(writer_->Claim(kFirst, 1));
  EXPECT_FALSE(writer_->Claim(kFirst, 2));
  EXPECT_TRUE(writer_->Claim(kSecond, 2));
  EXPECT_TRUE(writer_->Write(kFirst, 1, Bytes(0), AsBytes("right")).ok());
  const Status refused = writer_->Write(kFirst, 2, Bytes(0), AsBytes("wrong"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kCancelled);
  EXPECT_EQ(OnDisk(0, 5), "right");
}

TEST_F(PieceWriterTest, GivesAPieceToTheNextOnceItIsReleased) {
  EXPECT_TRUE(writer_->Claim(kFirst, 1));
  writer_->Release(kFirst, 2);
  EXPECT_FALSE(writer_->Claim(kFirst, 2));
  writer_->Release(kFirst, 1);
  EXPECT_TRUE(writer_->Claim(kFirst, 2));
}

TEST_F(PieceWriterTest, TakesAPieceFromWhoeverIsStillWritingIt) {
  EXPECT_TRUE(writer_->Claim(kFirst, 1));
  EXPECT_TRUE(writer_->Take(kFirst, 2));
  EXPECT_FALSE(writer_->Write(kFirst, 1, Bytes(0), AsBytes("slow")).ok());
  EXPECT_FALSE(writer_->Finish(kFirst, 1));
  EXPECT_TRUE(writer_->Finish(kFirst, 2));
}

TEST_F(PieceWriterTest, KeepsAWrittenPieceUntilItIsJudged) {
  EXPECT_TRUE(writer_->Claim(kFirst, 1));
  EXPECT_TRUE(writer_->Finish(kFirst, 1));
  EXPECT_FALSE(writer_->Take(kFirst, 2));
  writer_->Release(kFirst, 1);
  EXPECT_TRUE(writer_->Take(kFirst, 2));
}

TEST_F(PieceWriterTest, NeverOverwritesAVerifiedPieceUntilItIsForgotten) {
  writer_->Land(kFirst);
  EXPECT_FALSE(writer_->Claim(kFirst, 1));
  EXPECT_FALSE(writer_->Take(kFirst, 1));
  EXPECT_FALSE(writer_->Write(kFirst, 1, Bytes(0), AsBytes("late")).ok());
  writer_->Reopen(kFirst);
  EXPECT_TRUE(writer_->Claim(kFirst, 1));
}

TEST_F(PieceWriterTest, BeginsWithWhatIsVerifiedAlready) {
  PieceMap have(partial_->geometry().count());
  have.Set(kSecond);
  PieceWriter writer(partial_, have);
  EXPECT_TRUE(writer.Claim(kFirst, 1));
  EXPECT_FALSE(writer.Take(kSecond, 1));
}

}  // namespace
}  // namespace shoal::fetch
