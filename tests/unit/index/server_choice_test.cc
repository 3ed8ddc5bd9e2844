#include "index/server_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::vector<std::string> kServers{"https://a:7383", "https://b:7383", "https://c:7383"};
std::string BlobKey(int n) { return "blob/sha256:" + std::to_string(n); }
Time At(Duration since) { return Time(seconds(1000)) + since; }

class ServerChoiceTest : public testing::Test {
 protected:
  ServerChoice choice_{kServers, {}, Rng(7)};
};

TEST_F(ServerChoiceTest, AllAgentsChooseTheSameServerWhateverTheirListsOrder) {
  const std::vector<std::string> other{kServers[2], kServers[0], kServers[1]};
  const ServerChoice elsewhere(other, {}, Rng(8));
  for (int n = 0; n < 1000; ++n) {
    EXPECT_EQ(kServers[*choice_.Of(BlobKey(n))], other[*elsewhere.Of(BlobKey(n))]);
  }
}

TEST_F(ServerChoiceTest, SpreadsKeysEvenlyAndMovesOnlyThoseOfTheServerThatFailed) {
  std::map<std::size_t, int> counts;
  std::vector<std::size_t> before;
  for (int n = 0; n < 9000; ++n) {
    before.push_back(*choice_.Of(BlobKey(n)));
    ++counts[before.back()];
    EXPECT_EQ(choice_.OrderOf(BlobKey(n))[0], before.back());
  }
  for (const auto& [server, count] : counts) EXPECT_NEAR(count, 3000, 200) << server;
  EXPECT_TRUE(choice_.OnFailed(At(seconds(0)), 1));
  std::map<std::size_t, int> moved;
  for (int n = 0; n < 9000; ++n) {
    const auto now = *choice_.Of(BlobKey(n));
    if (before[static_cast<std::size_t>(n)] != 1) {
      EXPECT_EQ(now, before[static_cast<std::size_t>(n)]);
    } else {
      EXPECT_EQ(now, choice_.OrderOf(BlobKey(n))[1]);
      ++moved[now];
    }
  }
  EXPECT_NEAR(moved[0], moved[2], 300);
}

TEST_F(ServerChoiceTest, HasNoServerWhenAllFailedAndTheFirstThatAnswersAtOnce) {
  for (const std::size_t server : {0, 1, 2}) choice_.OnFailed(At(seconds(0)), server);
  EXPECT_FALSE(choice_.Of("room/open"));
  EXPECT_TRUE(choice_.OnAnswered(At(seconds(1)), 2));
  EXPECT_EQ(choice_.Of("room/open"), 2U);
  choice_.CheckInvariants();
}

TEST_F(ServerChoiceTest, AsksOneThatIsAwayEverMoreSeldom) {
  choice_.OnFailed(At(seconds(0)), 0);
  Time now = At(seconds(0));
  for (const int wait : {1, 2, 4, 8, 15, 15}) {
    const Time next = choice_.NextDeadline();
    EXPECT_GE(next - now, seconds(wait) / 2);
    EXPECT_LE(next - now, seconds(wait));
    EXPECT_TRUE(choice_.OnDeadline(next - Duration(1)).to_ask.empty());
    EXPECT_THAT(choice_.OnDeadline(next).to_ask, testing::ElementsAre(0));
    EXPECT_EQ(choice_.NextDeadline(), kNever);  // until it is known what came of it
    now = next + milliseconds(100);
    EXPECT_FALSE(choice_.OnFailed(now, 0));
    choice_.CheckInvariants();
  }
}

TEST_F(ServerChoiceTest, AgentsComeBackToAServerOneAfterTheOther) {
  std::set<Duration> waits;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    ServerChoice agent(kServers, {}, Rng(seed));
    agent.OnFailed(At(seconds(0)), 0);
    EXPECT_FALSE(agent.OnAnswered(At(seconds(1)), 0));
    EXPECT_FALSE(agent.InUse(0));
    const Time back = agent.NextDeadline();
    EXPECT_LE(back, At(seconds(4)));
    waits.insert(back - At(seconds(1)));
    EXPECT_TRUE(agent.OnDeadline(back).changed);
    EXPECT_TRUE(agent.InUse(0));
    EXPECT_EQ(agent.NextDeadline(), kNever);
  }
  EXPECT_GT(waits.size(), 190U);
  EXPECT_LT(*waits.begin(), milliseconds(200));
  EXPECT_GT(*waits.rbegin(), milliseconds(2800));
}

TEST_F(ServerChoiceTest, UsesOneThatIsComingBackAtOnceWhenTheLastFails) {
  choice_.OnFailed(At(seconds(0)), 0);
  choice_.OnFailed(At(seconds(0)), 1);
  choice_.OnAnswered(At(seconds(1)), 0);
  EXPECT_TRUE(choice_.OnFailed(At(seconds(1)), 2));
  EXPECT_EQ(choice_.Of("room/open"), 0U);
  choice_.CheckInvariants();
}

TEST_F(ServerChoiceTest, OneThatAnswersButDoesNotWorkIsLeftAloneForLonger) {
  Time now = At(seconds(0));
  Duration wait{};
  for (int i = 0; i < 5; ++i) {
    choice_.OnFailed(now, 0);
    wait = choice_.NextDeadline() - now;
    now = choice_.NextDeadline();
    choice_.OnDeadline(now);
    choice_.OnAnswered(now, 0);
    now = choice_.NextDeadline();
    choice_.OnDeadline(now);
    ASSERT_TRUE(choice_.InUse(0));
  }
  EXPECT_GE(wait, seconds(7));
  choice_.OnFailed(now + seconds(31), 0);  // it had worked for long enough
  EXPECT_LE(choice_.NextDeadline() - now - seconds(31), seconds(1));
}

TEST_F(ServerChoiceTest, KeepsItsInvariantsWhateverHappens) {
  Rng rng(3);
  Time now = At(seconds(0));
  for (int step = 0; step < 20'000; ++step) {
    const auto server = static_cast<std::size_t>(rng.Below(3));
    switch (rng.Below(4)) {
      case 0:
        choice_.OnFailed(now, server);
        break;
      case 1:
        choice_.OnAnswered(now, server);
        break;
      default:
        now += milliseconds(static_cast<std::int64_t>(rng.Below(1500)));
        choice_.OnDeadline(now);
        EXPECT_GT(choice_.NextDeadline(), now);
    }
    choice_.CheckInvariants();
    const auto of = choice_.Of(BlobKey(step));
    for (const auto first : choice_.OrderOf(BlobKey(step))) {
      if (!choice_.InUse(first)) continue;
      EXPECT_EQ(of, first);
      break;
    }
  }
}

}  // namespace
}  // namespace shoal::index
