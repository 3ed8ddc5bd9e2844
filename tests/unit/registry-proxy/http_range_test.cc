#include "registry-proxy/http_range.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

// "whole", "none", or ranges as "0-10,20-30" with exclusive ends.
std::string Show(const std::string& header, std::int64_t size) {
  const auto answer = ParseRange(header, Bytes(size));
  if (answer.kind == RangeKind::kWhole) return "whole";
  if (answer.kind == RangeKind::kUnsatisfiable) return "none";
  std::string text;
  for (const auto& range : answer.ranges) {
    if (!text.empty()) text += ",";
    text += std::to_string(range.begin.count()) + "-" + std::to_string(range.end.count());
  }
  return text;
}

TEST(HttpRangeTest, ReadsEveryForm) {
  struct Row {
    std::string header, shown;
  };
  const Row rows[] = {
      {"", "whole"},
      {"bytes=0-9", "0-10"},
      {"bytes=0-0", "0-1"},
      {"bytes=90-", "90-100"},
      {"bytes=0-", "0-100"},
      {"bytes=-10", "90-100"},
      {"bytes=-1000", "0-100"},
      {"bytes=95-1000", "95-100"},
      {"Bytes = 1-2 , 4-5", "1-3,4-6"},
      {"bytes=50-59,0-9", "50-60,0-10"},
      {"bytes=0-19,10-29", "0-30"},
      {"bytes=20-29,0-24,90-", "0-30,90-100"},
      {"bytes=0-9,10-19", "0-10,10-20"},
      {"bytes=0-9,200-300", "0-10"},
      {"bytes=100-", "none"},
      {"bytes=100-200,-0", "none"},
      {"bytes=-0", "none"},
      {"bytes=99999999999999999999-", "none"},
      {"bytes=0-99999999999999999999", "0-100"},
      {"bytes=9-0", "whole"},
      {"bytes=", "whole"},
      {"bytes=,", "whole"},
      {"bytes=-", "whole"},
      {"bytes=a-b", "whole"},
      {"bytes=1", "whole"},
      {"bytes=1-2-3", "whole"},
      {"bytes=+1-2", "whole"},
      {"bytes=--5", "whole"},
      {"items=0-9", "whole"},
      {"0-9", "whole"},
  };
  for (const auto& row : rows) EXPECT_EQ(Show(row.header, 100), row.shown) << row.header;
}

TEST(HttpRangeTest, AnEmptyBlobIsSentWhole) {
  EXPECT_EQ(Show("bytes=0-", 0), "whole");
  EXPECT_EQ(Show("bytes=-5", 0), "whole");
}

TEST(HttpRangeTest, TooManyRangesAreAnsweredWithTheWhole) {
  std::string header = "bytes=";
  for (int i = 0; i < 64; ++i)
    header += std::to_string(i * 10) + "-" + std::to_string(i * 10) + ",";
  EXPECT_EQ(ParseRange(header, Bytes(10'000)).ranges.size(), 64U);
  EXPECT_EQ(Show(header + "9000-9001", 10'000), "whole");
}

TEST(HttpRangeTest, RangesNeverLeaveTheBlobNorOverlap) {
  Rng rng(2);
  for (int i = 0; i < Rounds(50'000); ++i) {
    std::string header = "bytes=";
    for (std::uint64_t n = 1 + rng.Below(6); n > 0; --n) {
      if (rng.Below(4) != 0) header += std::to_string(rng.Below(300));
      header += "-";
      if (rng.Below(4) != 0) header += std::to_string(rng.Below(300));
      header += ",";
    }
    if (rng.Below(3) == 0) header[rng.Below(header.size())] = static_cast<char>(rng.Below(256));
    const Bytes size(static_cast<std::int64_t>(rng.Below(200)));
    const auto answer = ParseRange(header, size);
    ASSERT_EQ(answer.ranges.empty(), answer.kind != RangeKind::kPartial);
    Bytes total;
    for (const auto& range : answer.ranges) {
      ASSERT_LE(Bytes(0), range.begin);
      ASSERT_LT(range.begin, range.end);
      ASSERT_LE(range.end, size);
      total += range.end - range.begin;
    }
    ASSERT_LE(total, size);
  }
}

TEST(HttpRangeTest, WritesHeaders) {
  const ByteRange range{Bytes(0), Bytes(100)};
  EXPECT_EQ(ContentRange(range, Bytes(1000)), "bytes 0-99/1000");
  EXPECT_EQ(UnsatisfiedContentRange(Bytes(1000)), "bytes */1000");
  EXPECT_EQ(PartHeader("xyz", "text/plain", range, Bytes(1000)),
            "\r\n--xyz\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-99/1000\r\n\r\n");
  EXPECT_EQ(LastBoundary("xyz"), "\r\n--xyz--\r\n");
}

TEST(HttpRangeTest, ComparesEntityTags) {
  const std::string tag = EntityTag(Digest{});
  EXPECT_EQ(tag, "\"sha256:" + std::string(64, '0') + "\"");
  EXPECT_TRUE(IfNoneMatches(tag, tag));
  EXPECT_TRUE(IfNoneMatches("*", tag));
  EXPECT_TRUE(IfNoneMatches("\"a\", W/" + tag, tag));
  EXPECT_FALSE(IfNoneMatches("\"a\"", tag));
  EXPECT_FALSE(IfNoneMatches("", tag));
  EXPECT_TRUE(IfRangeMatches("", tag));
  EXPECT_TRUE(IfRangeMatches(tag, tag));
  EXPECT_FALSE(IfRangeMatches("W/" + tag, tag));
  EXPECT_FALSE(IfRangeMatches("Fri, 20 Nov 2026 10:00:00 GMT", tag));
}

}  // namespace
}  // namespace shoal::proxy
