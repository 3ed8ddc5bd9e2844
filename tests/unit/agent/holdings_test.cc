#include "agent/holdings.h"

#include <gtest/gtest.h>

namespace shoal::agent {
namespace {

Digest DigestOf(unsigned char first) {
  Digest digest;
  digest.bytes[0] = std::byte{first};
  return digest;
}

class HoldingsTest : public testing::Test {
 protected:
  [[nodiscard]] std::string StateOf(const Digest& digest) const {
    const auto blob = holdings_.inventory().FindBlob(digest);
    return !blob ? "absent" : blob->complete ? "complete" : "partial";
  }

  int changes_ = 0;
  Holdings holdings_{1, [this] { ++changes_; }};
  const Digest a_ = DigestOf(1);
};

TEST_F(HoldingsTest, ABlobIsCompleteWhereverItLies) {
  holdings_.SetPartial(a_, Bytes(10));
  EXPECT_EQ(StateOf(a_), "partial");
  holdings_.SetContainerd({{{a_, Bytes(10)}}, {}});
  EXPECT_EQ(StateOf(a_), "complete");
  holdings_.SetStored(a_, Bytes(10));
  holdings_.SetContainerd({});
  EXPECT_EQ(StateOf(a_), "complete");
  holdings_.RemoveStored(a_);
  EXPECT_EQ(StateOf(a_), "absent");
}

TEST_F(HoldingsTest, TellsOnlyOfChanges) {
  holdings_.SetStored(a_, Bytes(10));
  const int before = changes_;
  holdings_.SetStored(a_, Bytes(10));
  holdings_.SetPartial(a_, Bytes(10));
  holdings_.SetContainerd({{{a_, Bytes(10)}}, {}});
  EXPECT_EQ(changes_, before);
}

TEST_F(HoldingsTest, AnEndedTransferLeavesItsPiecesOrNothing) {
  holdings_.SetPartial(a_, Bytes(10));
  holdings_.EndPartial(a_, true);
  EXPECT_EQ(StateOf(a_), "partial");
  holdings_.EndPartial(a_, false);
  EXPECT_EQ(StateOf(a_), "absent");
}

TEST_F(HoldingsTest, ContainerdsNameWinsAndATagComesBackAfterIt) {
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetContainerd({{}, {{"r/x:1", DigestOf(2)}}});
  EXPECT_EQ(holdings_.inventory().FindImage("r/x:1")->digest, DigestOf(2));
  holdings_.SetContainerd({});
  EXPECT_EQ(holdings_.inventory().FindImage("r/x:1")->digest, a_);
}

TEST_F(HoldingsTest, AForgottenTagIsGoneUnlessContainerdHoldsIt) {
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetTag("r/y:1", a_);
  holdings_.SetContainerd({{}, {{"r/y:1", a_}}});
  holdings_.ForgetTag("r/x:1");
  holdings_.ForgetTag("r/y:1");
  holdings_.ForgetTag("r/never:1");
  EXPECT_FALSE(holdings_.inventory().FindImage("r/x:1"));
  EXPECT_TRUE(holdings_.inventory().FindImage("r/y:1"));
}

TEST_F(HoldingsTest, ACorruptFileIsNotOffered) {
  holdings_.SetContainerd({{{a_, Bytes(10)}}, {}});
  holdings_.Drop(a_);
  EXPECT_EQ(StateOf(a_), "absent");
}

}  // namespace
}  // namespace shoal::agent
