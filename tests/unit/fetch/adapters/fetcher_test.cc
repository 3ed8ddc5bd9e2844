#include "fetch/transport/fetcher.h"

#include <gmock/gmock.h>

#include "tests/unit/fetch/adapters/fetch_rig.h"

namespace shoal::fetch {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace shoal::literals;

constexpr std::size_t kSize = 10 * (16 << 10) + 321;  // eleven pieces

std::string Other(std::string text) {
  for (char& c : text) c = static_cast<char>(c ^ 0x55);
  return text;
}

class FetcherTest : public ::testing::Test {
 protected:
  FetcherTest() : text_(Pattern(kSize)), digest_(Sha256Of(text_)) {}

  [[nodiscard]] std::string Folder(const std::string& name) const {
    return folder_.path() + "/" + name;
  }
  std::unique_ptr<TestHost> Host(int seed, StreamMode mode = StreamMode::kVerified) {
    return std::make_unique<TestHost>(seed, Folder(std::to_string(seed)), network_, upstream_,
                                      mode);
  }

  ScratchFolder folder_;
  TestNetwork network_;
  ScriptedUpstream upstream_;
  const std::string text_;
  const Digest digest_;
};

TEST_F(FetcherTest, FetchesFromAPeer) {
  const auto holder = Host(1);
  holder->Hold(text_);
  const auto host = Host(2);
  EXPECT_TRUE(host->Fetch(digest_).ok());
  auto end = host->NextEnd();
  ASSERT_TRUE(end && end->status.ok());
  EXPECT_EQ(end->view.sources.peers.at(holder->id()), SizeOf(text_));
  EXPECT_EQ(end->view.have, 11);
  EXPECT_EQ(host->NextWhole(), digest_);
  EXPECT_EQ(host->Stored(digest_), text_);
  EXPECT_THAT(upstream_.asked(), IsEmpty());
  EXPECT_EQ(host->counters().from_peers, SizeOf(text_).count());
  EXPECT_EQ(host->counters().Of(holder->id()).in, SizeOf(text_).count());
}

TEST_F(FetcherTest, WhatAPeerMustNotSeeIsAsIfItWereNotThere) {
  const auto holder = Host(1);
  holder->Hold(text_);
  holder->Hide(digest_);
  const auto host = Host(2);
  EXPECT_EQ(host->Fetch(TestHost::Request(digest_, false)).error().code, Code::kNotFound);
  EXPECT_THAT(holder->TakeRanges(), IsEmpty());
  EXPECT_EQ(holder->counters().to_peers, 0);
}

TEST_F(FetcherTest, SharesTheWorkBetweenPeers) {
  const std::string text = Pattern(64 * (16 << 10));
  const Digest digest = Sha256Of(text);
  const auto first = Host(1);
  const auto second = Host(2);
  first->Hold(text);
  second->Hold(text);
  // Neither sends a byte before both have been asked.
  first->HoldBack();
  second->HoldBack();
  const auto host = Host(3);
  host->fetcher().Fetch(TestHost::Request(digest), [](const Status&) {});
  EXPECT_TRUE(first->WasAskedForARange());
  EXPECT_TRUE(second->WasAskedForARange());
  first->Release();
  second->Release();
  auto end = host->NextEnd();
  ASSERT_TRUE(end && end->status.ok());
  EXPECT_EQ(end->view.sources.peers.size(), 2U);
  EXPECT_EQ(host->NextWhole(), digest);
  EXPECT_EQ(host->Stored(digest), text);
}

TEST_F(FetcherTest, AsksTheUpstreamWhenNobodyHasIt) {
  upstream_.Give(text_);
  const auto host = Host(1);
  EXPECT_TRUE(host->Fetch(digest_).ok());
  auto end = host->NextEnd();
  ASSERT_TRUE(end && end->status.ok());
  EXPECT_EQ(end->view.sources.upstream, SizeOf(text_));
  EXPECT_EQ(upstream_.asked().size(), 1U);
  EXPECT_EQ(host->NextWhole(), digest_);
  EXPECT_EQ(host->Stored(digest_), text_);
  EXPECT_EQ(host->counters().from_upstream, SizeOf(text_).count());
}

TEST_F(FetcherTest, OneTransferServesAllWhoAsk) {
  upstream_.Give(text_);
  upstream_.HoldAt(kTestPiece * 3);
  const auto host = Host(1);
  auto first = host->Open(digest_);
  auto second = host->Open(digest_);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(*first, *second);
  Reader one(*first);
  Reader two(*second);
  EXPECT_EQ(one.ReadTo(kTestPiece * 3), text_.substr(0, 3 * 16384));
  upstream_.Release();
  EXPECT_EQ(one.ReadAll(), text_.substr(3 * 16384));
  EXPECT_EQ(two.ReadAll(), text_);
  EXPECT_EQ(upstream_.asked().size(), 1U);
}

TEST_F(FetcherTest, HoldsEverythingBackUntilProvedWhenAskedTo) {
  upstream_.Give(text_);
  upstream_.HoldAt(kTestPiece * 3);
  const auto host = Host(1, StreamMode::kProved);
  auto live = host->Open(digest_);
  ASSERT_TRUE(live.ok());
  EXPECT_EQ((*live)->ReadableEnd(Bytes(0)), Bytes(0));
  upstream_.Release();
  Reader reader(*live);
  EXPECT_EQ(reader.ReadAll(), text_);
}

TEST_F(FetcherTest, APartialBlobIsServedWhileItArrives) {
  upstream_.Give(text_);
  upstream_.HoldAt(kTestPiece * 5);
  const auto lead = Host(1);
  auto at_lead = lead->Open(digest_);
  ASSERT_TRUE(at_lead.ok());
  Reader lead_reader(*at_lead);
  EXPECT_EQ(lead_reader.ReadTo(kTestPiece * 5), text_.substr(0, 5 * 16384));
  network_.Holds(lead->id(), digest_);

  const auto host = Host(2);
  auto live = host->Open(digest_);
  ASSERT_TRUE(live.ok());
  Reader reader(*live);
  // What the lead has comes from the lead, though the upstream stands still.
  EXPECT_EQ(reader.ReadTo(kTestPiece * 4), text_.substr(0, 4 * 16384));
  upstream_.Release();
  EXPECT_EQ(reader.ReadAll(), text_.substr(4 * 16384));
  auto end = host->NextEnd();
  ASSERT_TRUE(end && end->status.ok());
  EXPECT_GE(end->view.sources.peers[lead->id()], kTestPiece * 4);
}

TEST_F(FetcherTest, ACorruptFileAtAPeerEndsAtTheUpstream) {
  const auto holder = Host(1);
  holder->Hold(text_);
  holder->Spoil(digest_, 100'000);
  upstream_.Give(text_);
  const auto host = Host(2);
  EXPECT_TRUE(host->Fetch(digest_).ok());
  EXPECT_EQ(host->NextWhole(), digest_);
  EXPECT_EQ(host->Stored(digest_), text_);
  EXPECT_EQ(holder->NextCorrupt(), digest_);
  EXPECT_FALSE(holder->store().Find(digest_));
}

TEST_F(FetcherTest, ALiarIsBannedAndTheBlobComesFromTheUpstream) {
  Liar liar(1, network_, Other(text_), digest_);
  liar.ShowLast();
  upstream_.Give(text_);
  const auto host = Host(2);
  EXPECT_TRUE(host->Fetch(digest_).ok());
  const auto banned = host->NextBan();
  ASSERT_TRUE(banned);
  EXPECT_EQ(banned->peer, liar.id());
  EXPECT_EQ(host->NextWhole(), digest_);
  EXPECT_EQ(host->Stored(digest_), text_);
  EXPECT_GE(host->counters().bans, 1);
}

TEST_F(FetcherTest, AReaderThatWasSentWhatProvedWrongIsCutAndTheNextGetsItRight) {
  Liar liar(1, network_, Other(text_), digest_);
  upstream_.Give(text_);
  upstream_.HoldAt(Bytes(0));
  const auto host = Host(2);
  auto live = host->Open(digest_);
  ASSERT_TRUE(live.ok());
  Reader reader(*live);
  EXPECT_EQ(reader.ReadTo(kTestPiece), Other(text_).substr(0, 16384));
  // Nothing contradicts it until somebody shows where it should end.
  upstream_.Release();
  liar.ShowLast();
  const std::string rest = reader.ReadAll();
  EXPECT_LT(rest.size(), text_.size() - 16384);
  ASSERT_TRUE(reader.live().Failure());

  auto again = host->Open(digest_);
  ASSERT_TRUE(again.ok());
  Reader next(*again);
  EXPECT_EQ(next.ReadAll(), text_);
  EXPECT_EQ(host->NextWhole(), digest_);
  EXPECT_EQ(host->Stored(digest_), text_);
}

TEST_F(FetcherTest, AFetchOutlastsWhatWasSentWrong) {
  Liar liar(1, network_, Other(text_), digest_);
  upstream_.Give(text_);
  upstream_.HoldAt(Bytes(0));
  const auto host = Host(2);
  auto live = host->Open(digest_);
  ASSERT_TRUE(live.ok());
  Reader reader(*live);
  EXPECT_EQ(reader.ReadTo(kTestPiece).size(), 16384U);
  test::Inbox<Status> done;
  host->fetcher().Fetch(TestHost::Request(digest_),
                        [&done](Status status) { done.Put(std::move(status)); });
  host->loop().Ask([] { return 0; });
  host->loop().Ask([] { return 0; });
  upstream_.Release();
  liar.ShowLast();
  const auto status = done.Take();
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->ok()) << status->error().text;
}

TEST_F(FetcherTest, GoesOnWhereAnEarlierRunStopped) {
  upstream_.Give(text_);
  upstream_.HoldAt(kTestPiece * 4);
  {
    const auto host = Host(1);
    auto live = host->Open(digest_);
    ASSERT_TRUE(live.ok());
    Reader reader(*live);
    EXPECT_EQ(reader.ReadTo(kTestPiece * 4).size(), 4U * 16384);
  }
  upstream_.Release();
  const std::size_t asked = upstream_.asked().size();
  const auto holder = Host(2);
  holder->Hold(text_);
  const auto host = Host(1);
  EXPECT_TRUE(host->Fetch(digest_).ok());
  auto end = host->NextEnd();
  ASSERT_TRUE(end && end->status.ok());
  EXPECT_EQ(end->view.sources.resumed, kTestPiece * 4);
  EXPECT_EQ(end->view.sources.peers[holder->id()], SizeOf(text_) - kTestPiece * 4);
  EXPECT_EQ(upstream_.asked().size(), asked);
  // Only what was absent was asked for.
  for (const auto& range : holder->TakeRanges()) {
    EXPECT_GE(std::atoll(range.c_str() + 6), (kTestPiece * 4).count()) << range;
  }
  EXPECT_EQ(host->NextWhole(), digest_);
  EXPECT_EQ(host->Stored(digest_), text_);
}

TEST_F(FetcherTest, OffersWhatAnEarlierRunLeft) {
  upstream_.Give(text_);
  upstream_.HoldAt(kTestPiece * 4);
  const auto host = Host(1);
  {
    auto live = host->Open(digest_);
    ASSERT_TRUE(live.ok());
    Reader reader(*live);
    EXPECT_EQ(reader.ReadTo(kTestPiece * 4).size(), 4U * 16384);
  }
  host->loop().Ask([&] {
    host->fetcher().StopAll();
    return 0;
  });
  auto end = host->NextEnd();
  ASSERT_TRUE(end && !end->status.ok());
  EXPECT_EQ(end->status.error().code, Code::kCancelled);
  const auto kept = host->fetcher().Find(digest_);
  ASSERT_NE(kept, nullptr);
  EXPECT_GE(kept->have().count(), 3);
  EXPECT_TRUE(kept->Covers(Bytes(0), kTestPiece * 3));
  EXPECT_FALSE(kept->proved());
  // Nothing begins any more.
  const Status refused = host->Fetch(Sha256Of("another"));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kRetryLater);
}

