#include "fetch/relay_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/unit/numbered.h"

namespace shoal::fetch {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

using Ids = std::vector<RelayDesk::CircuitId>;

class RelayDeskTest : public testing::Test {
 protected:
  void TearDown() override { desk_.CheckInvariants(); }

  Code Reserve(int peer) { return CodeOf(desk_.OnReserve(now_, PeerNo(peer))); }
  Result<RelayDesk::CircuitId> Call(int caller, int callee) {
    return desk_.OnCall(now_, PeerNo(caller), PeerNo(callee));
  }
  Ids Deadline() {
    Ids ended;
    desk_.OnDeadline(now_, ended);
    desk_.CheckInvariants();
    return ended;
  }
  static Code CodeOf(const Status& status) { return status ? kFine : status.error().code; }

  static constexpr Code kFine = Code::kUnsupported;  // stands for no error; the desk has none such
  RelayLimits limits_{.slots = 2, .circuits_max = 4, .circuits_per_peer_max = 3};
  RelayDesk desk_{limits_};
  Time now_{seconds(100)};
};

TEST_F(RelayDeskTest, GivesNoMorePlacesThanItHas) {
  EXPECT_EQ(Reserve(1), kFine);
  EXPECT_EQ(Reserve(2), kFine);
  EXPECT_EQ(Reserve(3), Code::kExhausted);
  EXPECT_EQ(Reserve(1), kFine) << "who holds one renews it";
  Ids ended;
  desk_.OnRelease(PeerNo(2), ended);
  EXPECT_EQ(Reserve(3), kFine);
}

TEST_F(RelayDeskTest, APlaceEndsWhenItIsNotRenewed) {
  EXPECT_EQ(Reserve(1), kFine);
  now_ += seconds(20);
  EXPECT_EQ(Reserve(1), kFine);
  now_ += seconds(29);
  EXPECT_TRUE(Call(9, 1));
  now_ += seconds(1);
  EXPECT_EQ(desk_.NextDeadline(), now_);
  EXPECT_EQ(Call(9, 1).error().code, Code::kNotFound) << "before the deadline is noticed, too";
  EXPECT_THAT(Deadline(), ElementsAre(1)) << "its call ends with it";
  EXPECT_FALSE(desk_.Holds(PeerNo(1)));
}

TEST_F(RelayDeskTest, NobodyIsCalledWhoHoldsNoPlace) {
  EXPECT_EQ(Reserve(1), kFine);
  EXPECT_EQ(Call(9, 2).error().code, Code::kNotFound);
}

TEST_F(RelayDeskTest, OnlyTheCalleeTakesACallAndOnce) {
  EXPECT_EQ(Reserve(1), kFine);
  EXPECT_EQ(Reserve(2), kFine);
  const auto id = *Call(9, 1);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(2), id)), Code::kNotFound);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(9), id)), Code::kNotFound);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(1), id + 1)), Code::kNotFound);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(1), id)), kFine);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(1), id)), Code::kNotFound);
  EXPECT_EQ(desk_.circuits(), 1);
}

TEST_F(RelayDeskTest, ACallIsToldOnce) {
  EXPECT_EQ(Reserve(1), kFine);
  const auto first = *Call(9, 1);
  const auto second = *Call(8, 1);
  EXPECT_THAT(desk_.TakeCalls(PeerNo(2)), IsEmpty());
  EXPECT_THAT(desk_.TakeCalls(PeerNo(1)), ElementsAre(first, second));
  EXPECT_THAT(desk_.TakeCalls(PeerNo(1)), IsEmpty());
}

TEST_F(RelayDeskTest, ACallEndsThatIsNotTaken) {
  EXPECT_EQ(Reserve(1), kFine);
  const auto id = *Call(9, 1);
  now_ += limits_.accept - milliseconds(1);
  EXPECT_THAT(Deadline(), IsEmpty());
  now_ += milliseconds(1);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(1), id)), Code::kNotFound);
  EXPECT_THAT(Deadline(), ElementsAre(id));
}

TEST_F(RelayDeskTest, ACircuitOutlivesThePlaceButNotItsTime) {
  EXPECT_EQ(Reserve(1), kFine);
  const auto id = *Call(9, 1);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(1), id)), kFine);
  now_ += seconds(31);
  EXPECT_THAT(Deadline(), IsEmpty());
  EXPECT_EQ(desk_.circuits(), 1);
  now_ += minutes(15);
  EXPECT_THAT(Deadline(), ElementsAre(id));
  EXPECT_EQ(desk_.circuits(), 0);
  EXPECT_EQ(desk_.NextDeadline(), kNever);
}

TEST_F(RelayDeskTest, BoundsCircuitsOfACallerToACalleeAndAll) {
  EXPECT_EQ(Reserve(1), kFine);
  EXPECT_EQ(Reserve(2), kFine);
  const auto first = *Call(9, 1);
  EXPECT_TRUE(Call(9, 1));
  EXPECT_TRUE(Call(9, 1));
  EXPECT_EQ(Call(9, 2).error().code, Code::kExhausted) << "one caller";
  EXPECT_EQ(Call(8, 1).error().code, Code::kExhausted) << "one callee";
  EXPECT_TRUE(Call(8, 2));
  EXPECT_EQ(Call(7, 2).error().code, Code::kExhausted) << "all together";
  desk_.OnEnd(first);
  desk_.OnEnd(first);
  EXPECT_TRUE(Call(7, 1));
}

TEST_F(RelayDeskTest, LettingGoEndsTheCallsThatWait) {
  EXPECT_EQ(Reserve(1), kFine);
  const auto runs = *Call(9, 1);
  EXPECT_EQ(CodeOf(desk_.OnTake(now_, PeerNo(1), runs)), kFine);
  const auto waits = *Call(9, 1);
  Ids ended;
  desk_.OnRelease(PeerNo(1), ended);
  EXPECT_THAT(ended, ElementsAre(waits));
  EXPECT_EQ(desk_.circuits(), 1);
}

TEST_F(RelayDeskTest, KeepsItsBoundsWhateverComes) {
  Rng rng(7);
  for (int i = 0; i < 5000; ++i) {
    now_ += milliseconds(static_cast<int>(rng.Below(3000)));
    const PeerId a = PeerNo(static_cast<int>(rng.Below(5)));
    const PeerId b = PeerNo(static_cast<int>(rng.Below(5)));
    Ids ended;
    switch (rng.Below(7)) {
      case 0:
        desk_.OnRelease(a, ended);
        break;
      case 1:
      case 2:
        static_cast<void>(desk_.OnReserve(now_, a));
        break;
      case 3:
      case 4:
        static_cast<void>(desk_.OnCall(now_, a, b));
        break;
      case 5:
        for (const auto id : desk_.TakeCalls(a)) {
          if (rng.Below(2) == 0) static_cast<void>(desk_.OnTake(now_, a, id));
        }
        break;
      default:
        desk_.OnDeadline(now_, ended);
    }
    desk_.CheckInvariants();
    const bool none_overdue = desk_.NextDeadline() > now_ || rng.Below(2) == 0;
    if (!none_overdue) desk_.OnDeadline(now_, ended);
  }
}

}  // namespace
}  // namespace shoal::fetch
