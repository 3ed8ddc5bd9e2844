#include "index/lan_asks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "index/beacon.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/records.h"

namespace shoal::index {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Key kBlob = "blob/sha256:" + std::string(64, 'a');

class LanAsksTest : public testing::Test {
 protected:
  ~LanAsksTest() override {
    for (const auto& host : hosts_) host.CheckInvariants();
  }

  std::string Ask(int host, const Key& key = kBlob) {
    auto datagram = hosts_[host].Ask(now_, Wall(), key);
    EXPECT_TRUE(datagram.has_value());
    return datagram.value_or("");
  }
  Result<std::variant<LanQuestion, LanAnswer>> Hear(int host, const std::string& datagram) {
    return hosts_[host].OnDatagram(
        now_, datagram, [this](const PeerId& peer) { return !strangers_.contains(peer); });
  }
  // The question that a datagram is to `host`.
  LanQuestion Question(int host, const std::string& datagram) {
    auto heard = Hear(host, datagram);
    EXPECT_TRUE(heard.ok()) << heard.error().text;
    return std::get<LanQuestion>(heard.value());
  }
  std::vector<std::string> Due(int host) {
    std::vector<std::string> out;
    hosts_[host].OnDeadline(now_, out);
    return out;
  }
  // What `host`, who holds it, says to the question in the end.
  std::string AnswerOf(int host, const std::string& question) {
    hosts_[host].OnHolds(now_, Question(host, question), 10);
    now_ = std::max(now_, hosts_[host].NextDeadline());
    const auto due = Due(host);
    EXPECT_EQ(due.size(), 1U);
    return due.empty() ? "" : due[0];
  }
  [[nodiscard]] WallTime Wall() const { return TestWall() + now_.time_since_epoch(); }
  Code CodeOf(int host, const std::string& datagram) {
    auto heard = Hear(host, datagram);
    EXPECT_FALSE(heard.ok());
    return heard.ok() ? Code::kCancelled : heard.error().code;
  }

