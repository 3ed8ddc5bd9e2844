// What every Catalog keeps. MemoryCatalog and LmdbCatalog both pass it.
//
// To use it, write a Maker: default-made, with `Catalog& catalog()` that is empty, belongs to
// ContractSelf() and takes kContractKeysMax keys a peer; then INSTANTIATE_TYPED_TEST_SUITE_P.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "index/catalog.h"
#include "tests/unit/numbered.h"

namespace shoal::index {

inline constexpr std::size_t kContractKeysMax = 60;

// All catalogs under the contract belong to this peer.
inline PeerId ContractSelf() { return PeerNo(128); }

inline KeyChange HasBlob(int n, int size = 10, bool complete = true) {
  return {BlobHolding{DigestNo(n), Bytes(size), complete}, false};
}
inline KeyChange LostBlob(int n) { return {BlobHolding{DigestNo(n), Bytes(0), true}, true}; }
inline KeyChange HasImage(const std::string& name, int n) {
  return {ImageHolding{name, DigestNo(n)}, false};
}
inline KeyChange HasImage(const std::string& name, int n, int size, const std::string& platforms) {
  return {ImageHolding{name, DigestNo(n), Bytes(size), platforms}, false};
}
inline KeyChange LostImage(const std::string& name) { return {ImageHolding{name, {}}, true}; }
inline KeysPage PageOf(std::uint64_t cursor, std::vector<KeyChange> changes, bool reset = false) {
  return {7, cursor, reset, false, std::move(changes)};
}

template <class Maker>
class CatalogContract : public testing::Test {
 protected:
  Catalog& catalog() { return maker_.catalog(); }

  std::vector<int> PeersWith(int blob) {
    std::vector<int> out;
    for (const auto& holder : catalog().HoldersOf(DigestNo(blob))) {
      out.push_back(std::to_integer<int>(holder.peer.bytes[0]) +
                    256 * std::to_integer<int>(holder.peer.bytes[31]));
    }
    return out;
  }

 private:
  Maker maker_;
};

TYPED_TEST_SUITE_P(CatalogContract);

TYPED_TEST_P(CatalogContract, KnowsNothingAtFirst) {
  auto& catalog = this->catalog();
  EXPECT_EQ(catalog.CursorOf(PeerNo(1)).epoch, 0U);
  EXPECT_TRUE(catalog.HoldersOf(DigestNo(1)).empty());
  EXPECT_TRUE(catalog.Images("", 10).empty());
  EXPECT_TRUE(catalog.Peers().empty());
  EXPECT_EQ(catalog.BlobCountOf(PeerNo(1)), 0U);
  EXPECT_TRUE(catalog.Forget(PeerNo(1)).ok());
}

TYPED_TEST_P(CatalogContract, FollowsALogByIncrements) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(2, {HasBlob(1, 11), HasBlob(2, 22, false)})).ok());
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(4, {LostBlob(1), HasBlob(2, 22, true)})).ok());
  EXPECT_TRUE(catalog.HoldersOf(DigestNo(1)).empty());
  const auto holders = catalog.HoldersOf(DigestNo(2));
  ASSERT_EQ(holders.size(), 1U);
  EXPECT_EQ(holders[0].peer, PeerNo(1));
  EXPECT_EQ(holders[0].size, Bytes(22));
  EXPECT_TRUE(holders[0].complete);
  EXPECT_EQ(catalog.CursorOf(PeerNo(1)).cursor, 4U);
  EXPECT_EQ(catalog.CursorOf(PeerNo(1)).epoch, 7U);
  EXPECT_EQ(catalog.BlobCountOf(PeerNo(1)), 1U);
}

TYPED_TEST_P(CatalogContract, NamesCompleteHoldersFirstAndBeginsAtItself) {
  auto& catalog = this->catalog();
  for (const int peer : {10, 127, 128, 200}) {
    ASSERT_TRUE(catalog.Apply(PeerNo(peer), PageOf(1, {HasBlob(1)})).ok());
  }
  for (const int peer : {5, 250}) {
    ASSERT_TRUE(catalog.Apply(PeerNo(peer), PageOf(1, {HasBlob(1, 10, false)})).ok());
  }
  EXPECT_THAT(this->PeersWith(1), testing::ElementsAre(128, 200, 10, 127, 250, 5));
}

