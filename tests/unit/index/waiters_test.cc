#include "index/waiters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::IsEmpty;

class WaitersTest : public testing::Test {
 protected:
  ~WaitersTest() override { waiters_.CheckInvariants(); }

  bool Wait(int n, const std::string& name, int wait_ms = 1000) {
    DiscoverQuery query;
    query.name = name;
    query.wait_ms = wait_ms;
    return waiters_.Add(now_, query, [this, n](const DiscoverQuery&) { told_.push_back(n); });
  }
  void Pass(Duration time) {
    now_ += time;
    waiters_.OnDeadline(now_);
    waiters_.CheckInvariants();
  }

  Time now_{std::chrono::seconds(10)};
  std::vector<int> told_;
  Waiters waiters_{
      {.waiters_max = 4, .pause = milliseconds(10), .pause_per_waiter = milliseconds(1)}};
};

TEST_F(WaitersTest, AreToldOfNewsOfTheirNamespaceAfterAPause) {
  Wait(1, "a");
  Wait(2, "a");
  Wait(3, "b");
  waiters_.OnNews(now_, "a");
  waiters_.OnNews(now_, "c");
  EXPECT_EQ(waiters_.NextDeadline(), now_ + milliseconds(12));  // two wait
  Pass(milliseconds(11));
  EXPECT_THAT(told_, IsEmpty());
  waiters_.OnNews(now_, "a");  // puts nothing off
  Pass(milliseconds(1));
  EXPECT_THAT(told_, ElementsAre(1, 2));
  EXPECT_EQ(waiters_.size(), 1U);
}

TEST_F(WaitersTest, AreToldWhenTheirTimeIsOver) {
  Wait(1, "a", 500);
  Wait(2, "a", 200);
  Pass(milliseconds(200));
  EXPECT_THAT(told_, ElementsAre(2));
  waiters_.OnNews(now_, "a");
  Pass(milliseconds(300));
  EXPECT_THAT(told_, ElementsAre(2, 1));
  EXPECT_EQ(waiters_.size(), 0U);
  Pass(milliseconds(300));
  EXPECT_EQ(waiters_.NextDeadline(), kNever);
}

TEST_F(WaitersTest, MayWaitAgainWhenTheyAreTold) {
  DiscoverQuery query;
  query.name = "a";
  query.wait_ms = 1000;
  int told = 0;
  std::function<void(const DiscoverQuery&)> again = [&](const DiscoverQuery&) {
    ++told;
    waiters_.Add(now_, query, again);
    waiters_.OnNews(now_, "a");
  };
  waiters_.Add(now_, query, again);
  waiters_.OnNews(now_, "a");
  Pass(milliseconds(11));
  EXPECT_EQ(told, 1);
  Pass(milliseconds(11));
  EXPECT_EQ(told, 2);
}

TEST_F(WaitersTest, AreNoMoreThanTheirLimit) {
  for (int n = 0; n < 4; ++n) EXPECT_TRUE(Wait(n, std::to_string(n)));
  EXPECT_FALSE(Wait(5, "a"));
  Pass(milliseconds(1000));
  EXPECT_TRUE(Wait(6, "a"));
}

TEST(QueryTest, ReadsWhatWasEscaped) {
  const std::string name = "room/a b&c=d%\x7f~";
  const auto query = ParseDiscover("/v1/discover?namespace=" + EscapeQuery(name) +
                                   "&limit=7&cookie=x-_y&wait_ms=90000&more");
  ASSERT_TRUE(query.ok()) << query.error().text;
  EXPECT_EQ(query->name, name);
  EXPECT_EQ(query->limit, 7);
  EXPECT_EQ(query->cookie, "x-_y");
  EXPECT_EQ(query->wait_ms, kDiscoverWaitMsMax);
  EXPECT_EQ(PathOf("/v1/discover?x=1"), "/v1/discover");
  const auto none = ParseDiscover("/v1/discover");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->name, "");
  EXPECT_EQ(none->limit, 100);
}

TEST(QueryTest, RefusesWhatIsNoQuery) {
  for (const std::string query :
       {"?namespace=%", "?namespace=%4", "?namespace=%zz", "?limit=0", "?limit=-1", "?limit=x",
        "?limit=1x", "?wait_ms=-1", "?limit=99999999999999999999"}) {
    EXPECT_FALSE(ParseDiscover("/v1/discover" + query).ok()) << query;
  }
}

}  // namespace
}  // namespace shoal::index
