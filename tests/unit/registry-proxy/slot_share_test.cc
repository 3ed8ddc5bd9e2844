#include "registry-proxy/slot_share.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

namespace shoal::proxy {
namespace {

using namespace std::chrono_literals;

const std::string kRegistry = "reg.test";

// Calls that open what they may at once.
class SlotShareTest : public ::testing::Test {
 protected:
  void Call(SlotShare::CallId id, int most = 4, const std::string& registry = kRegistry) {
    share_.OnCall(now_, id, registry, most, out_);
    uses_[id] = {};
    Carry();
  }
  void Wish(SlotShare::CallId id, int wish) {
    uses_[id].wish = wish;
    share_.OnUse(now_, id, uses_[id], out_);
    Carry();
  }
  // A connection of it is closed.
  void Close(SlotShare::CallId id) {
    --uses_[id].open;
    share_.OnUse(now_, id, uses_[id], out_);
    Carry();
  }
  void End(SlotShare::CallId id) {
    share_.OnUse(now_, id, {.open = 0, .begun = true, .over = true}, out_);
    uses_.erase(id);
    shares_.erase(id);
    Carry();
  }
  void Answer(std::optional<int> granted, const std::string& registry = kRegistry) {
    share_.OnAnswer(now_, registry, granted, out_);
    Carry();
  }
  void Pass(Duration time) {
    const Time until = now_ + time;
    while (share_.NextDeadline() <= until) {
      now_ = std::max(now_, share_.NextDeadline());
      share_.OnDeadline(now_, out_);
      Carry();
      if (share_.NextDeadline() <= now_) now_ += 1ms;
    }
    now_ = std::max(now_, until);
  }
  index::SlotAsk TakeAsk() {
    EXPECT_EQ(asks_.size(), 1U);
    if (asks_.empty()) return {};
    const auto ask = asks_.front().slots;
    asks_.clear();
    return ask;
  }
  int Open(SlotShare::CallId id) { return uses_.at(id).open; }

  Time now_{10s};
  SlotShare share_{Rng(1)};
  std::vector<SlotShare::Ask> asks_;
  std::map<SlotShare::CallId, int> shares_;
  std::map<SlotShare::CallId, SlotShare::Use> uses_;

