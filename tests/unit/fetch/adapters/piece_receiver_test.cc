#include "fetch/transport/piece_receiver.h"

#include <gmock/gmock.h>

#include <fcntl.h>
#include <sys/resource.h>

#include <csignal>

#include "tests/unit/fetch/adapters/fetch_rig.h"

namespace shoal::fetch {
namespace {

// Three whole pieces and a short one.
constexpr std::size_t kReceived = 3 * (16 << 10) + 1000;
constexpr std::size_t kPieceSize = 16 << 10;

class PieceReceiverTest : public ::testing::Test {
 protected:
  PieceReceiverTest()
      : store_(folder_.path()),
        text_(Pattern(kReceived)),
        digest_(Sha256Of(text_)),
        chain_(TestChain(text_)) {
    partial_ = store_->OpenPartial(digest_, chain_.geometry()).value();
    writer_ = std::make_shared<PieceWriter>(partial_, partial_->have());
  }

  // What a receiver told.
  struct Told {
    std::vector<HashedPiece> pieces;
    std::vector<std::string> news;
    std::optional<Status> done;
    std::int64_t bytes = 0;
    Bytes size{-1};
  };

  PieceReceiver::Run RunOf(RequestId request, int first, std::optional<std::int32_t> count) const {
    return {request, digest_, {first}, count, chain_, writer_};
  }
  std::shared_ptr<PieceReceiver> Make(PieceReceiver::Run run, Told& told) {
    ReceiverEvents events;
    events.on_size = [this, &told](Bytes size) -> Result<std::shared_ptr<PieceWriter>> {
      told.size = size;
      return writer_;
    };
    events.on_piece = [&told](HashedPiece piece) { told.pieces.push_back(std::move(piece)); };
    events.on_busy = [&told](const HolderBusy&) { told.done = Ok(); };
    events.on_news = [&told](std::string map) { told.news.push_back(std::move(map)); };
    events.on_done = [&told](Status status) { told.done = std::move(status); };
    events.on_bytes = [&told](std::int64_t count) { told.bytes += count; };
    return std::make_shared<PieceReceiver>(std::move(run), std::move(events));
  }
  static HttpHead Head(int status, const std::string& range = "") {
    HttpHead head;
    head.status = status;
    if (!range.empty()) head.headers = {{"Content-Range", "bytes " + range + "/50152"}};
    return head;
  }
  [[nodiscard]] ByteSpan Piece(int i) const { return Part(text_, i); }
  static ByteSpan Part(const std::string& text, int i) {
    return AsBytes(
        std::string_view(text).substr(static_cast<std::size_t>(i) * kPieceSize, kPieceSize));
  }
  [[nodiscard]] std::string OnDisk(int i) const {
    return ReadAll(partial_->file()).substr(static_cast<std::size_t>(i) * kPieceSize, kPieceSize);
  }
  static Code CodeOf(const Told& told) {
    EXPECT_TRUE(told.done && !told.done->ok());
    return told.done && !told.done->ok() ? told.done->error().code : Code::kCancelled;
  }