TYPED_TEST_P(CatalogContract, NamesNoMoreThanTheMaximumOfHolders) {
  auto& catalog = this->catalog();
  for (int peer = 0; peer < kHoldersMax * 2; ++peer) {
    ASSERT_TRUE(catalog.Apply(PeerNo(peer * 2), PageOf(1, {HasBlob(1)})).ok());
  }
  const auto peers = this->PeersWith(1);
  EXPECT_EQ(peers.size(), static_cast<std::size_t>(kHoldersMax));
  EXPECT_EQ(std::set<int>(peers.begin(), peers.end()).size(), peers.size());
}

TYPED_TEST_P(CatalogContract, ForgetsWhatItKnewOnReset) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(9, {HasBlob(1), HasImage("r/a:1", 1)})).ok());
  ASSERT_TRUE(catalog.Apply(PeerNo(2), PageOf(9, {HasBlob(1), HasImage("r/a:1", 1)})).ok());
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(3, {HasBlob(2)}, true)).ok());
  EXPECT_THAT(this->PeersWith(1), testing::ElementsAre(2));
  EXPECT_THAT(this->PeersWith(2), testing::ElementsAre(1));
  EXPECT_EQ(catalog.ImagesNamed("r/a:1").size(), 1U);
  EXPECT_EQ(catalog.CursorOf(PeerNo(1)).cursor, 3U);
}

TYPED_TEST_P(CatalogContract, ForgetsWhatItKnewOfAnotherEpoch) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(9, {HasBlob(1)})).ok());
  auto page = PageOf(1, {HasBlob(2)});
  page.epoch = 8;
  ASSERT_TRUE(catalog.Apply(PeerNo(1), page).ok());
  EXPECT_TRUE(this->PeersWith(1).empty());
  EXPECT_EQ(catalog.CursorOf(PeerNo(1)).epoch, 8U);
}

TYPED_TEST_P(CatalogContract, ForgetsAPeerAndNobodyElse) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(2, {HasBlob(1), HasImage("r/a:1", 1)})).ok());
  ASSERT_TRUE(catalog.Apply(PeerNo(2), PageOf(2, {HasBlob(1), HasImage("r/a:1", 1)})).ok());
  ASSERT_TRUE(catalog.Forget(PeerNo(1)).ok());
  EXPECT_THAT(this->PeersWith(1), testing::ElementsAre(2));
  ASSERT_EQ(catalog.ImagesNamed("r/a:1").size(), 1U);
  EXPECT_EQ(catalog.ImagesNamed("r/a:1")[0].peer, PeerNo(2));
  EXPECT_THAT(catalog.Peers(), testing::ElementsAre(PeerNo(2)));
  EXPECT_EQ(catalog.CursorOf(PeerNo(1)).epoch, 0U);
}

TYPED_TEST_P(CatalogContract, ListsImagesInNameOrderPageByPage) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog
                  .Apply(PeerNo(2), PageOf(3, {HasImage("r/b:1", 1), HasImage("r/a:1", 2),
                                               HasImage("r/a", 3)}))
                  .ok());
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(1, {HasImage("r/a:1", 4)})).ok());
  std::vector<std::string> seen;
  for (const auto& image : catalog.Images("", 100)) {
    seen.push_back(image.name + "@" + std::to_string(std::to_integer<int>(image.peer.bytes[0])));
  }
  EXPECT_THAT(seen, testing::ElementsAre("r/a@2", "r/a:1@1", "r/a:1@2", "r/b:1@2"));
  const auto rest = catalog.Images("r/a:1", 1);
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].name, "r/b:1");
  EXPECT_TRUE(catalog.Images("r/b:1", 10).empty());
  EXPECT_EQ(catalog.ImagesNamed("r/a").size(), 1U);
}