  Time now_{seconds(10)};
  AskLimits limits_{.asks_per_second = 5,
                    .ask_again = Duration(0),
                    .heard_per_second = 40,
                    .answers_per_second = 6,
                    .waiting_max = 8,
                    .asking_max = 8};
  std::vector<LanAsks> hosts_{{limits_, KeyNo(0), Rng(1)}, {limits_, KeyNo(1), Rng(2)},
                              {limits_, KeyNo(2), Rng(3)}, {limits_, KeyNo(3), Rng(4)},
                              {limits_, KeyNo(4), Rng(5)}, {limits_, KeyNo(5), Rng(6)}};
  std::set<PeerId> strangers_;
};

TEST_F(LanAsksTest, AQuestionAndItsAnswer) {
  const auto question = Ask(0);
  EXPECT_LE(question.size(), kBeaconBytesMax);
  EXPECT_TRUE(IsAskOrAnswer(question));
  const auto heard = Question(1, question);
  EXPECT_EQ(heard.asker, KeyNo(0).id());
  EXPECT_EQ(heard.key, kBlob);
  EXPECT_EQ(hosts_[1].NextDeadline(), kNever);
  hosts_[1].OnHolds(now_, heard, 50);
  EXPECT_LE(hosts_[1].NextDeadline(), now_ + LanAsks::Spread(50));
  now_ = hosts_[1].NextDeadline();
  const auto answers = Due(1);
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(IsAskOrAnswer(answers[0]));
  const auto answer = Hear(0, answers[0]);
  ASSERT_TRUE(answer.ok()) << answer.error().text;
  EXPECT_EQ(std::get<LanAnswer>(*answer).holder, KeyNo(1).id());
  EXPECT_EQ(std::get<LanAnswer>(*answer).key, kBlob);
  EXPECT_TRUE(Due(1).empty());
}

TEST_F(LanAsksTest, ABeaconIsNoQuestion) {
  EXPECT_FALSE(IsAskOrAnswer(EncodeBeacon({SignedBy(KeyNo(1)), 7, 1, 1, true}, KeyNo(1)).value()));
}

TEST_F(LanAsksTest, HoldersAreSilentWhenEnoughHaveAnswered) {
  const auto question = Ask(0);
  // All of them hold it; 5 waits longest.
  std::vector<std::string> answers;
  hosts_[5].OnHolds(now_, Question(5, question), 1000);
  for (int host = 1; host <= 3; ++host) answers.push_back(AnswerOf(host, question));
  EXPECT_EQ(CodeOf(5, answers[0]), Code::kCancelled);
  EXPECT_EQ(CodeOf(5, answers[0]), Code::kCancelled);  // the same one again counts once
  EXPECT_EQ(CodeOf(5, answers[1]), Code::kCancelled);
  EXPECT_NE(hosts_[5].NextDeadline(), kNever);
  EXPECT_EQ(CodeOf(5, answers[2]), Code::kCancelled);
  EXPECT_EQ(hosts_[5].NextDeadline(), kNever);
  now_ += seconds(1);
  EXPECT_TRUE(Due(5).empty());
}

TEST_F(LanAsksTest, AnswersToOthersDoNotSilenceUs) {
  hosts_[5].OnHolds(now_, Question(5, Ask(0)), 1000);
  const auto other = Ask(4);  // the same blob
  for (int host = 1; host <= 3; ++host) {
    EXPECT_EQ(CodeOf(5, AnswerOf(host, other)), Code::kCancelled);
  }
  EXPECT_NE(hosts_[5].NextDeadline(), kNever);
}

TEST_F(LanAsksTest, AReplayedQuestionIsDropped) {
  const auto first = Ask(0);
  EXPECT_EQ(Question(1, first).key, kBlob);
  EXPECT_EQ(CodeOf(1, first), Code::kCancelled);
  const auto second = Ask(0);
  EXPECT_EQ(Question(1, second).key, kBlob);
  EXPECT_EQ(CodeOf(1, first), Code::kCancelled);
  EXPECT_EQ(Question(2, first).key, kBlob);  // who had not heard it
}

TEST_F(LanAsksTest, AReplayedAnswerIsDropped) {
  const auto answer = AnswerOf(1, Ask(0));
  EXPECT_TRUE(Hear(0, answer).ok());
  hosts_[0].OnEnd(now_, kBlob);
  EXPECT_EQ(CodeOf(0, answer), Code::kCancelled);
  (void)Ask(0);  // the same question anew has another number
  EXPECT_EQ(CodeOf(0, answer), Code::kCancelled);
}

TEST_F(LanAsksTest, ForgedOnesAreRefused) {
  auto swap = [](std::string to, const std::string& from, const std::string& member) {
    const auto cut = [&](const std::string& text) {
      const auto at = text.find("\"" + member + "\":\"");
      return std::pair(at, text.find('"', at + member.size() + 4));
    };
    const auto [a, b] = cut(to);
    const auto [c, d] = cut(from);
    return to.replace(a, b - a, from.substr(c, d - c));
  };
  const auto of0 = Ask(0);
  const auto of2 = Ask(2);
  EXPECT_EQ(CodeOf(1, swap(of0, of2, "key")), Code::kDenied);
  EXPECT_EQ(CodeOf(1, swap(of0, of2, "signature")), Code::kDenied);
  EXPECT_EQ(Question(1, of0).asker, KeyNo(0).id());  // what was forged has spoilt nothing
  const auto answer = AnswerOf(1, of2);
  EXPECT_EQ(CodeOf(2, swap(answer, of0, "key")), Code::kDenied);
  EXPECT_EQ(CodeOf(2, swap(answer, of2, "key")), Code::kCancelled);  // our own, so it says
  const auto other = AnswerOf(3, of2);
  EXPECT_EQ(CodeOf(2, swap(answer, other, "key")), Code::kDenied);
  EXPECT_TRUE(Hear(2, answer).ok());
}

TEST_F(LanAsksTest, StrangersAreNotHeard) {
  strangers_.insert(KeyNo(0).id());
  EXPECT_EQ(CodeOf(1, Ask(0)), Code::kCancelled);
}

TEST_F(LanAsksTest, NeverTakesAMutatedDatagramForSomethingElse) {
  const auto question = Ask(0);
  const auto answer = AnswerOf(1, question);
  Rng rng(5);
  for (int i = 0; i < 10'000; ++i) {
    if (i % 20 == 0) now_ += seconds(1);
    const auto heard = Hear(2, Mutate(question, rng));
    if (heard) {
      EXPECT_EQ(std::get<LanQuestion>(*heard).key, kBlob);
    }
    const auto back = Hear(0, Mutate(answer, rng));
    if (back) {
      EXPECT_EQ(std::get<LanAnswer>(*back).holder, KeyNo(1).id());
    }
  }
}

TEST_F(LanAsksTest, RefusesMalformedDatagrams) {
  for (const char* text :
       {"", "{}", "\"ask\"", R"({"shoal":1,"ask":"","answer":""})", R"({"shoal":2,"ask":""})",
        R"({"shoal":1,"ask":"e30","key":"","signature":""})", R"({"shoal":1,"ask":{}})"}) {
    const auto heard = Hear(1, text);
    ASSERT_FALSE(heard.ok()) << text;
    EXPECT_EQ(heard.error().code, Code::kInvalid) << text;
  }
  EXPECT_EQ(CodeOf(1, std::string(kBeaconBytesMax + 1, '{')), Code::kExhausted);
}

TEST_F(LanAsksTest, AStormCostsNoMoreThanItsLimit) {
  // One who asks all the time, by the rules but for the pace.
  LanAsks fast({.asks_per_second = 1000, .asking_max = 1000}, KeyNo(9), Rng(1));
  int taken = 0;
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    const auto heard = Hear(1, *fast.Ask(now_, Wall(), kBlob + std::to_string(i)));
    if (heard) {
      ++taken;
      hosts_[1].OnHolds(now_, std::get<LanQuestion>(*heard), 0);
    } else if (heard.error().code == Code::kExhausted) {
      ++refused;
    }
    hosts_[1].CheckInvariants();
  }
  EXPECT_EQ(taken, limits_.heard_per_second);
  EXPECT_EQ(refused, 300 - limits_.heard_per_second);
  EXPECT_LE(Due(1).size(), static_cast<std::size_t>(limits_.answers_per_second));
  now_ += seconds(1);
  EXPECT_EQ(Question(1, Ask(0)).key, kBlob);  // others are heard again
}