  ScratchFolder folder_;
  TestStore store_;
  const std::string text_;
  const Digest digest_;
  const Chain chain_;
  std::shared_ptr<PartialBlob> partial_;
  std::shared_ptr<PieceWriter> writer_;
};

TEST_F(PieceReceiverTest, HashesAndWritesAPeersRunPieceByPiece) {
  Told told;
  const auto receiver = Make(RunOf(1, 2, 2), told);
  EXPECT_TRUE(receiver->OnHead(Head(206, "32768-50151")));
  const ByteSpan run = AsBytes(std::string_view(text_).substr(2 * kPieceSize));
  EXPECT_TRUE(receiver->OnBytes(run.first(100)));
  EXPECT_TRUE(receiver->OnBytes(run.subspan(100, kPieceSize)));  // over the boundary
  ASSERT_EQ(told.pieces.size(), 1U);
  EXPECT_TRUE(receiver->OnBytes(run.subspan(100 + kPieceSize)));
  receiver->OnDone(Ok());
  ASSERT_EQ(told.pieces.size(), 2U);
  EXPECT_EQ(told.pieces[0].after, *chain_.Before({3}));
  EXPECT_FALSE(told.pieces[0].displaced);
  EXPECT_TRUE(told.pieces[1].digest_ok);
  EXPECT_TRUE(told.done->ok());
  EXPECT_EQ(told.bytes, static_cast<std::int64_t>(run.size()));
  EXPECT_EQ(receiver->received(), told.bytes);
  EXPECT_EQ(ReadAll(partial_->file()).substr(2 * kPieceSize), text_.substr(2 * kPieceSize));
}

TEST_F(PieceReceiverTest, NamesWhatAPeersRefusalMeans) {
  for (const auto& [status, code] : {std::pair(403, Code::kDenied),
                                     {404, Code::kNotFound},
                                     {416, Code::kCorrupt},
                                     {503, Code::kRetryLater},
                                     {200, Code::kRetryLater}}) {
    Told told;
    const auto receiver = Make(RunOf(1, 0, 1), told);
    EXPECT_FALSE(receiver->OnHead(Head(status)));
    receiver->OnDone(Error{Code::kCancelled, "stopped"});
    EXPECT_EQ(CodeOf(told), code) << status;
    EXPECT_TRUE(told.pieces.empty());
  }
}

TEST_F(PieceReceiverTest, TellsTheMapThatAnAnswerBringsAlong) {
  Told told;
  HttpHead sent = Head(206, "0-16383");
  sent.headers.emplace_back("Shoal-Map", "{}");
  EXPECT_TRUE(Make(RunOf(1, 0, 1), told)->OnHead(sent));
  EXPECT_EQ(told.news, std::vector<std::string>{"{}"});
  HttpHead busy = Head(503);
  busy.headers = {{"Shoal-Busy-Ms", "10"}, {"Shoal-Map", "[]"}};
  EXPECT_TRUE(Make(RunOf(2, 0, 1), told)->OnHead(busy));
  EXPECT_EQ(told.news.back(), "[]");
}

TEST_F(PieceReceiverTest, TellsNoMapOfRefusalsAndNoneThatIsTooLong) {
  Told told;
  for (const int status : {404, 503}) {
    HttpHead head = Head(status);
    head.headers.emplace_back("Shoal-Map", "{}");
    EXPECT_FALSE(Make(RunOf(1, 0, 1), told)->OnHead(head)) << status;
  }
  for (const std::size_t size : {kNewsBytesMax, kNewsBytesMax + 1}) {
    HttpHead head = Head(206, "0-16383");
    head.headers.emplace_back("Shoal-Map", std::string(size, ' '));
    EXPECT_TRUE(Make(RunOf(2, 0, 1), told)->OnHead(head));
  }
  ASSERT_EQ(told.news.size(), 1U);
  EXPECT_EQ(told.news[0].size(), kNewsBytesMax);
}

TEST_F(PieceReceiverTest, RefusesAnotherRangeThanItAskedFor) {
  for (const char* range : {"0-16383", "-", "x"}) {
    Told told;
    const auto receiver = Make(RunOf(1, 1, 1), told);
    EXPECT_FALSE(receiver->OnHead(Head(206, range))) << range;
    receiver->OnDone(Error{Code::kCancelled, "stopped"});
    EXPECT_EQ(CodeOf(told), Code::kCorrupt) << range;
  }
}

TEST_F(PieceReceiverTest, StopsAtMoreBytesThanItAskedFor) {
  Told told;
  const auto receiver = Make(RunOf(1, 0, 1), told);
  EXPECT_TRUE(receiver->OnHead(Head(206, "0-16383")));
  EXPECT_TRUE(receiver->OnBytes(Piece(0)));
  EXPECT_FALSE(receiver->OnBytes(Piece(1)));
  receiver->OnDone(Error{Code::kCancelled, "stopped"});
  EXPECT_EQ(CodeOf(told), Code::kCorrupt);
  EXPECT_EQ(told.pieces.size(), 1U);
  EXPECT_EQ(OnDisk(1), std::string(kPieceSize, '\0'));
}

TEST_F(PieceReceiverTest, SaysWhenAnAnswerEndedEarlyAndLetsThePieceGo) {
  Told told;
  const auto receiver = Make(RunOf(1, 0, 2), told);
  EXPECT_TRUE(receiver->OnHead(Head(206, "0-32767")));
  EXPECT_TRUE(receiver->OnBytes(Piece(0)));
  EXPECT_TRUE(receiver->OnBytes(Piece(1).first(5)));
  receiver->OnDone(Ok());
  EXPECT_EQ(CodeOf(told), Code::kRetryLater);
  EXPECT_EQ(told.pieces.size(), 1U);
  // The piece it left half done is anybody's; the one it finished waits to be judged.
  EXPECT_TRUE(writer_->Claim({1}, 2));
  EXPECT_FALSE(writer_->Claim({0}, 2));
}

TEST_F(PieceReceiverTest, TellsAWrongPieceAndLetsItGo) {
  Told told;
  const auto receiver = Make(RunOf(1, 0, 1), told);
  std::string wrong = text_;
  wrong[77] ^= 1;
  EXPECT_TRUE(receiver->OnHead(Head(206, "0-16383")));
  EXPECT_TRUE(receiver->OnBytes(Part(wrong, 0)));
  receiver->OnDone(Ok());
  ASSERT_EQ(told.pieces.size(), 1U);
  EXPECT_NE(told.pieces[0].after, *chain_.Before({1}));
  EXPECT_FALSE(told.pieces[0].displaced);
  EXPECT_TRUE(writer_->Claim({0}, 2));
}

TEST_F(PieceReceiverTest, NeverOverwritesAVerifiedPiece) {
  ASSERT_TRUE(partial_->WriteAt(Bytes(0), Piece(0)).ok());
  writer_->Land({0});
  Told told;
  const auto receiver = Make(RunOf(2, 0, 1), told);
  std::string wrong = text_;
  wrong[0] ^= 1;
  EXPECT_TRUE(receiver->OnHead(Head(206, "0-16383")));
  EXPECT_TRUE(receiver->OnBytes(Part(wrong, 0)));
  receiver->OnDone(Ok());
  EXPECT_EQ(told.pieces.size(), 1U);
  EXPECT_EQ(OnDisk(0), text_.substr(0, kPieceSize));
}

TEST_F(PieceReceiverTest, ASecondAnswerWaitsAsideAndLandsOnlyIfRight) {
  std::string wrong = text_;
  wrong[10] ^= 1;
  Told slow_told;
  const auto slow = Make(RunOf(1, 0, 1), slow_told);
  EXPECT_TRUE(slow->OnHead(Head(206, "0-16383")));
  EXPECT_TRUE(slow->OnBytes(Piece(0).first(100)));

  Told wrong_told;
  const auto liar = Make(RunOf(2, 0, 1), wrong_told);
  EXPECT_TRUE(liar->OnHead(Head(206, "0-16383")));
  EXPECT_TRUE(liar->OnBytes(Part(wrong, 0)));
  EXPECT_EQ(OnDisk(0).substr(100), std::string(kPieceSize - 100, '\0'));

  Told fast_told;
  const auto fast = Make(RunOf(3, 0, 1), fast_told);
  EXPECT_TRUE(fast->OnHead(Head(206, "0-16383")));
  EXPECT_TRUE(fast->OnBytes(Piece(0).first(kPieceSize - 1)));
  EXPECT_EQ(OnDisk(0).substr(100), std::string(kPieceSize - 100, '\0'));
  EXPECT_TRUE(fast->OnBytes(Piece(0).last(1)));
  EXPECT_EQ(OnDisk(0), text_.substr(0, kPieceSize));
  ASSERT_EQ(fast_told.pieces.size(), 1U);
  EXPECT_FALSE(fast_told.pieces[0].displaced);

  // The slow one goes on and is not to blame; its bytes change nothing.
  EXPECT_TRUE(slow->OnBytes(Piece(0).subspan(100)));
  slow->OnDone(Ok());
  EXPECT_TRUE(slow_told.done->ok());
  ASSERT_EQ(slow_told.pieces.size(), 1U);
  EXPECT_TRUE(slow_told.pieces[0].displaced);
  EXPECT_EQ(OnDisk(0), text_.substr(0, kPieceSize));
}

TEST_F(PieceReceiverTest, BytesThatNothingSpeaksForDoNotReplaceAPieceThatWaitsToBeJudged) {
  // A peer's piece, right under the chain, is on the disk; the loop has not heard of it yet.
  Told peer_told;
  const auto peer = Make(RunOf(1, 1, 1), peer_told);
  EXPECT_TRUE(peer->OnHead(Head(206, "16384-32767")));
  EXPECT_TRUE(peer->OnBytes(Piece(1)));
  // An upstream's run that began before the chain was known brings other bytes.
  std::string wrong = text_;
  wrong[kPieceSize + 3] ^= 1;
  Told told;
  PieceReceiver::Run run = RunOf(2, 0, std::nullopt);
  run.chain.reset();
  run.writer.reset();
  const auto upstream = Make(std::move(run), told);
  EXPECT_TRUE(upstream->OnStart(SizeOf(wrong), Bytes(0)));
  EXPECT_TRUE(upstream->OnBytes(AsBytes(std::string_view(wrong).substr(0, 2 * kPieceSize))));
  EXPECT_EQ(OnDisk(1), text_.substr(kPieceSize, kPieceSize));
  ASSERT_EQ(told.pieces.size(), 2U);
  EXPECT_TRUE(told.pieces[1].displaced);
}

TEST_F(PieceReceiverTest, AnUpstreamsRunNeedsNoChain) {
  Told told;
  PieceReceiver::Run run = RunOf(1, 0, std::nullopt);
  run.chain.reset();
  run.writer.reset();
  const auto receiver = Make(std::move(run), told);
  EXPECT_TRUE(receiver->OnStart(SizeOf(text_), Bytes(0)));
  EXPECT_EQ(told.size, SizeOf(text_));
  EXPECT_TRUE(receiver->OnBytes(AsBytes(text_)));
  receiver->OnDone(Ok());
  ASSERT_EQ(told.pieces.size(), 4U);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(told.pieces[i].after, *chain_.Before({i + 1}));
  EXPECT_TRUE(told.pieces[3].digest_ok);
  EXPECT_EQ(ReadAll(partial_->file()), text_);
}

TEST_F(PieceReceiverTest, AnUpstreamOfAnotherSizeIsOfNoUse) {
  Told told;
  const auto receiver = Make(RunOf(1, 0, std::nullopt), told);
  EXPECT_FALSE(receiver->OnStart(Bytes(5), Bytes(0)));
  receiver->OnDone(Error{Code::kCancelled, "stopped"});
  EXPECT_EQ(told.size, Bytes(5));
  EXPECT_EQ(CodeOf(told), Code::kRetryLater);
}

TEST_F(PieceReceiverTest, AnUpstreamThatBeginsElsewhereIsRefused) {
  Told told;
  const auto receiver = Make(RunOf(1, 1, std::nullopt), told);
  EXPECT_FALSE(receiver->OnStart(SizeOf(text_), Bytes(0)));
  receiver->OnDone(Error{Code::kCancelled, "stopped"});
  EXPECT_EQ(CodeOf(told), Code::kCorrupt);
}

TEST_F(PieceReceiverTest, CannotBeginWhereNoStateIsKnown) {
  Told told;
  PieceReceiver::Run run = RunOf(1, 2, std::nullopt);
  run.chain = Chain(chain_.geometry());
  const auto receiver = Make(std::move(run), told);
  EXPECT_TRUE(receiver->OnStart(SizeOf(text_), Bytes(2 * kPieceSize)));
  EXPECT_FALSE(receiver->OnBytes(Piece(2)));
  receiver->OnDone(Error{Code::kCancelled, "stopped"});
  EXPECT_EQ(CodeOf(told), Code::kInvalid);
}

TEST_F(PieceReceiverTest, AnEmptyBlobIsOnePieceOfNoBytes) {
  const Digest empty = Sha256Of("");
  auto partial = store_->OpenPartial(empty, Geometry::Make(Bytes(0), kTestPiece).value()).value();
  writer_ = std::make_shared<PieceWriter>(partial, partial->have());
  Told told;
  const auto receiver = Make({1, empty, {0}, std::nullopt, std::nullopt, nullptr}, told);
  EXPECT_TRUE(receiver->OnStart(Bytes(0), Bytes(0)));
  receiver->OnDone(Ok());
  ASSERT_EQ(told.pieces.size(), 1U);
  EXPECT_TRUE(told.pieces[0].digest_ok);
  EXPECT_TRUE(told.done->ok());
}

// A limit on the size of files stands for a disk that is full.
TEST_F(PieceReceiverTest, SaysSoWhenTheDiskTakesNoMore) {
  Told told;
  const auto receiver = Make(RunOf(1, 2, 2), told);
  EXPECT_TRUE(receiver->OnHead(Head(206, "32768-50151")));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct sigaction ignore {};
  struct sigaction old {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGXFSZ, &ignore, &old);
  const rlimit small{2 * kPieceSize, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const bool taken = receiver->OnBytes(Piece(2));
  setrlimit(RLIMIT_FSIZE, &before);
  sigaction(SIGXFSZ, &old, nullptr);
  EXPECT_FALSE(taken);
  receiver->OnDone(Error{Code::kCancelled, "stopped"});
  EXPECT_TRUE(told.done && !told.done->ok());
  EXPECT_TRUE(told.pieces.empty());
  // Another may try once there is room.
  EXPECT_TRUE(writer_->Claim({2}, 2));
}

}  // namespace
}  // namespace shoal::fetch
