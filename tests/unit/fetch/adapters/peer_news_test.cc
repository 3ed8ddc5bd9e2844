// News that a holder's answers about pieces bring along: docs/PROTOCOL.md, "Bytes".
#include <gtest/gtest.h>

#include <future>

#include "tests/unit/fetch/adapters/fetch_rig.h"

namespace shoal::fetch {
namespace {

constexpr Bytes kNewsPiece{128 << 10};  // answers of up to 64 KiB take no slot
constexpr std::int64_t kNewsPieces = 11;
constexpr std::int64_t kAtLead = 5;

// A lead that has the first pieces of a blob and waits for more.
class PeerNewsTest : public ::testing::Test {
 protected:
  PeerNewsTest()
      : text_(Pattern(static_cast<std::size_t>((kNewsPiece * kNewsPieces).count()))),
        digest_(Sha256Of(text_)) {
    upstream_.Give(text_);
    upstream_.HoldAt(kNewsPiece * kAtLead);
    lead_ = Host(1);
    live_ = lead_->Open(digest_).value();
    Reader reader(live_);
    reader.ReadTo(kNewsPiece * kAtLead);
  }
  ~PeerNewsTest() override { live_.reset(); }

  std::unique_ptr<TestHost> Host(int seed,
                                 test::TestLoop::Clock clock = test::TestLoop::Clock::kReal) {
    return std::make_unique<TestHost>(seed, folder_.path() + "/" + std::to_string(seed), network_,
                                      upstream_, StreamMode::kVerified, Bytes(1 << 30), kNewsPiece,
                                      clock);
  }
  [[nodiscard]] std::string Target(const std::string& query) const {
    return "/p2p/v1/blobs/" + ToString(digest_) + query;
  }
  HttpReply Ask(const std::string& query, int peer = 2) {
    return lead_->AnswerTo(TestKey(peer).id(), Target(query), "bytes=0-131071");
  }
  static std::string News(const HttpReply& reply) {
    return std::string(FindHeader(reply.headers, "shoal-map"));
  }

  ScratchFolder folder_;
  TestNetwork network_;
  ScriptedUpstream upstream_;
  const std::string text_;
  const Digest digest_;
  std::unique_ptr<TestHost> lead_;
  std::shared_ptr<LiveBlob> live_;
};

TEST_F(PeerNewsTest, WhoKnowsLessIsToldBesideThePiece) {
  const HttpReply reply = Ask("?known=2");
  EXPECT_EQ(reply.status, 206);
  auto map = DecodeMap(News(reply));
  ASSERT_TRUE(map.ok()) << map.error().text;
  EXPECT_EQ(map->map.have.count(), kAtLead);
  EXPECT_EQ(map->epoch, live_->chain_epoch());
  EXPECT_GE(map->map.chain.known_prefix(), kAtLead);
}

// Else the newest piece of a lead could be asked only when the next one is there.
TEST_F(PeerNewsTest, WhoWaitsForAPieceIsToldTheStateAfterItToo) {
  std::promise<std::pair<std::int32_t, std::int32_t>> told;
  live_->AwaitPieces(live_->Join(), kAtLead, [&] {
    told.set_value({live_->have().count(), live_->chain().known_prefix()});
  });
  upstream_.HoldAt(kNewsPiece * (kAtLead + 1));
  const auto [have, states] = told.get_future().get();
  EXPECT_EQ(have, kAtLead + 1);
  EXPECT_EQ(states, have + 1);
}

TEST_F(PeerNewsTest, StatesThatAreKnownAreLeftOut) {
  const std::string epoch = std::to_string(live_->chain_epoch());
  const std::string news = News(Ask("?known=2&states=4&epoch=" + epoch));
  EXPECT_FALSE(DecodeMap(news).ok());
  const HeldChain held{live_->chain_epoch(), live_->chain()};
  EXPECT_TRUE(DecodeMap(news, &held).ok());
  EXPECT_LT(news.size(), News(Ask("?known=2&states=4&epoch=1")).size());
}

TEST_F(PeerNewsTest, WhoKnowsAllOrDoesNotSayIsToldNothing) {
  for (const char* query : {"", "?known=0", "?known=5", "?known=11"}) {
    const HttpReply reply = Ask(query);
    EXPECT_EQ(reply.status, 206) << query;
    EXPECT_EQ(News(reply), "") << query;
  }
}

TEST_F(PeerNewsTest, OneWithoutASlotTellsToo) {
  HttpReply reply = Ask("?known=2");
  for (int peer = 3; reply.status == 206 && peer < 50; ++peer) reply = Ask("?known=2", peer);
  EXPECT_EQ(reply.status, 503);
  EXPECT_NE(FindHeader(reply.headers, "shoal-busy-ms"), "");
  EXPECT_TRUE(DecodeMap(News(reply)).ok());
}

TEST_F(PeerNewsTest, ALongMapIsLeftToWhoAsksForIt) {
  // Its chain alone is 4.3 KiB.
  const std::string text = Pattern(101 * (128 << 10));
  const Digest digest = lead_->Hold(text);
  const std::string target = "/p2p/v1/blobs/" + ToString(digest);
  const PeerId asker = TestKey(2).id();
  const HttpReply map = lead_->AnswerTo(asker, target + "/map?known=100&wait_ms=10000", "");
  ASSERT_EQ(map.status, 200) << "it is hashed by now";
  const HttpReply reply = lead_->AnswerTo(asker, target + "?known=1", "bytes=0-131071");
  EXPECT_EQ(reply.status, 206);
  EXPECT_EQ(News(reply), "");
}

TEST_F(PeerNewsTest, AQueryThatIsNoneIsRefused) {
  for (const char* query : {"?known=x", "?known=-1", "?known=2&states=0", "?known=2&epoch=e"}) {
    EXPECT_EQ(Ask(query).status, 400) << query;
  }
}

// Its time stands still, so that no map is due again before a piece is asked.
TEST_F(PeerNewsTest, AFetcherSaysWhatItKnows) {
  network_.Holds(lead_->id(), digest_);
  const auto host = Host(2, test::TestLoop::Clock::kManual);
  host->fetcher().Fetch(TestHost::Request(digest_, false), [](const Status&) {});
  const std::string wanted =
      Target("?known=5&epoch=" + std::to_string(live_->chain_epoch()) + "&states=");
  std::optional<std::string> asked = lead_->NextAsked();
  while (asked && !asked->starts_with(wanted)) asked = lead_->NextAsked();
  EXPECT_TRUE(asked) << "it never asked for " << wanted;
}

}  // namespace
}  // namespace shoal::fetch
