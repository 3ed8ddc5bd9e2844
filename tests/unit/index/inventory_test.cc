#include "index/inventory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/rng.h"
#include "index/memory_catalog.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/numbered.h"
#include "tests/unit/rounds.h"

namespace shoal::index {
namespace {

BlobHolding Blob(int n, int size = 1, bool complete = true) {
  return {DigestNo(n), Bytes(size), complete};
}

TEST(InventoryTest, APageForWhoMaySeeSomeIsAsIfThereWereNoOthers) {
  Inventory inventory(7);
  const auto digest = [](char n) { return *ParseDigest("sha256:" + std::string(64, n)); };
  for (const char n : {'1', '2', '3', '4'}) {
    ASSERT_TRUE(inventory.SetBlob({digest(n), Bytes(1), true}));
  }
  const auto hides = [&](char n) {
    return [hidden = digest(n)](const Holding& holding) {
      return std::get<BlobHolding>(holding).digest != hidden;
    };
  };
  const auto first = inventory.Page(0, 0, 2, hides('1'));
  ASSERT_EQ(first.changes.size(), 2U);
  EXPECT_TRUE(first.more);
  EXPECT_EQ(std::get<BlobHolding>(first.changes[0].holding).digest, digest('2'));
  const auto rest = inventory.Page(7, first.cursor, 2, hides('1'));
  EXPECT_EQ(rest.changes.size(), 1U);
  EXPECT_FALSE(rest.more);
  EXPECT_EQ(rest.cursor, inventory.head());
  // Nor are tombstones told to those who never saw what is gone.
  ASSERT_TRUE(inventory.RemoveBlob(digest('1')));
  EXPECT_TRUE(inventory.Page(7, rest.cursor, 9, hides('1')).changes.empty());
  // Touched, it is told again to whoever may see it now.
  const auto head = inventory.head();
  inventory.Touch(digest('2'));
  inventory.Touch(digest('1'));
  inventory.CheckInvariants();
  const auto again = inventory.Page(7, head, 9);
  ASSERT_EQ(again.changes.size(), 1U);
  EXPECT_EQ(std::get<BlobHolding>(again.changes[0].holding).digest, digest('2'));
}

TEST(InventoryTest, APageLooksAtABoundedNumberOfHoldingsAndSaysThatThereIsMore) {
  Inventory inventory(7);
  for (int i = 0; i < kKeysScanned + 10; ++i) {
    Digest digest;
    digest.bytes[0] = static_cast<std::byte>(i & 255);
    digest.bytes[1] = static_cast<std::byte>(i >> 8);
    ASSERT_TRUE(inventory.SetBlob({digest, Bytes(1), true}));
  }
  const auto nothing = [](const Holding&) { return false; };
  const auto page = inventory.Page(7, 0, 9, nothing);
  EXPECT_TRUE(page.more && page.changes.empty());
  EXPECT_GT(page.cursor, 0U);
  const auto last = inventory.Page(7, page.cursor, 9, nothing);
  EXPECT_FALSE(last.more);
  EXPECT_EQ(last.cursor, inventory.head());
}

TEST(InventoryTest, ARestartedLogIsTakenAnew) {
  Inventory inventory(7);
  ASSERT_TRUE(inventory.SetImage({"a/b:1", Digest{}}));
  const auto before = inventory.Page(7, 0, kKeysPageMax);
  inventory.Restart(7);
  EXPECT_NE(inventory.epoch(), 7U);
  const auto page = inventory.Page(before.epoch, before.cursor, kKeysPageMax);
  EXPECT_TRUE(page.reset);
  EXPECT_EQ(page.changes.size(), 1U);
  inventory.Restart(0);
  EXPECT_EQ(inventory.epoch(), 1U);
  inventory.CheckInvariants();
}

TEST(InventoryTest, ReportsOnlyRealChanges) {
  Inventory inventory(7);
  EXPECT_TRUE(inventory.SetBlob(Blob(1, 10, false)));
  EXPECT_FALSE(inventory.SetBlob(Blob(1, 10, false)));
  EXPECT_TRUE(inventory.SetBlob(Blob(1, 10, true)));
  EXPECT_FALSE(inventory.RemoveBlob(DigestNo(2)));
  EXPECT_TRUE(inventory.RemoveBlob(DigestNo(1)));
  EXPECT_FALSE(inventory.RemoveBlob(DigestNo(1)));
  EXPECT_TRUE(inventory.SetImage({"r/a:1", DigestNo(1)}));
  EXPECT_FALSE(inventory.SetImage({"r/a:1", DigestNo(1)}));
  EXPECT_FALSE(inventory.RemoveImage("r/b:1"));
  EXPECT_TRUE(inventory.RemoveImage("r/a:1"));
  EXPECT_EQ(inventory.head(), 5U);
  EXPECT_EQ(inventory.FindBlob(DigestNo(1)), std::nullopt);
  EXPECT_EQ(inventory.FindImage("r/a:1"), std::nullopt);
  inventory.CheckInvariants();
}

TEST(InventoryTest, DoesNotTakeWhatItCouldNotTell) {
  Inventory inventory(7);
  EXPECT_FALSE(inventory.SetImage({"", DigestNo(1)}));
  EXPECT_FALSE(inventory.SetImage({"with space", DigestNo(1)}));
  EXPECT_FALSE(inventory.SetImage({"with\"quote", DigestNo(1)}));
  EXPECT_FALSE(inventory.SetImage({std::string(kImageNameBytesMax + 1, 'x'), DigestNo(1)}));
  EXPECT_FALSE(inventory.SetBlob({DigestNo(1), Bytes(-1), true}));
  EXPECT_FALSE(inventory.SetBlob({DigestNo(1), Bytes(kBlobBytesMax + 1), true}));
  EXPECT_EQ(inventory.head(), 0U);
}

TEST(InventoryTest, KeepsTheEpochWithinWhatJsonReadersTake) {
  EXPECT_EQ(Inventory(0).epoch(), 1U);
  EXPECT_LE(Inventory(~0ULL).epoch(), std::uint64_t{1} << 53);
}

TEST(InventoryTest, ListsBlobsPageByPage) {
  Inventory inventory(7);
  for (const int n : {3, 1, 2}) inventory.SetBlob(Blob(n));
  EXPECT_THAT(inventory.Blobs(std::nullopt, 2), testing::ElementsAre(Blob(1), Blob(2)));
  EXPECT_THAT(inventory.Blobs(DigestNo(2), 2), testing::ElementsAre(Blob(3)));
  EXPECT_EQ(inventory.blob_count(), 3U);
}

TEST(InventoryTest, TellsOnlyWhatCameAfterTheCursor) {
  Inventory inventory(7);
  inventory.SetBlob(Blob(1));
  inventory.SetBlob(Blob(2));
  const auto first = inventory.Page(7, 0, 100);
  EXPECT_EQ(first.changes.size(), 2U);
  EXPECT_EQ(first.cursor, 2U);
  EXPECT_FALSE(first.more);
  EXPECT_FALSE(first.reset);
  EXPECT_TRUE(inventory.Page(7, 2, 100).changes.empty());
  inventory.RemoveBlob(DigestNo(1));
  const auto second = inventory.Page(7, 2, 100);
  ASSERT_EQ(second.changes.size(), 1U);
  EXPECT_TRUE(second.changes[0].gone);
  EXPECT_EQ(second.cursor, 3U);
}

TEST(InventoryTest, CutsPagesAtTheLimitAndSaysSo) {
  Inventory inventory(7);
  for (int n = 0; n < 5; ++n) inventory.SetBlob(Blob(n));
  auto page = inventory.Page(7, 0, 2);
  EXPECT_EQ(page.changes.size(), 2U);
  EXPECT_TRUE(page.more);
  page = inventory.Page(7, page.cursor, 2);
  EXPECT_TRUE(page.more);
  page = inventory.Page(7, page.cursor, 2);
  EXPECT_EQ(page.changes.size(), 1U);
  EXPECT_FALSE(page.more);
  EXPECT_EQ(page.cursor, inventory.head());
  EXPECT_EQ(inventory.Page(7, 0, -5).changes.size(), 1U);
}

TEST(InventoryTest, BeginsAnewForAnotherEpochOrAFutureCursor) {
  Inventory inventory(7);
  inventory.SetBlob(Blob(1));
  inventory.SetBlob(Blob(2));
  inventory.RemoveBlob(DigestNo(2));
  for (const auto& page : {inventory.Page(6, 1, 100), inventory.Page(7, 99, 100)}) {
    EXPECT_TRUE(page.reset);
    ASSERT_EQ(page.changes.size(), 1U);  // no tombstone
    EXPECT_FALSE(page.changes[0].gone);
    EXPECT_EQ(page.cursor, 3U);
  }
}

TEST(InventoryTest, BeginsAnewForThoseWhoMissedForgottenTombstones) {
  Inventory inventory(7);
  inventory.SetBlob(Blob(60'000));
  const auto early = inventory.head();
  for (int n = 0; n <= static_cast<int>(kTombstonesMax); ++n) {
    inventory.SetBlob(Blob(n));
    inventory.RemoveBlob(DigestNo(n));
  }
  inventory.CheckInvariants();
  EXPECT_TRUE(inventory.Page(7, early, 10).reset);
  const auto late = inventory.head();
  inventory.SetBlob(Blob(1));
  const auto page = inventory.Page(7, late, 10);
  EXPECT_FALSE(page.reset);
  EXPECT_EQ(page.changes.size(), 1U);
}

TEST(InventoryTest, ASlowAskerComesToTheEndAfterTombstonesWereForgotten) {
  Inventory inventory(7);
  for (int n = 0; n < 3000; ++n) inventory.SetBlob(Blob(n));
  for (int n = 0; n <= static_cast<int>(kTombstonesMax); ++n) {
    inventory.SetBlob(Blob(20'000 + n));
    inventory.RemoveBlob(DigestNo(20'000 + n));
  }
  std::uint64_t cursor = 0;
  std::size_t seen = 0;
  int pages = 0;
  for (bool more = true; more; ++pages) {
    ASSERT_LT(pages, 1000);
    const auto page = inventory.Page(7, cursor, 1000);
    EXPECT_EQ(page.reset, pages == 0);
    for (const auto& change : page.changes) seen += change.gone ? 0 : 1;
    cursor = page.cursor;
    more = page.more;
  }
  EXPECT_EQ(seen, 3000U);
  EXPECT_EQ(cursor, inventory.head());
}

TEST(InventoryTest, PagesOfTheLongestNamesStayWithinTheMessageLimit) {
  Inventory inventory(~0ULL);
  for (int n = 0; n < kKeysPageMax; ++n) {
    auto name = std::to_string(n);
    name += std::string(kImageNameBytesMax - name.size(), 'x');
    ASSERT_TRUE(inventory.SetImage(
        {name, DigestNo(n), Bytes(kBlobBytesMax), std::string(kPlatformsBytesMax, 'x')}));
  }
  std::uint64_t cursor = 0;
  std::size_t seen = 0;
  for (bool more = true; more;) {
    const auto page = inventory.Page(inventory.epoch(), cursor, kKeysPageMax);
    const auto text = EncodeKeysPage(page);
    EXPECT_LE(text.size(), kKeysPageBytesMax);
    ASSERT_TRUE(DecodeKeysPage(text).ok());
    seen += page.changes.size();
    cursor = page.cursor;
    more = page.more;
  }
  EXPECT_EQ(seen, static_cast<std::size_t>(kKeysPageMax));
}

// Followers at different paces end with what a plain map holds.
TEST(InventoryTest, FollowersAgreeWithANaiveTwin) {
  Rng rng(11);
  const auto below = [&](int n) { return static_cast<int>(rng.Below(static_cast<unsigned>(n))); };
  Inventory inventory(7);
  std::map<Digest, BlobHolding> blobs;
  std::map<std::string, Digest> images;
  const PeerId peer{};
  std::vector<MemoryCatalog> followers(3, MemoryCatalog(peer));
  const auto ask = [&](MemoryCatalog& follower, int limit) {
    const auto held = follower.CursorOf(peer);
    auto page = DecodeKeysPage(EncodeKeysPage(inventory.Page(held.epoch, held.cursor, limit)));
    ASSERT_TRUE(page.ok());
    ASSERT_TRUE(follower.Apply(peer, *page).ok());
  };
  for (int step = 0; step < Rounds(60'000); ++step) {
    const int n = below(300);
    const std::string name = "r/" + std::to_string(n % 40);
    switch (below(5)) {
      case 0:
      case 1: {
        const auto blob = Blob(n, below(3), below(2) == 0);
        inventory.SetBlob(blob);
        blobs[blob.digest] = blob;
        break;
      }
      case 2:
        EXPECT_EQ(inventory.RemoveBlob(DigestNo(n)), blobs.erase(DigestNo(n)) != 0);
        break;
      case 3:
        inventory.SetImage({name, DigestNo(n)});
        images[name] = DigestNo(n);
        break;
      default:
        EXPECT_EQ(inventory.RemoveImage(name), images.erase(name) != 0);
    }
    if (below(20) == 0) ask(followers[0], 5);
    if (below(500) == 0) ask(followers[1], 100);
    if (step % 20'000 == 0) inventory.CheckInvariants();
  }
  inventory.CheckInvariants();
  EXPECT_EQ(inventory.blob_count(), blobs.size());
  EXPECT_EQ(inventory.Images().size(), images.size());
  for (auto& follower : followers) {
    for (int i = 0; i < 1000 && follower.CursorOf(peer).cursor != inventory.head(); ++i) {
      ask(follower, 7);
    }
    EXPECT_EQ(follower.BlobCountOf(peer), blobs.size());
    EXPECT_EQ(follower.Images("", 1000).size(), images.size());
    for (const auto& [digest, blob] : blobs) {
      const auto holders = follower.HoldersOf(digest);
      ASSERT_EQ(holders.size(), 1U);
      EXPECT_EQ(holders[0].size, blob.size);
      EXPECT_EQ(holders[0].complete, blob.complete);
    }
  }
}

KeysPage SamplePage() {
  KeysPage page{7411, 118, false, true, {}};
  page.changes.push_back({Blob(1, 31457280), false});
  page.changes.push_back({Blob(2, 1048576, false), false});
  page.changes.push_back({ImageHolding{"docker.io/library/nginx:latest", DigestNo(3)}, false});
  page.changes.push_back(
      {ImageHolding{"r/a:1", DigestNo(3), Bytes(77), "linux/amd64,linux/arm/v7"}, false});
  page.changes.push_back({Blob(4, 0), true});
  page.changes.push_back({ImageHolding{"docker.io/library/nginx:old", {}}, true});
  return page;
}

TEST(KeysPageTest, SurvivesTheWire) {
  const auto page = SamplePage();
  const auto decoded = DecodeKeysPage(EncodeKeysPage(page));
  ASSERT_TRUE(decoded.ok()) << decoded.error().text;
  EXPECT_EQ(decoded->epoch, page.epoch);
  EXPECT_EQ(decoded->cursor, page.cursor);
  EXPECT_EQ(decoded->reset, page.reset);
  EXPECT_EQ(decoded->more, page.more);
  ASSERT_EQ(decoded->changes.size(), page.changes.size());
  for (std::size_t i = 0; i < page.changes.size(); ++i) {
    EXPECT_EQ(decoded->changes[i].holding, page.changes[i].holding);
    EXPECT_EQ(decoded->changes[i].gone, page.changes[i].gone);
  }
}

std::string PageWith(const std::string& keys) {
  return R"({"epoch":1,"cursor":1,"reset":false,"more":false,"keys":[)" + keys + "]}";
}
const std::string kDigest = "sha256:" + std::string(64, 'a');

TEST(KeysPageTest, SkipsWhatItDoesNotKnow) {
  const auto page = DecodeKeysPage(PageWith(
      R"({"blob":"sha512:abcdef","size":1},{"wheel":"x"},{"image":"a","manifest":"sha512:ab"},{"blob":")" +
      kDigest + R"(","size":1,"colour":"red"})"));
  ASSERT_TRUE(page.ok()) << page.error().text;
  EXPECT_EQ(page->changes.size(), 1U);
}

TEST(KeysPageTest, RefusesMalformedPages) {
  const auto key = R"({"blob":")" + kDigest + R"(","size":)";
  for (const auto& text :
       {std::string(),
        std::string("[]"),
        std::string("null"),
        std::string("{}"),
        std::string(R"({"epoch":0,"cursor":1,"reset":false,"more":false,"keys":[]})"),
        std::string(R"({"epoch":1,"cursor":-1,"reset":false,"more":false,"keys":[]})"),
        std::string(R"({"epoch":1,"cursor":1e9,"reset":false,"more":false,"keys":[]})"),
        std::string(R"({"epoch":1,"cursor":1,"reset":0,"more":false,"keys":[]})"),
        std::string(R"({"epoch":1,"cursor":1,"reset":false,"keys":[]})"),
        std::string(R"({"epoch":1,"cursor":1,"reset":false,"more":false,"keys":{}})"),
        std::string(R"({"epoch":1,"cursor":1,"reset":false,"more":false})"),
        PageWith("1"),
        PageWith("[]"),
        PageWith("null"),
        PageWith(key + "-1}"),
        PageWith(key + "\"1\"}"),
        PageWith(key + "1.5}"),
        PageWith(key + "2000000000000000}"),
        PageWith(R"({"blob":")" + kDigest + R"("})"),
        PageWith(R"({"blob":"sha256:AA","size":1})"),
        PageWith(R"({"blob":7,"size":1})"),
        PageWith(R"({"blob":"","size":1})"),
        PageWith(key + R"(1,"gone":1})"),
        PageWith(key + R"(1,"partial":"yes"})")}) {
    const auto page = DecodeKeysPage(text);
    ASSERT_FALSE(page.ok()) << text;
    EXPECT_EQ(page.error().code, Code::kInvalid) << text;
  }
}

TEST(KeysPageTest, ABadImageLosesOnlyItself) {
  const auto manifest = R"("manifest":")" + kDigest + '"';
  for (const auto& bad :
       {std::string(R"({"image":"a"})"), R"({"image":"",)" + manifest + "}",
        R"({"image":"a b",)" + manifest + "}", R"({"image":7,)" + manifest + "}",
        R"({"image":")" + std::string(kImageNameBytesMax + 1, 'x') + R"(","gone":true})",
        std::string(R"({"image":"\u0000","gone":true})"),
        R"({"image":"a","gone":1,)" + manifest + "}", R"({"image":"a","size":-1,)" + manifest + "}",
        R"({"image":"a","size":"5",)" + manifest + "}",
        R"({"image":"a","platforms":["linux/amd64"],)" + manifest + "}",
        R"({"image":"a","platforms":"linux/AMD64",)" + manifest + "}",
        R"({"image":"a","platforms":"linux,,x",)" + manifest + "}",
        R"({"image":"a","platforms":")" + std::string(kPlatformsBytesMax + 1, 'x') + "\"," +
            manifest + "}"}) {
    const auto page = DecodeKeysPage(PageWith(bad + R"(,{"image":"r/b:1",)" + manifest +
                                              R"(,"size":5,"platforms":"linux/amd64"})"));
    ASSERT_TRUE(page.ok()) << bad << page.error().text;
    ASSERT_EQ(page->changes.size(), 1U) << bad;
    const auto& image = std::get<ImageHolding>(page->changes[0].holding);
    EXPECT_EQ(image.name, "r/b:1");
    EXPECT_EQ(image.size, Bytes(5));
    EXPECT_EQ(image.platforms, "linux/amd64");
  }
}

TEST(KeysPageTest, RefusesTooManyKeysAndTooManyBytes) {
  std::string keys;
  for (int i = 0; i <= kKeysPageMax; ++i) keys += std::string(i == 0 ? "" : ",") + "{}";
  EXPECT_EQ(DecodeKeysPage(PageWith(keys)).error().code, Code::kExhausted);
  EXPECT_EQ(DecodeKeysPage(std::string(kKeysPageBytesMax + 1, '[')).error().code, Code::kExhausted);
}

TEST(KeysPageTest, NeverCrashesOnMutatedPages) {
  const auto text = EncodeKeysPage(SamplePage());
  Rng rng(3);
  for (int i = 0; i < Rounds(30'000); ++i) {
    const auto page = DecodeKeysPage(Mutate(text, rng));
    if (!page) continue;
    EXPECT_LE(page->changes.size(), static_cast<std::size_t>(kKeysPageMax));
    EXPECT_TRUE(DecodeKeysPage(EncodeKeysPage(*page)).ok());
  }
}

}  // namespace
}  // namespace shoal::index
