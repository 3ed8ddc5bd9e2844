#include "index/namespaces.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/rng.h"
#include "index/cookie.h"
#include "index/peer_index.h"
#include "index/registration_rows.h"

namespace shoal::index {
namespace {

TEST(NamespacesTest, PacksBlobsAndKeepsEveryName) {
  const std::string blob = BlobKey(Digest{});
  EXPECT_EQ(PackName(blob).size(), 33U);
  for (const auto& name :
       {blob, std::string("room/open"), std::string("blob/sha256:xyz"), std::string("blob/"),
        std::string("B"), std::string(32, 'x'), std::string(33, 'x'), std::string(255, 'y')}) {
    EXPECT_EQ(UnpackName(PackName(name)), name);
  }
  for (const std::string& packed : {std::string(), std::string("B"), std::string("Bshort"),
                                    std::string("T"), std::string("Ta b"), std::string("Xabc")}) {
    EXPECT_EQ(UnpackName(packed), "") << packed;
  }
}

TEST(NamespacesTest, ATextIsNoBlobThoughItsBytesBeTheSame) {
  Namespaces names(7);
  const std::string bytes(32, 'a');
  const auto text = names.FindOrAdd("T" + bytes);
  const auto blob = names.FindOrAdd("B" + bytes);
  EXPECT_NE(text, blob);
  EXPECT_EQ(names.Packed(text), "T" + bytes);
  EXPECT_EQ(names.Packed(blob), "B" + bytes);
}

// A naive twin beside the real one.
TEST(NamespacesTest, FindsWhatIsThereAndNothingElse) {
  Namespaces names(7);
  std::map<std::string, Handle> twin;
  Rng rng(5);
  for (int step = 0; step < 20'000; ++step) {
    const auto n = rng.Below(3000);
    std::string name = "T" + std::to_string(n);
    if (n % 3 == 0) name += std::string(40, 'z');
    if (rng.Below(2) == 0) {
      const auto handle = names.FindOrAdd(name);
      const auto [it, fresh] = twin.emplace(name, handle);
      ASSERT_EQ(it->second, handle);
    } else if (const auto it = twin.find(name); it != twin.end()) {
      names.Remove(it->second);
      twin.erase(it);
    }
    const auto it = twin.find(name);
    ASSERT_EQ(names.Find(name), it == twin.end() ? kNoHandle : it->second);
  }
  EXPECT_EQ(names.size(), twin.size());
  for (const auto& [name, handle] : twin) {
    ASSERT_EQ(names.Find(name), handle);
    ASSERT_EQ(names.Packed(handle), name);
  }
}

TEST(SlabTest, GivesFreeHandlesAgainAndPlacesAtAHandle) {
  Slab<int> slab;
  slab.AddAt(2, 12);
  EXPECT_EQ(slab.size(), 1U);
  std::set<Handle> given{slab.Add(1), slab.Add(2), slab.Add(3)};
  EXPECT_EQ(given, (std::set<Handle>{0, 1, 3}));
  EXPECT_EQ(slab[2], 12);
  slab.Remove(2);
  EXPECT_EQ(slab.Add(5), 2U);
  EXPECT_EQ(slab.size(), 4U);
}

TEST(CookieTest, OpensWithItsSecretAndItsNamespaceOnly) {
  CookieSecret secret{};
  CookieSecret other{};
  other[31] = std::byte{1};
  const Cookie cookie{123456789, 42};
  const auto text = SealCookie(cookie, "room/open", secret);
  EXPECT_LE(text.size(), kCookieBytesMax);
  EXPECT_EQ(OpenCookie(text, "room/open", secret), cookie);
  EXPECT_EQ(OpenCookie(text, "room/oper", secret), std::nullopt);
  EXPECT_EQ(OpenCookie(text, "", secret), std::nullopt);
  EXPECT_EQ(OpenCookie(text, "room/open", other), std::nullopt);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string forged = text;
    forged[i] = forged[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(OpenCookie(forged, "room/open", secret), std::nullopt) << i;
  }
}

TEST(RegistrationRowsTest, SurviveTheTable) {
  const PeerRow peer{70'000, PeerId{}, 1'790'000'000'000, 17, 5,
                     99,     20,       1'790'000'300'000, 3,  "{...}"};
  const auto row = ToRow(peer);
  const auto read = ReadPeerRow(row.key, *row.value);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->peer, peer.peer);
  EXPECT_EQ(read->sent_ms, peer.sent_ms);
  EXPECT_EQ(read->number, peer.number);
  EXPECT_EQ(read->sequence, peer.sequence);
  EXPECT_EQ(read->saying, peer.saying);
  EXPECT_EQ(read->expires_ms, peer.expires_ms);
  EXPECT_EQ(read->logged, peer.logged);
  EXPECT_EQ(read->owner, peer.owner);
  EXPECT_EQ(read->envelope, peer.envelope);
  const EntryRow entry{70'000, "Troom/open", 18, 19, {{0, 1'790'000'300}, {7, 1'790'000'400}}};
  const auto entry_row = ToRow(entry);
  const auto read_entry = ReadEntryRow(entry_row.key, *entry_row.value);
  ASSERT_TRUE(read_entry);
  EXPECT_EQ(read_entry->peer, entry.peer);
  EXPECT_EQ(read_entry->name, entry.name);
  EXPECT_EQ(read_entry->number, entry.number);
  EXPECT_EQ(read_entry->logged, entry.logged);
  ASSERT_EQ(read_entry->claims.size(), 2U);
  EXPECT_EQ(read_entry->claims[0].expires_s, 1'790'000'300U);
  EXPECT_EQ(read_entry->claims[1].owner, 7);
  const CopyRow copy{5, PeerId{}, 1'790'000'000'000, 12, 1'790'000'000'001, "https://a:7383"};
  const auto copy_row = ToRow(copy);
  const auto read_copy = ReadCopyRow(copy_row.key, *copy_row.value);
  ASSERT_TRUE(read_copy);
  EXPECT_EQ(read_copy->owner, copy.owner);
  EXPECT_EQ(read_copy->epoch, copy.epoch);
  EXPECT_EQ(read_copy->cursor, copy.cursor);
  EXPECT_EQ(read_copy->heard_ms, copy.heard_ms);
  EXPECT_EQ(read_copy->url, copy.url);
  const TombstoneRow tombstone{300, 1'790'000'300, PeerId{}, "Troom/open"};
  const auto tombstone_row = ToRow(tombstone);
  const auto read_tombstone = ReadTombstoneRow(tombstone_row.key, *tombstone_row.value);
  ASSERT_TRUE(read_tombstone);
  EXPECT_EQ(read_tombstone->number, tombstone.number);
  EXPECT_EQ(read_tombstone->expires_s, tombstone.expires_s);
  EXPECT_EQ(read_tombstone->name, tombstone.name);
  EXPECT_FALSE(ReadCopyRow("s", *copy_row.value));
  EXPECT_FALSE(ReadTombstoneRow(tombstone_row.key, "short"));
  EXPECT_FALSE(ReadPeerRow(row.key, "short"));
  EXPECT_FALSE(ReadEntryRow("r", *entry_row.value));
  // The rows of a peer lie together, and before those of the next.
  EXPECT_LT(EntryKey(255, "Tzzz"), EntryKey(256, "Taaa"));
}

}  // namespace
}  // namespace shoal::index