TYPED_TEST_P(CatalogContract, TakesTheLongestImageName) {
  auto& catalog = this->catalog();
  const std::string name(kImageNameBytesMax, 'x');
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(1, {HasImage(name, 1)})).ok());
  ASSERT_EQ(catalog.ImagesNamed(name).size(), 1U);
  EXPECT_EQ(catalog.ImagesNamed(name)[0].name, name);
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(2, {LostImage(name)})).ok());
  EXPECT_TRUE(catalog.ImagesNamed(name).empty());
}

TYPED_TEST_P(CatalogContract, IsAsBeforeWhenAPeerClaimsTooMuch) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(5, {HasBlob(1)})).ok());
  std::vector<KeyChange> many;
  for (int i = 0; i <= static_cast<int>(kContractKeysMax); ++i) many.push_back(HasBlob(i + 2));
  for (const bool reset : {false, true}) {
    const auto refused = catalog.Apply(PeerNo(1), PageOf(99, many, reset));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::kExhausted);
    EXPECT_THAT(this->PeersWith(1), testing::ElementsAre(1));
    EXPECT_TRUE(this->PeersWith(2).empty());
    EXPECT_EQ(catalog.CursorOf(PeerNo(1)).cursor, 5U);
    EXPECT_EQ(catalog.BlobCountOf(PeerNo(1)), 1U);
  }
}

TYPED_TEST_P(CatalogContract, CountsKeysThatComeAndGoInOnePage) {
  auto& catalog = this->catalog();
  std::vector<KeyChange> many;
  for (int i = 0; i < static_cast<int>(kContractKeysMax) * 2; ++i) {
    many.push_back(HasBlob(i));
    if (i % 2 == 0) many.push_back(LostBlob(i));
  }
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(999, many)).ok());
  EXPECT_EQ(catalog.BlobCountOf(PeerNo(1)), kContractKeysMax);
}

TYPED_TEST_P(CatalogContract, RefusesAPageThatWouldBeAskedForEver) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog.Apply(PeerNo(1), PageOf(5, {HasBlob(1)})).ok());
  auto page = PageOf(5, {HasBlob(2)});
  page.more = true;
  const auto refused = catalog.Apply(PeerNo(1), page);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  EXPECT_TRUE(this->PeersWith(2).empty());
}

TYPED_TEST_P(CatalogContract, KeepsWhatAPeerSaysOfItsImages) {
  auto& catalog = this->catalog();
  ASSERT_TRUE(catalog
                  .Apply(PeerNo(1),
                         PageOf(2, {HasImage("r/a:1", 1, 77, "linux/amd64"), HasImage("r/b:1", 2)}))
                  .ok());
  const auto images = catalog.Images("", 10);
  ASSERT_EQ(images.size(), 2U);
  EXPECT_EQ(images[0].size, Bytes(77));
  EXPECT_EQ(images[0].platforms, "linux/amd64");
  EXPECT_EQ(images[1].size, Bytes(0));
  EXPECT_EQ(images[1].platforms, "");
  EXPECT_EQ(catalog.ImagesNamed("r/a:1")[0].size, Bytes(77));
}

// Whoever counts what is told knows what Images says.
TYPED_TEST_P(CatalogContract, TellsEveryChangeOfAnImage) {
  auto& catalog = this->catalog();
  std::multiset<std::pair<std::string, Digest>> told;
  catalog.Watch([&](const std::vector<ImageChange>& changes) {
    for (const auto& change : changes) {
      if (change.before) {
        const auto it = told.find({change.name, *change.before});
        ASSERT_NE(it, told.end()) << change.name;
        told.erase(it);
      }
      if (change.after) told.emplace(change.name, change.after->digest);
    }
  });
  Rng rng(5);
  const auto below = [&](int n) { return static_cast<int>(rng.Below(static_cast<unsigned>(n))); };
  for (int step = 1; step <= 300; ++step) {
    const auto peer = PeerNo(below(4));
    if (below(15) == 0) {
      ASSERT_TRUE(catalog.Forget(peer).ok());
    } else {
      auto page = PageOf(static_cast<std::uint64_t>(step), {}, below(10) == 0);
      page.epoch = below(20) == 0 ? 8 : 7;
      for (int i = below(5); i > 0; --i) {
        const std::string name = "r/" + std::to_string(below(6));
        page.changes.push_back(below(3) == 0 ? LostImage(name) : HasImage(name, below(3)));
      }
      // Too many: nothing is taken, and nothing told.
      for (int i = below(12) == 0 ? 100 : 0; i > 0; --i) page.changes.push_back(HasBlob(i));
      const auto applied = catalog.Apply(peer, page);
      ASSERT_TRUE(applied.ok() || applied.error().code == Code::kExhausted);
    }
    std::multiset<std::pair<std::string, Digest>> held;
    catalog.EachImage([&](const auto& image) { held.emplace(image.name, image.digest); });
    ASSERT_EQ(told, held) << "after step " << step;
  }
}

