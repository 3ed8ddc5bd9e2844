#include "index/feed_pace.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/index/feed_messages.h"
#include "tests/unit/index/feed_rig.h"

namespace shoal::index {
namespace {

// What a writer says that goes by no rule of its own.
class Flooder {
 public:
  SharedFeedMessage Say(std::uint64_t sequence, std::uint64_t previous, WallTime written) {
    return SignedMessage(KeyNo(99), sequence, previous, written, kFeedLifeMax,
                         "t" + std::to_string(++said_));
  }
  // `count` messages with the numbers of `ago` and after, each as if written in its time.
  std::vector<SharedFeedMessage> DateBack(WallTime wall, Duration ago, int count) {
    std::vector<SharedFeedMessage> messages;
    std::uint64_t previous = 0;
    WallTime written = wall - ago;
    for (int i = 0; i < count; ++i, written += kFeedStretch) {
      const std::uint64_t sequence = *NextFeedNumber(written, 0);
      messages.push_back(Say(sequence, previous, written));
      previous = sequence;
    }
    return messages;
  }

 private:
  int said_ = 0;
};

FeedFrame Push(const std::vector<SharedFeedMessage>& messages) {
  FeedFrame frame;
  frame.link = frame.push = true;
  for (const auto& message : messages) frame.messages.push_back(message->text());
  return frame;
}

// --- numbers ---

TEST(FeedPaceTest, ABurstAndThenOneInEveryStretch) {
  WallTime wall = TestWall();
  std::uint64_t head = 0;
  std::vector<std::uint64_t> numbers;
  for (int i = 0; i < kFeedBurst; ++i) {
    const auto next = NextFeedNumber(wall, head);
    ASSERT_TRUE(next);
    EXPECT_GT(*next, head);
    EXPECT_TRUE(IsFeedNumber(*next, wall));
    head = *next;
  }
  for (int i = 0; i < 20; ++i) {
    const auto refused = NextFeedNumber(wall, head);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kRetryLater);
    ASSERT_GT(refused.error().retry_after, Duration(0));
    ASSERT_LE(refused.error().retry_after, kFeedStretch);
    EXPECT_FALSE(NextFeedNumber(wall + refused.error().retry_after - Duration(1), head));
    wall += refused.error().retry_after;
    const auto next = NextFeedNumber(wall, head);
    ASSERT_TRUE(next);
    EXPECT_TRUE(IsFeedNumber(*next, wall));
    head = *next;
  }
}

TEST(FeedPaceTest, SilenceGivesNoMoreThanOneBurst) {
  std::uint64_t head = *NextFeedNumber(TestWall(), 0);
  const WallTime later = TestWall() + 24h;
  int said = 0;
  for (auto next = NextFeedNumber(later, head); next; next = NextFeedNumber(later, head)) {
    head = *next;
    ++said;
  }
  EXPECT_EQ(said, kFeedBurst);
}

TEST(FeedPaceTest, AClockPutBackSaysForHowLong) {
  const std::uint64_t head = *NextFeedNumber(TestWall(), 0);
  const auto refused = NextFeedNumber(TestWall() - 1h, head);
  ASSERT_FALSE(refused);
  EXPECT_GT(refused.error().retry_after, 57min);
  EXPECT_NE(refused.error().text.find("try again in 3"), std::string::npos);
}

TEST(FeedPaceTest, OnlyNumbersOfTheTimeOfWritingAreRight) {
  const std::uint64_t number = *NextFeedNumber(TestWall(), 0);
  const WallTime start{Duration(static_cast<std::int64_t>(number))};
  EXPECT_TRUE(IsFeedNumber(number, start));
  EXPECT_TRUE(IsFeedNumber(number, start + kFeedStretch - Duration(1)));
  EXPECT_FALSE(IsFeedNumber(number, start + kFeedStretch));
  EXPECT_TRUE(IsFeedNumber(number, start - kFeedAhead));
  EXPECT_FALSE(IsFeedNumber(number, start - kFeedAhead - Duration(1)));
  EXPECT_FALSE(IsFeedNumber(number + 1, start));
  EXPECT_FALSE(IsFeedNumber(std::uint64_t{1} << 53, WallTime{}));
}

TEST(FeedPaceTest, AMemberTakesSoManyAndThenOneInEveryStretch) {
  FeedPace pace;
  Time now{1000s};
  for (int i = 0; i < 96; ++i) {
    ASSERT_LE(pace.NextAt(), now) << i;
    pace.Take(now, 96, kFeedStretch);
  }
  EXPECT_EQ(pace.NextAt(), now + kFeedStretch);
  now += kFeedStretch;
  pace.Take(now, 96, kFeedStretch);
  EXPECT_EQ(pace.NextAt(), now + kFeedStretch);
  now += 1h;
  int taken = 0;
  for (; pace.NextAt() <= now; ++taken) pace.Take(now, 96, kFeedStretch);
  EXPECT_EQ(taken, 96);
}

// --- in a room ---

TEST(FeedPaceTest, AWriterIsToldAndTheRoomHasWhatItMayHave) {
  FeedRig rig(8);
  rig.Run(2s);
  std::vector<FeedName> names;
  for (int i = 0; i < kFeedBurst; ++i) names.push_back(rig.Publish(3, std::to_string(i)));
  FeedActions actions;
  const auto refused =
      rig.At(3).feed->Publish(rig.now(), rig.Wall(), "test", "more", "{}", 1h, actions);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kRetryLater);
  EXPECT_TRUE(actions.sends.empty() && actions.changes.given.empty());
  rig.Run(refused.error().retry_after + 1s);
  names.push_back(rig.Publish(3, "more"));
  rig.Run(5s);
  for (const auto& name : names) EXPECT_EQ(rig.Reached(name), 8);
  // Another's word does not wait for it.
  const auto other = rig.Publish(4, "other");
  rig.Run(2s);
  EXPECT_EQ(rig.Reached(other), 8);
}

