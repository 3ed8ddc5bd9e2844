#include "agent/replicator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "index/memory_catalog.h"
#include "tests/unit/numbered.h"
#include "tests/unit/support/test_loop.h"

namespace shoal::agent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr const char* kWeb = "reg.test/prod/web:v1";

class ReplicatorTest : public ::testing::Test {
 protected:
  ReplicatorTest() : inventory_(1) { Make({"reg.test/prod/*"}); }

  void Make(const std::vector<std::string>& images) {
    replicator_ = std::make_unique<Replicator>(
        std::vector<ReplicateEntry>{{images, "all"}},
        Replicator::Ports{loop_, catalog_, inventory_,
                          [this](const std::string& image) { pulled_.push_back(image); }});
  }
  // A peer is known to hold these images.
  void Know(const std::vector<std::pair<std::string, int>>& images) {
    loop_.Ask([&] {
      index::KeysPage page;
      page.epoch = 1;
      page.cursor = ++cursor_;
      for (const auto& [name, digest] : images) {
        page.changes.push_back({index::ImageHolding{name, DigestNo(digest)}, false});
      }
      PeerId peer;
      peer.bytes[0] = std::byte{9};
      EXPECT_TRUE(catalog_.Apply(peer, page).ok());
      return 0;
    });
  }
  void Tell() {
    loop_.Ask([&] {
      replicator_->OnCatalogChanged();
      return 0;
    });
  }
  // What was asked to be pulled since the last call.
  std::vector<std::string> Pulled(Duration after = std::chrono::seconds(1)) {
    loop_.Advance(after);
    return loop_.Ask([&] { return std::exchange(pulled_, {}); });
  }

  test::TestLoop loop_;
  index::MemoryCatalog catalog_{PeerId{}};
  index::Inventory inventory_;
  std::uint64_t cursor_ = 0;
  std::vector<std::string> pulled_;
  std::unique_ptr<Replicator> replicator_;
};

TEST_F(ReplicatorTest, AStarStandsForAnything) {
  EXPECT_TRUE(replicator_->Wants(kWeb));
  EXPECT_TRUE(replicator_->Wants("reg.test/prod/a/b/c@sha256:1"));
  EXPECT_FALSE(replicator_->Wants("reg.test/dev/web:v1"));
  EXPECT_FALSE(replicator_->Wants("other.test/reg.test/prod/web:v1"));
}

TEST_F(ReplicatorTest, PullsWhatAPeerHoldsAndIsWanted) {
  Know({{kWeb, 1}, {"reg.test/prod/api:v1", 2}, {"reg.test/dev/web:v1", 3}});
  Tell();
  EXPECT_THAT(Pulled(), UnorderedElementsAre(kWeb, "reg.test/prod/api:v1"));
}

TEST_F(ReplicatorTest, LooksOnceForManyChanges) {
  Know({{kWeb, 1}});
  Tell();
  Tell();
  EXPECT_THAT(Pulled(std::chrono::milliseconds(999)), IsEmpty());
  EXPECT_THAT(Pulled(std::chrono::milliseconds(1)), ElementsAre(kWeb));
}

TEST_F(ReplicatorTest, DoesNotPullWhatIsHere) {
  loop_.Ask([&] { return inventory_.SetImage({kWeb, DigestNo(1)}); });
  Know({{kWeb, 1}});
  Tell();
  EXPECT_THAT(Pulled(), IsEmpty());
  // A tag that points elsewhere by now is pulled anew.
  Know({{kWeb, 2}});
  Tell();
  EXPECT_THAT(Pulled(), ElementsAre(kWeb));
}

TEST_F(ReplicatorTest, TriesAgainWhatDidNotComeButNotAtOnce) {
  Know({{kWeb, 1}});
  Tell();
  EXPECT_THAT(Pulled(), SizeIs(1));
  Tell();
  EXPECT_THAT(Pulled(), IsEmpty());
  EXPECT_THAT(Pulled(std::chrono::minutes(1)), IsEmpty());
  Tell();
  EXPECT_THAT(Pulled(), ElementsAre(kWeb));
}

TEST_F(ReplicatorTest, WantsNothingUnlessToldTo) {
  Make({});
  Know({{kWeb, 1}});
  Tell();
  EXPECT_THAT(Pulled(), IsEmpty());
}

}  // namespace
}  // namespace shoal::agent