TEST_F(FetcherTest, StopsWhenNobodyReadsItAnyMore) {
  upstream_.Give(text_);
  upstream_.HoldAt(kTestPiece * 2);
  const auto host = Host(1);
  {
    auto live = host->Open(digest_);
    ASSERT_TRUE(live.ok());
    Reader reader(*live);
    EXPECT_EQ(reader.ReadTo(kTestPiece * 2).size(), 2U * 16384);
  }
  // Bytes keep coming: it is not for lack of them that it stops.
  const auto active = [&] {
    return host->loop().Ask([&] { return host->fetcher().active_count(); });
  };
  Bytes sent = kTestPiece * 2;
  for (int i = 0; i < 12 && active() > 0; ++i) {
    sent += Bytes(5000);
    upstream_.HoldAt(sent);
    ASSERT_TRUE(upstream_.WaitSentTo(sent));
    host->loop().Advance(std::chrono::seconds(8));
  }
  auto end = host->NextEnd();
  ASSERT_TRUE(end && !end->status.ok());
  EXPECT_THAT(end->status.error().text, HasSubstr("nobody reads"));
  EXPECT_EQ(active(), 0U);
  EXPECT_NE(host->fetcher().Find(digest_), nullptr);
}

TEST_F(FetcherTest, SaysWhyItFailed) {
  const auto host = Host(1);
  const Status unknown = host->Fetch(digest_);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, Code::kNotFound);
  EXPECT_THAT(unknown.error().text, HasSubstr(ToString(digest_)));
  upstream_.FailWith({Code::kDenied, "it wants a password"});
  const Status denied = host->Fetch(digest_);
  ASSERT_FALSE(denied.ok());
  EXPECT_EQ(denied.error().code, Code::kDenied);
}

