#include "index/feed.h"

#include <gtest/gtest.h>

#include "tests/unit/index/feed_rig.h"
#include "tests/unit/index/mutation.h"

namespace shoal::index {
namespace {

TEST(FeedTest, AMessageReachesEveryMemberOnce) {
  FeedRig rig(40);
  rig.Run(5s);
  const auto name = rig.Publish(3, "a");
  rig.Run(5s);
  EXPECT_EQ(rig.Reached(name), 40);
}

TEST(FeedTest, AfterTheFirstMessagesEachMemberGetsAboutOneCopy) {
  FeedRig rig(60);
  rig.Run(5s);
  for (int i = 0; i < 3; ++i) {
    rig.Publish(7, "warm" + std::to_string(i));
    rig.Run(2s);
  }
  const auto before = rig.Copies();
  for (int i = 0; i < 10; ++i) {
    const auto name = rig.Publish(7, "topic" + std::to_string(i));
    rig.Run(2s);
    EXPECT_EQ(rig.Reached(name), 60);
  }
  // 59 others, ten messages; a mended tree costs some copies more.
  EXPECT_LT(rig.Copies() - before, 59 * 10 * 3 / 2);
}

TEST(FeedTest, WhatIsLostIsMended) {
  for (const auto& [loss, quiet] : {std::pair{0.2, 0.0}, {0.0, 0.2}, {0.1, 0.1}}) {
    FeedRig rig(30, 5);
    rig.loss = loss;
    rig.quiet_loss = quiet;
    rig.Run(5s);
    std::vector<FeedName> names;
    for (int i = 0; i < 8; ++i) {
      names.push_back(rig.Publish(i % 4, "topic" + std::to_string(i)));
      rig.Run(300ms);
    }
    rig.Run(120s);
    for (const auto& name : names) EXPECT_EQ(rig.Reached(name), 30) << loss << " " << quiet;
  }
}

TEST(FeedTest, AWritersMessagesAreGivenInItsOrderEverywhere) {
  FeedRig rig(30, 9);
  rig.quiet_loss = 0.15;
  rig.loss = 0.05;
  rig.Run(5s);
  for (int i = 0; i < 20; ++i) {
    rig.Publish(0, "a" + std::to_string(i));
    rig.Publish(1, "b" + std::to_string(i));
    rig.Run(50ms);
  }
  rig.Run(120s);
  for (int host = 0; host < rig.count(); ++host) {
    std::map<PeerId, std::uint64_t> last;
    for (const auto& name : rig.At(host).given) {
      EXPECT_GT(name.sequence, last[name.writer]);
      last[name.writer] = name.sequence;
    }
    EXPECT_EQ(rig.At(host).given.size(), 40U);
  }
}

TEST(FeedTest, ARoomThatWasCutFindsTogether) {
  FeedRig rig(24, 3);
  rig.Run(5s);
  rig.Cut([](int host) { return host % 2; });
  rig.Run(60s);
  const auto even = rig.Publish(0, "even");
  const auto odd = rig.Publish(1, "odd");
  rig.Run(60s);
  EXPECT_EQ(rig.Reached(even), 12);
  EXPECT_EQ(rig.Reached(odd), 12);
  rig.Heal();
  rig.Run(60s);
  EXPECT_EQ(rig.Reached(even), 24);
  EXPECT_EQ(rig.Reached(odd), 24);
  const auto after = rig.Publish(5, "after");
  rig.Run(30s);
  EXPECT_EQ(rig.Reached(after), 24);
}

TEST(FeedTest, WhoComesLateIsGivenWhatStandsAndThenTheRest) {
  FeedRig rig(8);
  rig.Run(2s);
  const auto replaced = rig.Publish(2, "image");
  rig.Run(1s);
  const auto stands = rig.Publish(2, "image");
  const auto other = rig.Publish(3, "other");
  const auto ended = rig.Publish(4, "short", 5s);
  rig.Run(20s);
  const int late = rig.Add();
  rig.Run(3s);
  EXPECT_EQ(std::set(rig.At(late).given.begin(), rig.At(late).given.end()),
            (std::set{stands, other}));
  EXPECT_EQ(rig.Reached(replaced), 8);
  EXPECT_EQ(rig.Reached(ended), 8);
  const auto next = rig.Publish(2, "next");
  rig.Run(3s);
  EXPECT_EQ(rig.Reached(next), 9);
}

TEST(FeedTest, ManyMessagesComeToTheLateInSeveralFrames) {
  FeedRig rig(3);
  rig.Run(1s);
  // Of two frames' size.
  for (int i = 0; i < 32; ++i) rig.Publish(0, std::string(500, 'x') + std::to_string(i));
  rig.Run(10s);
  const int late = rig.Add();
  rig.Run(10s);
  EXPECT_EQ(rig.At(late).given.size(), 32U);
  EXPECT_TRUE(std::ranges::is_sorted(rig.At(late).given));
}

TEST(FeedTest, AMemberThatDiesIsRoutedAround) {
  FeedRig rig(30, 4);
  rig.Run(5s);
  rig.Publish(0, "first");
  rig.Run(5s);
  for (int host = 20; host < 30; ++host) rig.At(host).up = false;
  const auto name = rig.Publish(0, "second");
  rig.Run(15s);
  EXPECT_EQ(rig.Reached(name), 20);
}

TEST(FeedTest, OneWhomAllRefuseDoesNotAskThemAgainAndAgain) {
  Feed feed({}, "open", KeyNo(1),
            {[](const PeerId&, std::string_view) -> Result<WallTime> { return TestWall() + kDay; },
             [] { return std::string(); }},
            Rng(1));
  Time now{1000s};
  const Time begun = now;
  std::size_t asked = 0;
  FeedActions actions;
  for (int i = 2; i < 302; ++i) feed.OnMember(now, HostNo(i), actions);
  for (; now < begun + 60s; now = std::max(now, feed.NextDeadline())) {
    feed.OnDeadline(now, TestWall(), actions);
    // Each says at once that it will not.
    while (!actions.sends.empty()) {
      const PeerId to = actions.sends.back().to;
      asked += actions.sends.back().frame.link ? 1U : 0U;
      actions.sends.pop_back();
      FeedFrame no;
      no.unlink = true;
      feed.OnFrame(now, TestWall(), to, no, actions);
    }
    feed.CheckInvariants();
  }
  // 16, 60, and one of every comparing.
  EXPECT_GE(asked, 60U);
  EXPECT_LE(asked, 16U + 60 + 4);
}

// Both ask at once, and one did not know the other yet: its no comes after its own asking.
TEST(FeedTest, ANoFromBeforeItsOwnAskingUndoesNoLink) {
  FeedRig rig(1);
  Feed& feed = *rig.At(0).feed;
  FeedActions actions;
  feed.OnMember(rig.now(), rig.IdOf(1), actions);
  ASSERT_EQ(actions.sends.size(), 1U);
  ASSERT_TRUE(actions.sends.front().frame.link);

  const auto say = [&](const FeedFrame& frame) {
    FeedActions back;
    feed.OnFrame(rig.now(), rig.Wall(), rig.IdOf(1), frame, back);
    return back.sends.empty() ? FeedFrame() : back.sends.front().frame;
  };
  FeedFrame asking;
  asking.link = asking.whole = true;
  EXPECT_TRUE(say(asking).link);
  EXPECT_EQ(feed.Links().size(), 1U);
  FeedFrame no;
  no.unlink = true;
  EXPECT_TRUE(say(no).empty());
  EXPECT_EQ(feed.Links().size(), 1U);
  // What it says after that is meant.
  say(no);
  EXPECT_TRUE(feed.Links().empty());
}

TEST(FeedTest, ANeighbourThatAsksAgainIsAnswered) {
  FeedRig rig(2);
  rig.Run(2s);
  ASSERT_EQ(rig.At(0).feed->Links().size(), 1U);
  FeedFrame asking;
  asking.link = asking.whole = true;
  FeedActions actions;
  rig.At(0).feed->OnFrame(rig.now(), rig.Wall(), rig.IdOf(1), asking, actions);
  ASSERT_EQ(actions.sends.size(), 1U);
  EXPECT_TRUE(actions.sends.front().frame.link);
}

// --- what is refused ---

struct Forger {
  FeedRig rig{3};
  FeedWord word;
  Forger() {
    rig.Run(2s);
    word.room = "open";
    word.sequence = *NextFeedNumber(rig.Wall(), 0);
    word.written = rig.Wall();
    word.expires = rig.Wall() + 1h;
    word.kind = "test";
    word.topic = "t";
    word.body = "{}";
  }
  [[nodiscard]] std::string Text() const { return FeedMessage::Sign(word, KeyNo(2), "")->text(); }
  // Host 1 sends it to host 0. Returns whether it was given.
  bool Give(const std::string& text) {
    FeedFrame frame;
    frame.link = frame.push = true;
    frame.messages = {text};
    const auto before = rig.At(0).given.size();
    rig.Frame(0, 1, frame);
    return rig.At(0).given.size() > before;
  }
  [[nodiscard]] bool IsLinked() { return std::ranges::count(rig.At(0).feed->Links(), rig.IdOf(1)); }
};

TEST(FeedTest, AGoodMessageIsTakenAndASecondTimeDropped) {
  Forger forger;
  EXPECT_TRUE(forger.Give(forger.Text()));
  EXPECT_FALSE(forger.Give(forger.Text()));
  EXPECT_TRUE(forger.IsLinked());
  EXPECT_EQ(forger.rig.At(0).feed->counts().refused, 0);
}

TEST(FeedTest, AForgedMessageCostsItsSenderTheLink) {
  Forger forger;
  std::string text = forger.Text();
  FeedWord other = forger.word;
  other.topic = "u";
  const std::string good = FeedMessage::Sign(other, KeyNo(2), "")->text();
  // The signature of one under the payload of another.
  const auto cut = [](const std::string& t) { return t.find("\"signature\""); };
  text = text.substr(0, cut(text)) + good.substr(cut(good));
  EXPECT_FALSE(forger.Give(text));
  EXPECT_FALSE(forger.IsLinked());
  // What it says next is not even looked at; the same from another is taken.
  EXPECT_FALSE(forger.Give(good));
  FeedFrame frame;
  frame.messages = {good};
  forger.rig.Frame(0, 2, frame);
  EXPECT_EQ(forger.rig.At(0).topics, std::vector<std::string>{"u"});
}

TEST(FeedTest, ForeignRoomsAreRefused) {
  Forger forger;
  forger.word.room = RoomIdOf(RoomNo(1).public_key()).Hex();
  EXPECT_FALSE(forger.Give(forger.Text()));
  EXPECT_FALSE(forger.IsLinked());
}

TEST(FeedTest, ExpiredAndEarlyOnesAreRefusedWithoutBlame) {
  Forger forger;
  forger.word.written = forger.rig.Wall() - 2h;
  forger.word.expires = forger.rig.Wall() - 1s;
  EXPECT_FALSE(forger.Give(forger.Text()));
  forger.word.written = forger.rig.Wall() + 11min;
  forger.word.sequence = *NextFeedNumber(forger.word.written, 0);
  forger.word.expires = forger.rig.Wall() + 1h;
  EXPECT_FALSE(forger.Give(forger.Text()));
  EXPECT_TRUE(forger.IsLinked());
  EXPECT_EQ(forger.rig.At(0).feed->counts().refused, 2);
}

TEST(FeedTest, OversizedOnesAreRefused) {
  Forger forger;
  std::string text = forger.Text();
  text.insert(1, std::string(kFeedMessageBytesMax, ' '));
  FeedFrame frame;
  frame.messages = {text};
  EXPECT_FALSE(DecodeFeedFrame(EncodeFeedFrame(frame)));
  EXPECT_FALSE(forger.Give(text));
  EXPECT_FALSE(forger.IsLinked());
  forger.word.body = "{\"a\":\"" + std::string(kFeedBodyBytesMax, 'x') + "\"}";
  EXPECT_FALSE(FeedMessage::Sign(forger.word, KeyNo(2), ""));
}

TEST(FeedTest, ARevokedWriterIsRefusedAndWhatItSaidIsGone) {
  FeedRig rig(6);
  rig.Run(2s);
  const auto name = rig.Publish(2, "a");
  rig.Run(2s);
  EXPECT_EQ(rig.Reached(name), 6);
  rig.Revoke(2);
  for (int host = 0; host < 6; ++host) EXPECT_EQ(rig.At(host).feed->log().size(), 0U);
  const int late = rig.Add();
  FeedActions actions;
  EXPECT_FALSE(rig.At(2).feed->Publish(rig.now(), rig.Wall(), "test", "b", "{}", 1h, actions));
  rig.Run(30s);
  EXPECT_TRUE(rig.At(late).given.empty());
}

TEST(FeedTest, ALongerLifeThanAWeekIsNotSigned) {
  FeedRig rig(1);
  FeedActions actions;
  const auto refused =
      rig.At(0).feed->Publish(rig.now(), rig.Wall(), "test", "b", "{}", 170h, actions);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalid);
}

TEST(FeedTest, WhatEndedIsForgottenAndDoesNotComeBack) {
  FeedRig rig(4);
  rig.Run(2s);
  rig.Publish(0, "image", 1h);
  const std::string replaced = rig.At(0).feed->log().All().front()->text();
  rig.Run(1s);
  rig.Publish(0, "image", 10s);
  rig.Run(60s);
  EXPECT_EQ(rig.At(1).feed->log().size(), 0U);
  // Its own end is far, but it was replaced.
  FeedFrame frame;
  frame.messages = {replaced};
  rig.Frame(1, 2, frame);
  EXPECT_EQ(rig.At(1).given.size(), 2U);
  rig.Run(2h);
  EXPECT_EQ(rig.At(1).feed->log().writers(), 0U);
}

// --- a restart ---

TEST(FeedTest, WhatWasKeptIsCheckedAgainAtAStart) {
  FeedRig rig(3);
  rig.Run(1s);
  const auto first = rig.Publish(0, "a");
  const auto second = rig.Publish(0, "b");
  rig.Publish(1, "c");
  rig.Run(1s);
  std::vector<std::string> texts;
  for (const auto& message : rig.At(2).feed->log().All()) texts.push_back(message->text());
  ASSERT_EQ(texts.size(), 3U);
  std::ranges::reverse(texts);
  Feed again({}, "open", KeyNo(3),
             {[](const PeerId& writer, std::string_view) -> Result<WallTime> {
                if (writer == FeedRig::IdOf(1)) return Error{Code::kDenied, "it is revoked"};
                return TestWall() + kDay;
              },
              [] { return std::string(); }},
             Rng(1));
  FeedActions actions;
  texts.emplace_back("nonsense");
  again.Load(rig.now(), rig.Wall(), texts, actions);
  ASSERT_EQ(actions.changes.given.size(), 2U);
  EXPECT_EQ(actions.changes.given[0]->name(), first);
  EXPECT_EQ(actions.changes.given[1]->name(), second);
  EXPECT_EQ(actions.changes.dropped.size(), 1U);
  EXPECT_TRUE(actions.sends.empty());
}

// --- bounds ---

TEST(FeedTest, MemoryIsBoundWhateverIsNamed) {
  FeedRig rig(3);
  rig.Run(1s);
  for (int round = 0; round < 20; ++round) {
    FeedFrame frame;
    frame.link = true;
    for (int i = 0; i < 250; ++i) {
      frame.have.push_back({KeyNo(1000 + round * 250 + i).id(), 7});
    }
    rig.Frame(0, 1, frame);
    rig.At(0).feed->CheckInvariants();
  }
  rig.Run(60s);
}

TEST(FeedTest, TooManyWritersAreRefusedUntilOthersHaveEnded) {
  FeedLimits limits;
  limits.log.writers = 4;
  FeedRig rig(7, 1, limits);
  rig.Run(1s);
  for (int host = 0; host < 4; ++host) rig.Publish(host, "t", 10s);
  rig.Run(2s);
  FeedActions actions;
  auto refused = rig.At(5).feed->Publish(rig.now(), rig.Wall(), "test", "t", "{}", 1h, actions);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  rig.Run(11min);
  const auto name = rig.Publish(5, "t");
  rig.Run(5s);
  EXPECT_EQ(rig.Reached(name), 7);
}

TEST(FeedTest, MutatedFramesAndMessagesDoNoHarm) {
  FeedRig rig(3);
  rig.Run(1s);
  rig.Publish(1, "a");
  rig.Run(1s);
  FeedFrame frame;
  frame.link = frame.push = frame.whole = true;
  frame.have = {{rig.IdOf(1), 9}};
  frame.want = {{rig.IdOf(2), 0}};
  frame.messages = {rig.At(1).feed->log().All().front()->text()};
  const std::string text = EncodeFeedFrame(frame);
  Rng rng(7);
  for (int i = 0; i < 2000; ++i) {
    auto read = DecodeFeedFrame(Mutate(text, rng));
    if (!read) continue;
    FeedActions actions;
    rig.At(0).feed->OnFrame(rig.now(), rig.Wall(), rig.IdOf(2), *read, actions);
    rig.At(0).feed->CheckInvariants();
  }
  for (int i = 0; i < 2000; ++i) {
    auto read = FeedMessage::Read(Mutate(frame.messages[0], rng));
    if (read) {
      EXPECT_TRUE(read->text() == frame.messages[0] || !read->IsSigned() ||
                  read->word().topic == "a");
    }
  }
  EXPECT_EQ(rig.At(0).given.size(), 1U);
}

}  // namespace
}  // namespace shoal::index
