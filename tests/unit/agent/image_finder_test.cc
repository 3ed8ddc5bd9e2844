#include "agent/image_finder.h"

#include <gtest/gtest.h>

#include "agent/search_reply.h"
#include "index/memory_catalog.h"
#include "tests/unit/numbered.h"

namespace shoal::agent {
namespace {

index::KeysPage Page(std::uint64_t cursor, std::vector<index::KeyChange> changes) {
  return {7, cursor, false, false, std::move(changes)};
}
index::KeyChange Has(const std::string& name, int n, const std::string& platforms = "") {
  return {index::ImageHolding{name, DigestNo(n), Bytes(5), platforms}, false};
}

class ImageFinderTest : public testing::Test {
 protected:
  // "name holders" of each hit.
  std::vector<std::string> Find(ImageFinder& finder, const std::string& text) {
    const auto page = finder.Find(text, "", 100);
    EXPECT_TRUE(page.ok());
    std::vector<std::string> out;
    for (const auto& hit : page->hits) {
      out.push_back(hit.image.name + " " + std::to_string(hit.peers) + (hit.here ? " here" : ""));
    }
    return out;
  }
  using Names = std::vector<std::string>;

  index::MemoryCatalog catalog_{PeerId{}};
  ImageFinder finder_{7, [] { return Time(std::chrono::hours(1)); }};
};

TEST_F(ImageFinderTest, FollowsTheCatalogAndOurselves) {
  catalog_.Watch([this](const auto& changes) { finder_.OnPeers(changes); });
  ASSERT_TRUE(catalog_.Apply(PeerNo(1), Page(1, {Has("r/app:1", 1)})).ok());
  ASSERT_TRUE(catalog_.Apply(PeerNo(2), Page(1, {Has("r/app:1", 1), Has("r/app:2", 2)})).ok());
  EXPECT_EQ(Find(finder_, "app"), (Names{"r/app:1 2", "r/app:2 1"}));
  finder_.OnOurs({"r/app:2", std::nullopt, index::ImageHolding{"r/app:2", DigestNo(2)}});
  EXPECT_EQ(Find(finder_, "app tag:2"), (Names{"r/app:2 1 here"}));
  // The tag moves at one of them: two images of one name.
  ASSERT_TRUE(catalog_.Apply(PeerNo(1), Page(2, {Has("r/app:1", 3)})).ok());
  EXPECT_EQ(Find(finder_, "app tag:1"), (Names{"r/app:1 1", "r/app:1 1"}));
  ASSERT_TRUE(catalog_.Forget(PeerNo(2)).ok());
  finder_.OnOurs({"r/app:2", DigestNo(2), std::nullopt});
  EXPECT_EQ(Find(finder_, "app"), (Names{"r/app:1 1"}));
  ASSERT_TRUE(catalog_.Apply(PeerNo(1), Page(3, {Has("r/app:1", 3, "linux/arm64")})).ok());
  EXPECT_EQ(Find(finder_, "arch:arm64"), (Names{"r/app:1 1"}));
  ASSERT_TRUE(catalog_.Forget(PeerNo(1)).ok());
  EXPECT_EQ(finder_.size(), 0U);
}

TEST_F(ImageFinderTest, WhatItLoadsGoesWithItsHoldersLikeWhatItHeard) {
  for (int peer = 1; peer <= 3; ++peer) {
    std::vector<index::KeyChange> changes;
    for (int n = 0; n < 250; ++n) changes.push_back(Has("r/app:" + std::to_string(n), n % 2));
    ASSERT_TRUE(catalog_.Apply(PeerNo(peer), Page(1, changes)).ok());
  }
  finder_.Load(catalog_);
  catalog_.Watch([this](const auto& changes) { finder_.OnPeers(changes); });
  EXPECT_EQ(finder_.size(), 250U);
  EXPECT_EQ(Find(finder_, "tag:17"), (Names{"r/app:17 3"}));
  for (int peer = 1; peer <= 3; ++peer) ASSERT_TRUE(catalog_.Forget(PeerNo(peer)).ok());
  EXPECT_EQ(finder_.size(), 0U);
}

TEST_F(ImageFinderTest, AnswersRequestsAndRefusesWrongOnes) {
  finder_.OnOurs(
      {"r/app:1", std::nullopt,
       index::ImageHolding{"r/app:1", DigestNo(1), Bytes(5), "linux/amd64,linux/arm64"}});
  const auto ask = [&](std::map<std::string, std::string> query) {
    AdminRequest request;
    request.query = std::move(query);
    return SearchReply(finder_, request);
  };
  const auto reply = ask({{"q", "app"}});
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.body.find(R"("platforms":["linux/amd64","linux/arm64"])"), std::string::npos)
      << reply.body;
  EXPECT_NE(reply.body.find(R"("match":"exact")"), std::string::npos) << reply.body;
  EXPECT_EQ(ask({}).status, 400);
  EXPECT_EQ(ask({{"q", "app"}, {"limit", "0"}}).status, 400);
  EXPECT_EQ(ask({{"q", "app"}, {"limit", "1001"}}).status, 400);
  EXPECT_EQ(ask({{"q", "app"}, {"limit", "x"}}).status, 400);
  EXPECT_EQ(ask({{"q", "app"}, {"after", "x"}}).status, 400);
}

}  // namespace
}  // namespace shoal::agent