 private:
  void Carry() {
    while (!out_.shares.empty() || !out_.asks.empty()) {
      const SlotShare::Out out = std::exchange(out_, {});
      asks_.insert(asks_.end(), out.asks.begin(), out.asks.end());
      for (const auto& share : out.shares) {
        auto& use = uses_.at(share.call);
        shares_[share.call] = share.connections;
        use.open = std::max(use.open, share.connections);
        use.begun = use.begun || use.open > 0;
        share_.OnUse(now_, share.call, use, out_);
      }
    }
    share_.CheckInvariants();
  }
  SlotShare::Out out_;
};

TEST_F(SlotShareTest, ACallWaitsUntilAnArbiterGrantsASlot) {
  Call(1);
  EXPECT_EQ(TakeAsk(), (index::SlotAsk{1, 0, 4}));
  EXPECT_EQ(Open(1), 0);
  Answer(0);
  EXPECT_EQ(Open(1), 0);
  Pass(kSlotPaceWaiting * 5 / 4);
  TakeAsk();
  Answer(1);
  EXPECT_EQ(Open(1), 1);
}

TEST_F(SlotShareTest, EachCallHasOneBeforeAnyHasTwoTheOldestFirst) {
  Call(1);
  Answer(1);
  Wish(1, 3);
  Call(2);
  Call(3);
  asks_.clear();
  Answer(2);
  EXPECT_EQ(Open(1), 1);
  EXPECT_EQ(Open(2), 1);
  EXPECT_EQ(Open(3), 0);
  EXPECT_EQ(TakeAsk(), (index::SlotAsk{5, 2, 4})) << "what was asked before is no longer all";
  Answer(4);
  EXPECT_EQ(Open(1), 2);
  EXPECT_EQ(Open(2), 1);
  EXPECT_EQ(Open(3), 1);
}

TEST_F(SlotShareTest, SecondConnectionsGoFirstWhenLessIsGranted) {
  Call(1);
  Wish(1, 3);
  Answer(1);
  Answer(3);
  EXPECT_EQ(Open(1), 3);
  Pass(kSlotPace * 5 / 4);
  Answer(1);
  EXPECT_EQ(shares_[1], 1);
  EXPECT_EQ(share_.HeldOf(kRegistry), 3) << "until they are closed";
  asks_.clear();
  Close(1);
  EXPECT_EQ(TakeAsk(), (index::SlotAsk{3, 2, 4})) << "told at once";
  Answer(1);
  Pass(kSlotPace * 5 / 4);
  Answer(0);
  EXPECT_EQ(shares_[1], 1) << "a stream that runs is not cut";
}

TEST_F(SlotShareTest, WhatACallLeavesGoesToTheNext) {
  Call(1);
  Answer(1);
  Call(2);
  Answer(1);
  EXPECT_EQ(Open(2), 0);
  End(1);
  EXPECT_EQ(Open(2), 1);
}

TEST_F(SlotShareTest, WithoutAGrantWhatACallLeavesIsGivenBack) {
  Call(1);
  Answer(1);
  Call(2);
  Answer(0);  // its turn is over: others wait
  asks_.clear();
  Pass(kSlotPaceWaiting * 5 / 4);
  Answer(0);
  asks_.clear();
  End(1);
  EXPECT_EQ(Open(2), 0);
  EXPECT_EQ(TakeAsk(), (index::SlotAsk{1, 0, 4}));
}

TEST_F(SlotShareTest, SilentArbitersLeaveOneConnectionInAll) {
  Call(1);
  Call(2);
  Answer(std::nullopt);
  EXPECT_EQ(Open(1), 1);
  EXPECT_EQ(Open(2), 0);
}

TEST_F(SlotShareTest, AGrantOutlivesTheSilenceOfArbitersForALease) {
  Call(1);
  Wish(1, 2);
  Answer(1);
  Answer(2);
  EXPECT_EQ(shares_[1], 2);
  const Time heard = now_;
  while (now_ < heard + index::kSlotLease - 10ms) {
    EXPECT_EQ(shares_[1], 2);
    Pass(50ms);
    if (!std::exchange(asks_, {}).empty()) Answer(std::nullopt);
  }
  Pass(1s);
  EXPECT_EQ(shares_[1], 1);
}

TEST_F(SlotShareTest, AfterALongWaitThereIsOneAllTheSame) {
  Call(1);
  Call(2);
  const Time start = now_;
  while (Open(1) == 0 && now_ < start + 1h) {
    Pass(100ms);
    if (!std::exchange(asks_, {}).empty()) Answer(0);
  }
  EXPECT_GE(now_ - start, kSlotPatience);
  EXPECT_LE(now_ - start, kSlotPatience + 1s);
  Pass(10s);
  EXPECT_EQ(Open(2), 0);
}

TEST_F(SlotShareTest, TheLastWordGivesEverythingBack) {
  Call(1);
  Answer(1);
  ASSERT_EQ(asks_.size(), 2U);
  EXPECT_EQ(asks_[1].slots, (index::SlotAsk{1, 1, 4})) << "others are told what it holds";
  Answer(1);
  asks_.clear();
  End(1);
  EXPECT_EQ(TakeAsk(), (index::SlotAsk{0, 0, 4}));
  Answer(0);
  EXPECT_EQ(share_.NextDeadline(), kNever);
}

TEST_F(SlotShareTest, ACallThatEndsWhileItWaitsIsForgotten) {
  Call(1);
  End(1);
  Answer(1);
  asks_.clear();
  Answer(0);
  EXPECT_EQ(share_.HeldOf(kRegistry), 0);
  EXPECT_EQ(share_.NextDeadline(), kNever);
}

TEST_F(SlotShareTest, RegistriesAreAskedForApart) {
  Call(1, 4, "a.test");
  Call(2, 2, "b.test");
  ASSERT_EQ(asks_.size(), 2U);
  EXPECT_EQ(asks_[1].slots.most, 2);
  Answer(1, "b.test");
  EXPECT_EQ(Open(1), 0);
  EXPECT_EQ(Open(2), 1);
}

// Whatever happens in whatever order: no more is held than was granted, but for streams that ran
// already, and a call with a share is never without one again before it ends.
TEST(SlotShareModelTest, NeverOpensMoreThanIsGranted) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Rng rng(seed);
    SlotShare share{Rng(seed)};
    std::map<SlotShare::CallId, SlotShare::Use> uses;
    SlotShare::Out out;
    Time now{10s};
    SlotShare::CallId next = 1;
    bool asked = false;
    for (int step = 0; step < 2000; ++step) {
      now += Duration(static_cast<std::int64_t>(rng.Below(100'000)));
      const int before = share.HeldOf(kRegistry);
      int granted = -1;
      switch (rng.Below(5)) {
        case 0:
          if (uses.size() < 6) {
            share.OnCall(now, next, kRegistry, 4, out);
            uses[next++] = {};
          }
          break;
        case 1:
          if (asked) {
            granted = static_cast<int>(rng.Below(5));
            asked = false;
            share.OnAnswer(now, kRegistry, granted, out);
          }
          break;
        case 2:
          share.OnDeadline(now, out);
          break;
        default:
          if (uses.empty()) break;
          auto it = std::next(uses.begin(), static_cast<long>(rng.Below(uses.size())));
          if (rng.Below(3) == 0) {
            it->second.over = true;
            it->second.open = 0;
          } else if (it->second.open > 1) {
            --it->second.open;
          } else {
            it->second.wish = 1 + static_cast<int>(rng.Below(4));
          }
          share.OnUse(now, it->first, it->second, out);
          if (it->second.over) uses.erase(it);
      }
      while (!out.shares.empty() || !out.asks.empty()) {
        const SlotShare::Out taken = std::exchange(out, {});
        if (!taken.asks.empty()) {
          EXPECT_FALSE(asked) << "one at a time";
          asked = true;
        }
        for (const auto& told : taken.shares) {
          auto& use = uses.at(told.call);
          if (use.begun) {
            EXPECT_GE(told.connections, 1);
          }
          use.open = std::max(use.open, told.connections);
          use.begun = use.begun || use.open > 0;
          share.OnUse(now, told.call, use, out);
        }
      }
      share.CheckInvariants();
      int open = 0;
      for (const auto& [id, use] : uses) open += use.open;
      ASSERT_LE(open, share.HeldOf(kRegistry));
      if (granted >= 0) {
        ASSERT_LE(share.HeldOf(kRegistry), std::max(before, granted));
      }
    }
  }
}

}  // namespace
}  // namespace shoal::proxy