TEST_F(LanAsksTest, WeAskNoMoreThanTheLimit) {
  for (int i = 0; i < limits_.asks_per_second; ++i) (void)Ask(0, kBlob + std::to_string(i));
  EXPECT_FALSE(hosts_[0].Ask(now_, Wall(), kBlob));
  now_ += seconds(1);
  EXPECT_TRUE(hosts_[0].Ask(now_, Wall(), kBlob));
  now_ += seconds(1);
  EXPECT_TRUE(hosts_[0].Ask(now_, Wall(), kBlob + "y"));
  EXPECT_TRUE(hosts_[0].Ask(now_, Wall(), kBlob + "z"));
  EXPECT_FALSE(hosts_[0].Ask(now_, Wall(), kBlob + "too many at once"));
  hosts_[0].OnEnd(now_, kBlob);
  EXPECT_TRUE(hosts_[0].Ask(now_, Wall(), kBlob));
}

TEST_F(LanAsksTest, TheSameIsNotAskedAgainAtOnce) {
  LanAsks host({.ask_again = seconds(5)}, KeyNo(7), Rng(7));
  EXPECT_TRUE(host.Ask(now_, Wall(), kBlob));
  host.OnEnd(now_, kBlob);
  now_ += milliseconds(4999);
  EXPECT_FALSE(host.Ask(now_, Wall(), kBlob));
  EXPECT_TRUE(host.Ask(now_, Wall(), kBlob + "b"));
  now_ += milliseconds(1);
  EXPECT_TRUE(host.Ask(now_, Wall(), kBlob));
}

TEST_F(LanAsksTest, WaitsLongerWhereMoreMayAnswer) {
  // Beside the asker two others could answer, and three have to before one is spared.
  EXPECT_EQ(LanAsks::Spread(kAnswersEnough), Duration(0));
  EXPECT_GT(LanAsks::Spread(kAnswersEnough + 1), Duration(0));
  EXPECT_LT(LanAsks::Spread(100), milliseconds(3));
  EXPECT_EQ(LanAsks::Spread(100'000), kAnswerSpreadMax);
}

TEST_F(LanAsksTest, WaitsAsLongAsAnswersTakeThatCameTooLate) {
  const Duration least = LanAsks::Spread(10) + kAnswerGrace;
  const auto asked = [&](Duration took) {
    now_ += seconds(1);
    const auto question = Ask(0);
    const Time begun = now_;
    const Duration patience = hosts_[0].Patience(10);
    const auto answer = AnswerOf(1, question);
    now_ = begun + took;
    const bool is_late = took > patience;
    if (is_late) hosts_[0].OnEnd(begun + patience, kBlob);
    EXPECT_EQ(Hear(0, answer).ok(), !is_late);
    hosts_[0].OnEnd(now_, kBlob);
    return !is_late;
  };
  EXPECT_EQ(hosts_[0].Patience(10), least);
  EXPECT_FALSE(asked(milliseconds(12)));
  EXPECT_TRUE(asked(milliseconds(12)));  // the next one is heard
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(asked(milliseconds(1)));
  EXPECT_EQ(hosts_[0].Patience(10), least);
  for (int i = 0; i < 50; ++i) asked(milliseconds(150));  // a liar, or one who is of no use
  EXPECT_EQ(hosts_[0].Patience(10), LanAsks::Spread(10) + kAnswerGraceMax);
}

TEST_F(LanAsksTest, WhatComesMuchTooLateOrToNobodysQuestionSaysNothing) {
  const auto answer = AnswerOf(1, Ask(0));
  hosts_[0].OnEnd(now_, kBlob);
  now_ += seconds(2);
  EXPECT_EQ(CodeOf(0, answer), Code::kCancelled);
  EXPECT_EQ(hosts_[0].Patience(0), kAnswerGrace);
  // One that nobody answers leaves it as it is.
  (void)Ask(0);
  now_ += milliseconds(100);
  hosts_[0].OnEnd(now_, kBlob);
  EXPECT_EQ(hosts_[0].Patience(0), kAnswerGrace);
}

}  // namespace
}  // namespace shoal::index
