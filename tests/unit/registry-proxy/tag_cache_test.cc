#include "registry-proxy/tag_cache.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

using std::chrono::seconds;

WallTime At(int second) { return WallTime(seconds(second)); }

TagEntry Entry(const std::string& name, int checked_at, int digest = 0) {
  TagEntry entry{name, {}, "application/vnd.oci.image.index.v1+json", Bytes(10), At(checked_at)};
  entry.digest.bytes[0] = static_cast<std::byte>(digest);
  return entry;
}

TEST(TagCacheTest, IsFreshForItsTtlAndStaleAfter) {
  TagCache cache;
  cache.Put(Entry("a:1", 100));
  EXPECT_FALSE(cache.Find(At(100), seconds(60), "a:2"));
  EXPECT_TRUE(cache.Find(At(100), seconds(60), "a:1")->fresh);
  EXPECT_TRUE(cache.Find(At(159), seconds(60), "a:1")->fresh);
  EXPECT_FALSE(cache.Find(At(160), seconds(60), "a:1")->fresh);
  EXPECT_FALSE(cache.Find(At(99), seconds(60), "a:1")->fresh) << "the clock was set back";
  EXPECT_FALSE(cache.Find(At(100), seconds(0), "a:1")->fresh);
}

TEST(TagCacheTest, ALaterAnswerReplacesAnEarlierOne) {
  TagCache cache;
  cache.Put(Entry("a:1", 100, 1));
  cache.Put(Entry("a:1", 200, 2));
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_EQ(cache.Find(At(200), seconds(60), "a:1")->entry, Entry("a:1", 200, 2));
  cache.Forget("a:1");
  cache.Forget("a:1");
  EXPECT_FALSE(cache.Find(At(200), seconds(60), "a:1"));
}

TEST(TagCacheTest, DropsWhatWasNotUsedForTheLongest) {
  TagCache cache(2);
  cache.Put(Entry("a", 1));
  cache.Put(Entry("b", 1));
  cache.Find(At(1), seconds(60), "a");
  cache.Put(Entry("c", 1));
  EXPECT_TRUE(cache.Find(At(1), seconds(60), "a"));
  EXPECT_FALSE(cache.Find(At(1), seconds(60), "b"));
  EXPECT_TRUE(cache.Find(At(1), seconds(60), "c"));
}

TEST(TagCacheTest, ComesBackFromItsExport) {
  TagCache cache(3);
  for (const auto* name : {"a", "b", "c"}) cache.Put(Entry(name, 5));
  TagCache other(2);
  other.Import(cache.Export());
  EXPECT_FALSE(other.Find(At(5), seconds(60), "a")) << "the least recently used does not fit";
  EXPECT_TRUE(other.Find(At(5), seconds(60), "c")->fresh);
}

TEST(TagCacheTest, AgreesWithANaiveTwin) {
  Rng rng(5);
  TagCache cache(8);
  std::vector<TagEntry> naive;  // the last used first
  for (int i = 0; i < Rounds(20'000); ++i) {
    const std::string name = "n" + std::to_string(rng.Below(16));
    const auto it =
        std::find_if(naive.begin(), naive.end(), [&](const TagEntry& e) { return e.name == name; });
    const auto what = rng.Below(8);
    if (what == 0) {
      cache.Forget(name);
      if (it != naive.end()) naive.erase(it);
    } else if (what < 4) {
      const auto entry = Entry(name, i, i % 256);
      if (it != naive.end()) naive.erase(it);
      naive.insert(naive.begin(), entry);
      if (naive.size() > 8) naive.pop_back();
      cache.Put(entry);
    } else {
      const auto hit = cache.Find(At(i), seconds(60), name);
      ASSERT_EQ(hit.has_value(), it != naive.end());
      if (it != naive.end()) {
        const auto entry = *it;
        ASSERT_EQ(hit->entry, entry);
        naive.erase(it);
        naive.insert(naive.begin(), entry);
      }
    }
    cache.CheckInvariants();
    ASSERT_EQ(cache.Export(), naive);
  }
}

}  // namespace
}  // namespace shoal::proxy