TEST_F(FetcherTest, NobodyToAskIsNotFound) {
  const auto host = Host(1);
  const Status status = host->Fetch(TestHost::Request(digest_, false));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kNotFound);
  EXPECT_THAT(upstream_.asked(), IsEmpty());
}

TEST_F(FetcherTest, AnUpstreamThatSendsOtherBytesIsCorrupt) {
  upstream_.GiveAs(digest_, Other(text_));
  const auto host = Host(1);
  const Status status = host->Fetch(digest_);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kCorrupt);
  EXPECT_FALSE(host->store().Find(digest_));
}

TEST_F(FetcherTest, ASizeThatTheManifestDoesNotNameIsNotBelieved) {
  const auto holder = Host(1);
  holder->Hold(text_);
  upstream_.Give(text_);
  const auto host = Host(2);
  FetchRequest request = TestHost::Request(digest_);
  request.expected_size = SizeOf(text_) + Bytes(1);
  const Status status = host->Fetch(request);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kCorrupt);
  EXPECT_THAT(holder->TakeRanges(), IsEmpty());
}

TEST_F(FetcherTest, FetchesAnEmptyBlob) {
  const auto host = Host(1);
  const Digest empty = Sha256Of("");
  EXPECT_TRUE(host->Fetch(empty).ok());
  EXPECT_EQ(host->NextWhole(), empty);
  EXPECT_EQ(host->Stored(empty), "");
}

