#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal {
namespace {

TEST(JsonTest, RefusesALongDocumentBeforeParsingIt) {
  EXPECT_EQ(ParseJson(std::string(11, '{'), 10).error().code, Code::kExhausted);
  EXPECT_TRUE(ParseJson("[1,2,3,44]", 10).ok());
}

TEST(JsonTest, RefusesWhatIsNoJson) {
  for (const std::string text : {"", "{", "{\"a\":}", "[1,]", "nul", "{\"a\":1}x", "'a'"}) {
    EXPECT_EQ(ParseJson(text, 100).error().code, Code::kInvalid) << text;
  }
  EXPECT_FALSE(ParseJson(std::string(100'000, '['), 200'000).ok());
}

TEST(JsonTest, GivesMembersOfTheRightTypeOnly) {
  const auto json =
      *ParseJson(R"({"s":"text","i":7,"n":-7,"f":1.5,"b":true,"a":[1,2],"o":{},"z":null,)"
                 R"("big":9223372036854775807,"huge":18446744073709551615})",
                 1000);
  EXPECT_EQ(*GetString(json, "s"), "text");
  EXPECT_EQ(*GetInt(json, "i", 0, 10), 7);
  EXPECT_EQ(*GetInt(json, "n", -10, 10), -7);
  EXPECT_EQ(*GetInt(json, "big", 0, INT64_MAX), INT64_MAX);
  EXPECT_TRUE(*GetBool(json, "b"));
  EXPECT_EQ(GetArray(json, "a", 2)->size(), 2U);
  for (const char* member : {"s", "f", "b", "a", "o", "z", "absent", "huge"}) {
    EXPECT_FALSE(GetInt(json, member, INT64_MIN, INT64_MAX).ok()) << member;
  }
  for (const char* member : {"i", "b", "a", "o", "z", "absent"}) {
    EXPECT_FALSE(GetString(json, member).ok()) << member;
  }
  for (const char* member : {"s", "i", "a", "z", "absent"}) {
    EXPECT_FALSE(GetBool(json, member).ok()) << member;
  }
  for (const char* member : {"s", "i", "o", "z", "absent"}) {
    EXPECT_FALSE(GetArray(json, member, 10).ok()) << member;
  }
}

TEST(JsonTest, HoldsMembersToTheirBounds) {
  const auto json = *ParseJson(R"({"s":"text","i":7,"a":[1,2]})", 1000);
  EXPECT_FALSE(GetString(json, "s", 3).ok());
  EXPECT_FALSE(GetInt(json, "i", 8, 10).ok());
  EXPECT_FALSE(GetInt(json, "i", 0, 6).ok());
  EXPECT_FALSE(GetArray(json, "a", 1).ok());
  EXPECT_THAT(GetInt(json, "i", 8, 10).error().text, testing::HasSubstr("\"i\""));
}

TEST(JsonTest, AsksNothingOfWhatIsNoObject) {
  for (const char* text : {"[]", "1", "null", "\"a\"", "true"}) {
    const auto json = *ParseJson(text, 100);
    EXPECT_FALSE(GetString(json, "a").ok());
    EXPECT_FALSE(GetArray(json, "a", 1).ok());
  }
}

}  // namespace
}  // namespace shoal
