#include "agent/preheat_report.h"

#include <gtest/gtest.h>

#include "tests/unit/index/mutation.h"

namespace shoal::agent {
namespace {

TEST(PreheatReportTest, IsReadAsItWasWritten) {
  for (const auto state : {PreheatState::kWaiting, PreheatState::kRunning, PreheatState::kDone,
                           PreheatState::kFailed, PreheatState::kDeclined}) {
    const PreheatReport report{state, Bytes(5), Bytes(7), "because"};
    const auto read = DecodePreheatReport(EncodePreheatReport(report));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, report);
  }
}

TEST(PreheatReportTest, WhatCannotBeIsRefused) {
  for (const auto* text :
       {"", "{}", R"({"state":"asleep","have":1,"size":2})",
        R"({"state":"done","have":3,"size":2})", R"({"state":"done","have":-1,"size":2})",
        R"({"state":"done","have":1,"size":"2"})",
        R"({"state":"done","have":1,"size":1234567890123456789})"}) {
    EXPECT_FALSE(DecodePreheatReport(text)) << text;
  }
  const std::string wordy = R"({"state":"failed","have":0,"size":0,"text":")";
  EXPECT_FALSE(DecodePreheatReport(wordy + std::string(2000, 'x') + "\"}"));
}

TEST(PreheatReportTest, TextsOfOthersDoNothingToATerminal) {
  const PreheatReport report{PreheatState::kFailed, Bytes(0), Bytes(0),
                             "\x1b[2Jred\n" + std::string(5000, 'y')};
  const auto read = DecodePreheatReport(EncodePreheatReport(report));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->text.substr(0, 8), "'[2Jred'");
  EXPECT_EQ(read->text.size(), kPreheatTextBytesMax);
  const auto raw =
      DecodePreheatReport("{\"state\":\"failed\",\"have\":0,\"size\":0,\"text\":\"\\u001b[2J\"}");
  ASSERT_TRUE(raw);
  EXPECT_EQ(raw->text, "'[2J");
}

TEST(PreheatReportTest, MutatedOnesDoNoHarm) {
  Rng rng(3);
  const std::string text =
      EncodePreheatReport({PreheatState::kRunning, Bytes(1 << 20), Bytes(1 << 21), "why"});
  for (int i = 0; i < 3000; ++i) {
    const auto read = DecodePreheatReport(index::Mutate(text, rng));
    if (!read) continue;
    EXPECT_LE(read->have, read->size);
    EXPECT_LE(read->text.size(), kPreheatTextBytesMax);
  }
}

TEST(PreheatWordTest, NamesAWholeImage) {
  const auto read = DecodePreheatWord(EncodePreheatWord({"nginx", true}));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->image, "docker.io/library/nginx:latest");
  EXPECT_TRUE(read->withdrawn);
  EXPECT_FALSE(DecodePreheatWord("{}"));
  EXPECT_FALSE(DecodePreheatWord(R"({"image":"NoSuch/Name"})"));
  EXPECT_FALSE(DecodePreheatWord(R"({"image":"a","withdrawn":1})"));
}

}  // namespace
}  // namespace shoal::agent
