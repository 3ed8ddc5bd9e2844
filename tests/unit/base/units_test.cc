#include "base/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.h"

namespace shoal {
namespace {

using namespace literals;  // NOLINT

TEST(UnitsTest, ReadsDurations) {
  EXPECT_EQ(*ParseDuration("500ms"), std::chrono::milliseconds(500));
  EXPECT_EQ(*ParseDuration("10s"), std::chrono::seconds(10));
  EXPECT_EQ(*ParseDuration("5m"), std::chrono::minutes(5));
  EXPECT_EQ(*ParseDuration("72h"), std::chrono::hours(72));
  EXPECT_EQ(*ParseDuration("250us"), Duration(250));
  EXPECT_EQ(*ParseDuration("1.5s"), std::chrono::milliseconds(1500));
  EXPECT_EQ(*ParseDuration("0"), Duration(0));
}

TEST(UnitsTest, ReadsSizesAndRates) {
  EXPECT_EQ(*ParseSize("512"), 512_B);
  EXPECT_EQ(*ParseSize("1MiB"), 1_MiB);
  EXPECT_EQ(*ParseSize("20GiB"), 20_GiB);
  EXPECT_EQ(*ParseSize("3kB"), 3000_B);
  EXPECT_EQ(*ParseRate("100Mbit/s"), Bytes(12'500'000));
  EXPECT_EQ(*ParseRate("12MiB/s"), 12_MiB);
  EXPECT_EQ(*ParseRate("0"), 0_B);
}

TEST(UnitsTest, RefusesAnythingElseWithAnExample) {
  for (const char* text : {"", "ms", "10", "-1s", "10 s", "10S", "1e3s", "nan", "inf", "0x1s",
                           "99999999999999999999h", "10s ", "1s2"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
  for (const char* text : {"", "MiB", "1mib", "-1", "1 MiB", "99999999999TiB", "1MiBs"}) {
    EXPECT_FALSE(ParseSize(text).ok()) << text;
  }
  for (const char* text : {"", "100", "100Mbit", "1MiB", "-1MB/s"}) {
    EXPECT_FALSE(ParseRate(text).ok()) << text;
  }
  EXPECT_THAT(ParseDuration("10").error().text, testing::HasSubstr("500ms"));
}

TEST(UnitsTest, WritesRatesAsTheyAreRead) {
  for (const char* text : {"0", "100Mbit/s", "1Gbit/s", "12MiB/s", "64KiB/s", "9kbit/s", "7B/s"}) {
    EXPECT_EQ(FormatRate(*ParseRate(text)), text);
  }
  EXPECT_EQ(FormatRate(*ParseRate("80Mbit/s")), "10MB/s");
}

TEST(UnitsTest, WritesWhatItReads) {
  for (const char* text : {"0", "250us", "500ms", "10s", "5m", "72h", "1500ms"}) {
    EXPECT_EQ(FormatDuration(*ParseDuration(text)), text);
  }
  for (const char* text : {"0", "511", "4KiB", "1MiB", "20GiB", "1TiB", "1536KiB"}) {
    EXPECT_EQ(FormatSize(*ParseSize(text)), text);
  }
}

TEST(UnitsTest, WritesSizesForPeople) {
  EXPECT_EQ(HumanSize(312_B), "312 B");
  EXPECT_EQ(HumanSize(1536_KiB), "1.5 MiB");
  EXPECT_EQ(HumanSize(20_GiB), "20.0 GiB");
}

TEST(BytesTest, CountsLikeNumbers) {
  Bytes amount = 1_KiB;
  amount += 24_B;
  amount -= 1_B;
  EXPECT_EQ(amount, Bytes(1047));
  EXPECT_LT(1_KiB, 1_MiB);
  EXPECT_EQ(1_MiB / 1_KiB, 1024);
  EXPECT_EQ(Bytes(1047) % 1_KiB, 23_B);
  EXPECT_EQ(3_B * 4, 12_B);
  EXPECT_EQ((1_B - 2_B).count(), -1);
}

}  // namespace
}  // namespace shoal
