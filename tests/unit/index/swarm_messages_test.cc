#include "index/swarm_messages.h"
#include "tests/unit/numbered.h"

#include <gtest/gtest.h>

namespace shoal::index {
namespace {

TEST(SwarmMessagesTest, ReadsBackWhatItWrote) {
  SwarmAnswer answer{PeerNo(1), std::chrono::milliseconds(700), {PeerNo(1), PeerNo(2)}};
  auto read = DecodeSwarmAnswer(EncodeSwarmAnswer(answer));
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(*read, answer);
  answer.lead_waits = true;
  answer.slots = 3;
  answer.pace = std::chrono::milliseconds(4500);
  read = DecodeSwarmAnswer(EncodeSwarmAnswer(answer));
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(*read, answer);
  read = DecodeSwarmAnswer(EncodeSwarmAnswer({}));
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(*read, SwarmAnswer{});
}

TEST(SwarmMessagesTest, APaceOutOfBoundsIsTheNearestInside) {
  EXPECT_EQ(DecodeSwarmAnswer(R"({"members":[],"pace_ms":0})")->pace, kSwarmPace);
  EXPECT_EQ(DecodeSwarmAnswer(R"({"members":[],"pace_ms":3600000})")->pace, kSwarmPaceMax);
  EXPECT_FALSE(DecodeSwarmAnswer(R"({"members":[],"pace_ms":"x"})").ok());
}

TEST(SwarmMessagesTest, RefusesWhatIsNoAnswer) {
  for (
      const char* text :
      {"", "{}", "[]", R"({"members":{}})", R"({"members":[7]})", R"({"members":["abc"]})",
       R"({"lead":"abc","members":[]})", R"({"slots":-1,"members":[]})",
       R"({"slots":129,"members":[]})", R"({"slots":"1","members":[]})",
       R"({"lead":"0000000000000000000000000000000000000000000000000000000000000000","members":[]})"}) {
    EXPECT_FALSE(DecodeSwarmAnswer(text).ok()) << text;
  }
  EXPECT_EQ(DecodeSwarmAnswer(std::string(kSwarmAnswerBytesMax + 1, ' ')).error().code,
            Code::kExhausted);
}

}  // namespace
}  // namespace shoal::index