// A naive twin: per peer, what it holds; everything else is worked out by looking at all of it.
TYPED_TEST_P(CatalogContract, AgreesWithANaiveTwin) {
  auto& catalog = this->catalog();
  struct Twin {
    std::map<int, std::pair<int, bool>> blobs;
    std::map<std::string, int> images;
  };
  std::map<int, Twin> twins;
  Rng rng(42);
  const auto below = [&](int n) { return static_cast<int>(rng.Below(static_cast<unsigned>(n))); };
  std::uint64_t cursor = 0;
  for (int step = 0; step < 400; ++step) {
    const int peer = below(6) * 50;
    if (below(20) == 0) {
      twins.erase(peer);
      ASSERT_TRUE(catalog.Forget(PeerNo(peer)).ok());
      continue;
    }
    auto page = PageOf(++cursor, {}, below(10) == 0);
    auto& twin = twins[peer];
    if (page.reset) twin = Twin{};
    for (int i = below(6); i > 0; --i) {
      const int n = below(12);
      const std::string name = "r/" + std::to_string(below(5));
      switch (below(4)) {
        case 0:
          page.changes.push_back(LostBlob(n));
          twin.blobs.erase(n);
          break;
        case 1:
          page.changes.push_back(HasImage(name, n));
          twin.images[name] = n;
          break;
        case 2:
          page.changes.push_back(LostImage(name));
          twin.images.erase(name);
          break;
        default:
          page.changes.push_back(HasBlob(n, step, step % 3 != 0));
          twin.blobs[n] = {step, step % 3 != 0};
      }
    }
    ASSERT_TRUE(catalog.Apply(PeerNo(peer), page).ok());

    EXPECT_EQ(catalog.Peers().size(), twins.size());
    std::size_t images = 0;
    for (const auto& [id, t] : twins) {
      EXPECT_EQ(catalog.BlobCountOf(PeerNo(id)), t.blobs.size());
      images += t.images.size();
    }
    EXPECT_EQ(catalog.Images("", 1000).size(), images);
    for (int n = 0; n < 12; ++n) {
      std::map<int, std::pair<int, bool>> expected;
      for (const auto& [id, t] : twins) {
        if (const auto it = t.blobs.find(n); it != t.blobs.end()) expected[id] = it->second;
      }
      std::map<int, std::pair<int, bool>> actual;
      for (const auto& holder : catalog.HoldersOf(DigestNo(n))) {
        actual[std::to_integer<int>(holder.peer.bytes[0])] = {static_cast<int>(holder.size.count()),
                                                              holder.complete};
      }
      ASSERT_EQ(actual, expected) << "blob " << n << " after step " << step;
    }
  }
}

REGISTER_TYPED_TEST_SUITE_P(CatalogContract, KnowsNothingAtFirst, FollowsALogByIncrements,
                            NamesCompleteHoldersFirstAndBeginsAtItself,
                            NamesNoMoreThanTheMaximumOfHolders, ForgetsWhatItKnewOnReset,
                            ForgetsWhatItKnewOfAnotherEpoch, ForgetsAPeerAndNobodyElse,
                            ListsImagesInNameOrderPageByPage, TakesTheLongestImageName,
                            IsAsBeforeWhenAPeerClaimsTooMuch, CountsKeysThatComeAndGoInOnePage,
                            RefusesAPageThatWouldBeAskedForEver, KeepsWhatAPeerSaysOfItsImages,
                            TellsEveryChangeOfAnImage, AgreesWithANaiveTwin);

}  // namespace shoal::index
