#include "agent/holdings.h"
#include "tests/unit/numbered.h"

#include <gtest/gtest.h>

namespace shoal::agent {
namespace {

class HoldingsTest : public testing::Test {
 protected:
  [[nodiscard]] std::optional<Digest> ImageOf(const std::string& name) const {
    const auto image = holdings_.inventory().FindImage(name);
    return image ? std::optional(image->digest) : std::nullopt;
  }
  [[nodiscard]] std::string StateOf(const Digest& digest) const {
    const auto blob = holdings_.inventory().FindBlob(digest);
    return !blob ? "absent" : blob->complete ? "complete" : "partial";
  }

  int changes_ = 0;
  Holdings holdings_{1,
                     {[this] { ++changes_; },
                      [this](const index::ImageChange& change) { told_.push_back(change); },
                      [this](const std::string& name, const std::optional<Digest>& digest) {
                        kept_.emplace_back(name, digest);
                      }},
                     2};
  std::vector<index::ImageChange> told_;
  std::vector<std::pair<std::string, std::optional<Digest>>> kept_;
  const Digest a_ = DigestNo(1);
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

TEST_F(HoldingsTest, SaysOfAnImageWhatWasFoundOut) {
  holdings_.SetStored(a_, Bytes(10));
  holdings_.SetTag("r/x:1", a_);
  EXPECT_EQ(holdings_.inventory().FindImage("r/x:1")->platforms, "");
  const int before = changes_;
  holdings_.SetFacts(a_, {Bytes(7), "linux/amd64"});
  EXPECT_EQ(changes_, before + 1);
  EXPECT_EQ(holdings_.inventory().FindImage("r/x:1")->size, Bytes(7));
  holdings_.SetTag("r/y:1", a_);  // another name of the same image
  EXPECT_EQ(holdings_.inventory().FindImage("r/y:1")->platforms, "linux/amd64");
  holdings_.ForgetTag("r/x:1");
  ASSERT_EQ(told_.size(), 4U);
  EXPECT_FALSE(told_[0].before);
  EXPECT_EQ(told_[0].after->platforms, "");
  EXPECT_EQ(told_[1].before, a_);
  EXPECT_EQ(told_[1].after->platforms, "linux/amd64");
  EXPECT_EQ(told_[3].name, "r/x:1");
  EXPECT_EQ(told_[3].before, a_);
  EXPECT_FALSE(told_[3].after);
}

TEST_F(HoldingsTest, AnEndedTransferLeavesItsPiecesOrNothing) {
  holdings_.SetPartial(a_, Bytes(10));
  holdings_.EndPartial(a_, true);
  EXPECT_EQ(StateOf(a_), "partial");
  holdings_.EndPartial(a_, false);
  EXPECT_EQ(StateOf(a_), "absent");
}

TEST_F(HoldingsTest, ContainerdsNameWinsAndATagComesBackAfterIt) {
  holdings_.SetStored(a_, Bytes(10));
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetContainerd({{}, {{"r/x:1", DigestNo(2)}}});
  EXPECT_EQ(holdings_.inventory().FindImage("r/x:1")->digest, DigestNo(2));
  holdings_.SetContainerd({});
  EXPECT_EQ(holdings_.inventory().FindImage("r/x:1")->digest, a_);
}

TEST_F(HoldingsTest, AForgottenTagIsGoneUnlessContainerdHoldsIt) {
  holdings_.SetStored(a_, Bytes(10));
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetTag("r/y:1", a_);
  holdings_.SetContainerd({{}, {{"r/y:1", a_}}});
  holdings_.ForgetTag("r/x:1");
  holdings_.ForgetTag("r/y:1");
  holdings_.ForgetTag("r/never:1");
  EXPECT_FALSE(holdings_.inventory().FindImage("r/x:1"));
  EXPECT_TRUE(holdings_.inventory().FindImage("r/y:1"));
}

TEST_F(HoldingsTest, ATagIsAnImageAsLongAsItsManifestIsHere) {
  holdings_.SetTag("r/x:1", a_);  // a HEAD, before the runtime asks for the manifest
  EXPECT_FALSE(ImageOf("r/x:1"));
  holdings_.SetPartial(a_, Bytes(10));
  EXPECT_FALSE(ImageOf("r/x:1"));
  holdings_.SetStored(a_, Bytes(10));
  EXPECT_EQ(ImageOf("r/x:1"), a_);
  holdings_.SetContainerd({{{a_, Bytes(10)}}, {}});
  holdings_.RemoveStored(a_);
  EXPECT_EQ(ImageOf("r/x:1"), a_);
  holdings_.SetContainerd({});
  EXPECT_FALSE(ImageOf("r/x:1"));
  holdings_.SetStored(a_, Bytes(10));
  EXPECT_EQ(ImageOf("r/x:1"), a_);
  holdings_.Drop(a_);
  EXPECT_FALSE(ImageOf("r/x:1"));
}

TEST_F(HoldingsTest, ATagThatMovedNamesTheNewManifestOnly) {
  holdings_.SetStored(a_, Bytes(10));
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetTag("r/x:1", DigestNo(2));
  EXPECT_FALSE(ImageOf("r/x:1"));
  holdings_.SetStored(DigestNo(2), Bytes(10));
  EXPECT_EQ(ImageOf("r/x:1"), DigestNo(2));
}

TEST_F(HoldingsTest, WhatTagsMeanIsKeptForTheNextRun) {
  using Kept = std::vector<std::pair<std::string, std::optional<Digest>>>;
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetTag("r/x:1", DigestNo(2));
  holdings_.ForgetTag("r/x:1");
  holdings_.ForgetTag("r/never:1");
  EXPECT_EQ(kept_, (Kept{{"r/x:1", a_}, {"r/x:1", DigestNo(2)}, {"r/x:1", std::nullopt}}));

  Holdings next(2, {[] {}, {}, {}});
  next.SetStored(a_, Bytes(10));
  next.LoadTag("r/x:1", a_);
  ASSERT_TRUE(next.inventory().FindImage("r/x:1"));
}

TEST_F(HoldingsTest, TheTagSetLongestAgoGoesFirst) {
  holdings_.SetStored(a_, Bytes(10));
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetTag("r/y:1", a_);
  holdings_.SetTag("r/x:1", a_);
  holdings_.SetTag("r/z:1", a_);
  EXPECT_FALSE(ImageOf("r/y:1"));
  EXPECT_EQ(ImageOf("r/x:1"), a_);
  EXPECT_EQ(ImageOf("r/z:1"), a_);
  EXPECT_EQ(kept_.back(), std::pair(std::string("r/y:1"), std::optional<Digest>()));
}

TEST_F(HoldingsTest, ACorruptFileIsNotOffered) {
  holdings_.SetContainerd({{{a_, Bytes(10)}}, {}});
  holdings_.Drop(a_);
  EXPECT_EQ(StateOf(a_), "absent");
}

}  // namespace
}  // namespace shoal::agent