TEST(FeedPaceTest, AWriterWhoseClockJumpsIsToldToo) {
  FeedRig rig(2);
  rig.Run(2s);
  WallTime wall = rig.Wall();
  Code code = Code::kInvalid;
  for (int jump = 0; jump < 10 && code != Code::kRetryLater; ++jump, wall += 160s) {
    for (int i = 0; i < kFeedBurst; ++i) {
      FeedActions actions;
      const auto said = rig.At(0).feed->Publish(rig.now(), wall, "test", "t", "{}", 1h, actions);
      if (said) continue;
      code = said.error().code;
      EXPECT_EQ(said.error().retry_after, kFeedStretch);
      break;
    }
  }
  EXPECT_EQ(code, Code::kRetryLater);
}

TEST(FeedPaceTest, AFloodWithoutNumbersIsNotPassedOn) {
  FeedRig rig(12);
  rig.Run(5s);
  Flooder flooder;
  const auto copies = rig.Copies();
  for (std::uint64_t i = 1; i <= 50; ++i) {
    const auto clock = static_cast<std::uint64_t>(rig.Wall().time_since_epoch().count());
    rig.Frame(0, 1, Push({flooder.Say(clock + i, 0, rig.Wall())}));
    rig.Frame(2, 1,
              Push({flooder.Say(*NextFeedNumber(rig.Wall(), 0) + 160'000'000 * i, 0, rig.Wall())}));
  }
  // Whoever sent it is no neighbour now, and what it says next is not even looked at.
  EXPECT_EQ(std::ranges::count(rig.At(0).feed->Links(), FeedRig::IdOf(1)), 0);
  rig.Run(60s);
  EXPECT_EQ(rig.Copies() - copies, 2);
  for (int host = 0; host < 12; ++host) EXPECT_TRUE(rig.At(host).given.empty());
}

TEST(FeedPaceTest, NumbersSavedUpComeOneByOneAndEveryMemberEndsWithTheSame) {
  FeedRig rig(6, 3);
  rig.Run(5s);
  Flooder flooder;
  const auto flood = flooder.DateBack(rig.Wall(), 1h, 120);
  const auto offer = [&](int to, int from) {
    for (std::size_t i = 0; i < flood.size(); i += 20) {
      const auto first = flood.begin() + static_cast<std::ptrdiff_t>(i);
      rig.Frame(to, from, Push({first, first + 20}));
    }
  };
  for (int host = 0; host < 6; ++host) offer(host, (host + 1) % 6);
  const auto other = rig.Publish(4, "other");
  rig.Run(5s);
  EXPECT_EQ(rig.Reached(other), 6);
  for (int host = 0; host < 6; ++host) EXPECT_LE(rig.At(host).given.size(), 1U + 96 + 1);
  // All of it is offered again and again, now to this one, now to that one.
  Rng rng(5);
  std::size_t slack = 1;
  for (Duration passed = 5s; passed < 4min; passed += 20s) {
    offer(static_cast<int>(rng.Below(6)), static_cast<int>(rng.Below(6)));
    rig.Run(20s);
    slack += 4;
    for (int host = 0; host < 6; ++host) {
      EXPECT_LE(rig.At(host).given.size(), std::min<std::size_t>(1 + 96 + 1 + slack, 121));
    }
  }
  for (int host = 0; host < 6; ++host) {
    const auto standing = rig.At(host).feed->log().After({flood.front()->writer(), 0});
    ASSERT_EQ(standing.size(), 64U) << host;
    EXPECT_EQ(standing.front()->name(), flood[56]->name()) << host;
    EXPECT_EQ(rig.At(host).given.size(), 121U);
  }
  // Nobody asks for more when there is no more.
  const auto before = rig.Copies();
  rig.Run(1min);
  EXPECT_EQ(rig.Copies(), before);
}

TEST(FeedPaceTest, AnyOrderOfArrivalKeepsTheSame) {
  Flooder flooder;
  Rng rng(11);
  const WallTime wall = TestWall();
  std::vector<SharedFeedMessage> good;
  std::vector<SharedFeedMessage> all;
  std::uint64_t head = 0;
  for (int i = 0; i < 14; ++i) {
    const std::uint64_t next = *NextFeedNumber(wall, head);
    good.push_back(flooder.Say(next, head, wall));
    head = next;
    all.push_back(good.back());
    // As many that have no number of theirs, or another's time.
    all.push_back(flooder.Say(next + 1 + rng.Below(4'999'998), 0, wall));
    all.push_back(flooder.Say(head + 160'000'000, 0, wall));
    all.push_back(flooder.Say(next, 0, wall - kFeedAhead - kFeedStretch * 32));
  }
  for (int run = 0; run < 40; ++run) {
    std::shuffle(all.begin(), all.end(), rng);
    Feed feed({}, "open", KeyNo(1),
              {[&](const PeerId&, std::string_view) -> Result<WallTime> { return wall + kDay; },
               [] { return std::string(); }},
              Rng(1));
    const Time now{1000s};
    int from = 10;
    for (const auto& message : all) {
      FeedActions actions;
      // Each from another: whoever passes on what is wrong is not listened to any more.
      feed.OnFrame(now, wall, KeyNo(++from).id(), Push({message}), actions);
    }
    const auto kept = feed.log().All();
    ASSERT_EQ(kept.size(), good.size()) << run;
    for (std::size_t i = 0; i < good.size(); ++i) EXPECT_EQ(kept[i]->name(), good[i]->name());
    feed.CheckInvariants();
  }
}

}  // namespace
}  // namespace shoal::index
