#include "index/static/static_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/unit/index/adapters/live_records.h"
#include "tests/unit/index/adapters/test_loop.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;

TEST(StaticIndexTest, ReportsEachEndpointUntilSomethingWasLearntThere) {
  TestLoop loop;
  IoThread io;
  const Endpoint a{"10.0.0.1", 7381};
  const Endpoint b{"10.0.0.2", 7381};
  std::map<Endpoint, int> seen;
  StaticIndex index({{a, b}, milliseconds(2)}, io, loop, [&](const Endpoint& e) { ++seen[e]; });
  EXPECT_FALSE(index.status().ok);
  ASSERT_TRUE(loop.RunUntil([&] { return seen[a] >= 2 && seen[b] >= 2; }));
  index.Learnt(a, LiveRecord(KeyNo(1)));
  index.Learnt({"elsewhere", 1}, LiveRecord(KeyNo(1)));
  const int then = seen[a];
  const int goal = seen[b] + 3;
  ASSERT_TRUE(loop.RunUntil([&] { return seen[b] >= goal; }));
  EXPECT_EQ(seen[a], then);
  EXPECT_TRUE(index.status().ok);
  EXPECT_THAT(index.status().text, testing::HasSubstr("1 of 2"));
  EXPECT_EQ(index.status().target, "10.0.0.1:7381, 10.0.0.2:7381");
}

TEST(StaticIndexTest, AsksAgainInTimeToRenewTheRecord) {
  TestLoop loop;
  IoThread io;
  int seen = 0;
  const Endpoint a{"10.0.0.1", 7381};
  StaticIndex index({{a}, milliseconds(2)}, io, loop, [&](const Endpoint&) { ++seen; });
  ASSERT_TRUE(loop.RunUntil([&] { return seen > 0; }));
  const auto record = LiveRecord(KeyNo(1), 1, milliseconds(400));
  index.Learnt(a, record);
  seen = 0;
  ASSERT_TRUE(loop.RunUntil([&] { return seen > 0; }));
  EXPECT_LT(WallNow(), record.record().expires);
}

TEST(StaticIndexTest, ResolvesNothingAtOnceAndIsSilentAfterItsEnd) {
  TestLoop loop;
  IoThread io;
  int seen = 0;
  bool resolved = false;
  {
    StaticIndex index({{{"a", 1}}, milliseconds(1)}, io, loop, [&](const Endpoint&) { ++seen; });
    index.Resolve("blob/x", std::chrono::seconds(1), [&](const std::vector<SignedRecord>& found) {
      EXPECT_TRUE(found.empty());
      resolved = true;
    });
  }
  ASSERT_TRUE(loop.RunUntil([&] { return resolved; }));
  EXPECT_EQ(seen, 0);
}

}  // namespace
}  // namespace shoal::index