TEST_F(FetcherTest, WhatIsHereIsNotFetched) {
  const auto host = Host(1);
  host->Hold(text_);
  auto live = host->Open(digest_);
  ASSERT_TRUE(live.ok());
  Reader reader(*live);
  EXPECT_EQ(reader.ReadAll(), text_);
  EXPECT_EQ((*live)->origin().ToString(), "local");
  EXPECT_THAT(upstream_.asked(), IsEmpty());
}

TEST_F(FetcherTest, AsksAPeerThatAppearsMeanwhile) {
  upstream_.Give(text_);
  upstream_.HoldAt(Bytes(0));
  const auto holder = Host(1);
  const auto host = Host(2);
  test::Inbox<Status> done;
  host->fetcher().Fetch(TestHost::Request(digest_),
                        [&done](Status status) { done.Put(std::move(status)); });
  ASSERT_TRUE(upstream_.WaitForCalls(1));
  holder->Hold(text_);
  host->loop().Post([&] { host->fetcher().OnPeerAppeared(holder->id()); });
  const auto status = done.Take();
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->ok());
  EXPECT_EQ(host->NextWhole(), digest_);
  EXPECT_EQ(host->Stored(digest_), text_);
}

// A map may come while the upstream's answer opens the file: one file, written by one writer.
TEST_F(FetcherTest, APeersMapAndTheUpstreamsAnswerMayComeTogether) {
  const auto holder = Host(1);
  for (int round = 0; round < 20; ++round) {
    const std::string text = Pattern(kSize) + std::to_string(round);
    const Digest digest = Sha256Of(text);
    upstream_.Give(text);
    holder->Hold(text);
    const auto host = Host(100 + round);
    host->loop().Post([&] { host->fetcher().OnPeerAppeared(holder->id()); });
    EXPECT_TRUE(host->Fetch(digest).ok());
    EXPECT_EQ(host->NextWhole(), digest);
    EXPECT_EQ(host->Stored(digest), text);
  }
}

TEST_F(FetcherTest, AStoreThatIsTooSmallIsAnError) {
  upstream_.Give(text_);
  TestHost host(1, Folder("small"), network_, upstream_, StreamMode::kVerified, Bytes(100'000));
  const Status status = host.Fetch(digest_);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kExhausted);
}

}  // namespace
}  // namespace shoal::fetch
