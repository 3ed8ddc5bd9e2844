#include "agent/slot_keeper.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/unit/support/test_loop.h"

namespace shoal::agent {
namespace {

using Use = SlotKeeper::Use;
using Done = std::function<void(std::optional<index::SwarmAnswer>)>;

class SlotKeeperTest : public ::testing::Test {
 protected:
  SlotKeeperTest() {
    keeper_ = std::make_shared<SlotKeeper>(
        SlotKeeper::Ports{loop_, PeerId{}, [](const std::string&) { return 2; },
                          [this](SlotKeeper::CallId call) { return UseOf(call); },
                          [this](SlotKeeper::CallId call, int connections) {
                            auto& use = calls_.at(call);
                            use.open = std::max(use.open, connections);
                            use.begun = use.begun || connections > 0;
                            return UseOf(call);
                          },
                          [this](const index::SwarmAsk& ask, Done done) {
                            asks_.push_back(ask);
                            if (grants_) {
                              done(index::SwarmAnswer{.slots = grants_});
                            } else {
                              done(std::nullopt);
                            }
                          }},
        Rng(1));
  }
  std::optional<Use> UseOf(SlotKeeper::CallId call) {
    const auto it = calls_.find(call);
    if (it == calls_.end()) return std::nullopt;
    return it->second;
  }
  void Tell(SlotKeeper::CallId call) {
    loop_.Post([this, call] { keeper_->OnUse(call, "reg.test"); });
    loop_.Settle();
  }
  void Begin(SlotKeeper::CallId call) {
    calls_[call] = {};
    Tell(call);
  }
  void End(SlotKeeper::CallId call) {
    calls_.erase(call);
    Tell(call);
  }

  std::map<SlotKeeper::CallId, Use> calls_;
  std::vector<index::SwarmAsk> asks_;
  std::optional<int> grants_ = 1;
  std::shared_ptr<SlotKeeper> keeper_;
  test::TestLoop loop_;  // last: it ends before what it calls
};

TEST_F(SlotKeeperTest, OpensWhatIsGrantedAndGivesItBack) {
  Begin(1);
  EXPECT_EQ(calls_[1].open, 1);
  ASSERT_GE(asks_.size(), 2U);
  EXPECT_EQ(asks_[0].slots, (index::SlotAsk{1, 0, 2}));
  EXPECT_EQ(asks_[0].digest, RegistryKey("reg.test"));
  EXPECT_EQ(asks_.back().slots, (index::SlotAsk{1, 1, 2}));
  Begin(2);
  EXPECT_EQ(calls_[2].open, 0);
  End(1);
  EXPECT_EQ(calls_[2].open, 1);
  End(2);
  EXPECT_EQ(asks_.back().slots, (index::SlotAsk{0, 0, 2}));
  const auto asked = asks_.size();
  loop_.Advance(std::chrono::seconds(10));
  EXPECT_EQ(asks_.size(), asked) << "nothing more to say";
}

TEST_F(SlotKeeperTest, AsksAgainWhileItWaits) {
  grants_ = 0;
  Begin(1);
  for (int i = 0; i < 10; ++i) loop_.Advance(proxy::kSlotPaceWaiting);
  EXPECT_GE(asks_.size(), 7U);
  EXPECT_EQ(calls_[1].open, 0);
  grants_ = 1;
  loop_.Advance(proxy::kSlotPaceWaiting * 2);
  EXPECT_EQ(calls_[1].open, 1);
}

TEST_F(SlotKeeperTest, WithoutAnArbiterThereIsOneConnection) {
  grants_.reset();
  Begin(1);
  Begin(2);
  EXPECT_EQ(calls_[1].open, 1);
  EXPECT_EQ(calls_[2].open, 0);
}

TEST_F(SlotKeeperTest, ACallThatWasOverBeforeItWasHeardOfIsNothing) {
  End(1);
  EXPECT_TRUE(asks_.empty());
}

TEST_F(SlotKeeperTest, StoppedItAsksAndTellsNothing) {
  loop_.Ask([&] {
    keeper_->Stop();
    return 0;
  });
  Begin(1);
  EXPECT_EQ(calls_[1].open, 0);
  EXPECT_TRUE(asks_.empty());
}

TEST(RegistryKeyTest, IsTheSameOnEveryHost) {
  // printf 'shoal-registry-v1\ndocker.io' | sha256sum
  EXPECT_EQ(ToString(RegistryKey("docker.io")),
            "sha256:d4af970a1c8047cb20f744a5ce3c298c41067e68a1d821620d8d989be94d95e8");
}

}  // namespace
}  // namespace shoal::agent
