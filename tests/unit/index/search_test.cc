#include "index/search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/rng.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/rounds.h"

namespace shoal::index {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using Whose = ImageSearch::Whose;

Digest RandomDigest(std::uint64_t n) {
  Digest digest;
  for (std::size_t i = 0; i < 8; ++i) {
    digest.bytes[i] = static_cast<std::byte>(Mix(n) >> (8 * i) & 0xff);
  }
  return digest;
}
Time Second(int second) { return Time(std::chrono::seconds(second)); }

class SearchTest : public testing::Test {
 protected:
  void Add(const std::string& name, int peers = 1, int second = 0) {
    for (int i = 0; i < peers; ++i) {
      search_.Add(Second(second), {name, RandomDigest(1), Bytes(0), ""}, Whose::kPeer);
    }
  }
  std::vector<std::string> Find(const std::string& text) {
    const auto query = ParseSearch(text);
    EXPECT_TRUE(query.ok()) << text;
    std::vector<std::string> names;
    const auto page = search_.Find(*query, "", 100, {});
    for (const auto& hit : page->hits) {
      names.push_back(hit.image.name);
    }
    return names;
  }
  ImageSearch search_{7};
};

TEST_F(SearchTest, FindsByWordsAndTheirBeginnings) {
  Add("docker.io/library/nginx:1.25");
  Add("reg.example:5000/team/web-nginx-proxy:v2");
  Add("reg.example:5000/team/enginx:v1");
  EXPECT_THAT(Find("nginx"), ElementsAre("docker.io/library/nginx:1.25",
                                         "reg.example:5000/team/web-nginx-proxy:v2"));
  EXPECT_THAT(Find("NGI"), ElementsAre("docker.io/library/nginx:1.25",
                                       "reg.example:5000/team/web-nginx-proxy:v2"));
  EXPECT_THAT(Find("nginx v2"), ElementsAre("reg.example:5000/team/web-nginx-proxy:v2"));
  EXPECT_THAT(Find("example:5000/team/e"), ElementsAre("reg.example:5000/team/enginx:v1"));
  EXPECT_THAT(Find("inx"), IsEmpty());
}

TEST_F(SearchTest, FindsByPatternsOfTheWholeName) {
  Add("reg/team/a:v2");
  Add("reg/team/b:v2.1");
  Add("reg/team/b:v1");
  Add("reg/other/a:v2");
  EXPECT_THAT(Find("reg/team/*:v2*"), UnorderedElementsAre("reg/team/a:v2", "reg/team/b:v2.1"));
  EXPECT_THAT(Find("*/a:v?"), UnorderedElementsAre("reg/team/a:v2", "reg/other/a:v2"));
  EXPECT_THAT(Find("*eam*"), testing::SizeIs(3));
  EXPECT_THAT(Find("team*"), IsEmpty());
  EXPECT_THAT(Find("tag:v2"), UnorderedElementsAre("reg/team/a:v2", "reg/other/a:v2"));
  EXPECT_THAT(Find("tag:v2* team"), UnorderedElementsAre("reg/team/a:v2", "reg/team/b:v2.1"));
}

TEST_F(SearchTest, FindsByDigestPlatformAndSize) {
  search_.Add(Second(0), {"r/a:1", RandomDigest(1), Bytes(100 << 20), "linux/amd64"}, Whose::kPeer);
  search_.Add(Second(0), {"r/b:1", RandomDigest(2), Bytes(3LL << 30), "linux/amd64,linux/arm64"},
              Whose::kPeer);
  search_.Add(Second(0), {"r/c:1", RandomDigest(3), Bytes(0), ""}, Whose::kPeer);
  EXPECT_THAT(Find(ToString(RandomDigest(2))), ElementsAre("r/b:1"));
  EXPECT_THAT(Find("sha256:" + RandomDigest(3).Hex().substr(0, 7)), ElementsAre("r/c:1"));
  EXPECT_THAT(Find("arch:amd64"), UnorderedElementsAre("r/a:1", "r/b:1"));
  EXPECT_THAT(Find("platform:linux/arm64"), ElementsAre("r/b:1"));
  EXPECT_THAT(Find("size:>1GiB"), ElementsAre("r/b:1"));
  EXPECT_THAT(Find("r size:<1GiB"), ElementsAre("r/a:1"));
}

TEST_F(SearchTest, RanksExactBeforePrefixBeforeWordAndThenByHolders) {
  Add("r/team/nginx-exporter:1", 9);
  Add("r/team/my-nginx:1", 9);
  Add("r/x/nginx:1", 1);
  Add("r/y/nginx:1", 2);
  Add("nginx", 1, 5);
  EXPECT_THAT(Find("nginx"), ElementsAre("r/y/nginx:1", "nginx", "r/x/nginx:1",
                                         "r/team/nginx-exporter:1", "r/team/my-nginx:1"));
  EXPECT_THAT(Find("x/nginx:1"), ElementsAre("r/x/nginx:1"));
}

TEST_F(SearchTest, CountsHoldersAndForgetsWithTheLast) {
  const ImageHolding image{"r/a:1", RandomDigest(1), Bytes(0), ""};
  search_.Add(Second(0), image, Whose::kPeer);
  search_.Add(Second(0), image, Whose::kPeer);
  search_.Add(Second(0), image, Whose::kOurs);
  const auto page = search_.Find(*ParseSearch("a"), "", 10, {});
  const auto& hits = page->hits;
  ASSERT_EQ(hits.size(), 1U);
  EXPECT_EQ(hits[0].peers, 2U);
  EXPECT_TRUE(hits[0].here);
  search_.Remove("r/a:1", RandomDigest(1), Whose::kPeer);
  search_.Remove("r/a:1", RandomDigest(1), Whose::kOurs);
  EXPECT_EQ(Find("a").size(), 1U);
  search_.Remove("r/a:1", RandomDigest(1), Whose::kPeer);
  EXPECT_THAT(Find("a"), IsEmpty());
  search_.Remove("r/a:1", RandomDigest(1), Whose::kPeer);  // nothing is there to remove
  EXPECT_EQ(search_.size(), 0U);
  EXPECT_EQ(search_.term_count(), 0U);
  search_.CheckInvariants();
}

TEST_F(SearchTest, TakesNoMoreThanItsMaximum) {
  ImageSearch small(7, 2);
  for (int i = 0; i < 4; ++i) {
    small.Add(Second(0), {"r/a:" + std::to_string(i), RandomDigest(1), Bytes(0), ""}, Whose::kPeer);
  }
  EXPECT_EQ(small.size(), 2U);
  small.Remove("r/a:3", RandomDigest(1), Whose::kPeer);
  EXPECT_EQ(small.size(), 2U);
}

TEST_F(SearchTest, APageGoesOnWhereTheLastEndedWhateverCameBetween) {
  for (int i = 0; i < 10; ++i) Add("r/app:" + std::to_string(i), 10 - i);
  const auto query = *ParseSearch("app");
  const auto first = *search_.Find(query, "", 3, {});
  ASSERT_EQ(first.hits.size(), 3U);
  EXPECT_EQ(first.hits[2].image.name, "r/app:2");
  Add("r/app:new", 9);  // before the cursor
  search_.Remove("r/app:2", RandomDigest(1), Whose::kPeer);
  for (int i = 0; i < 8; ++i) search_.Remove("r/app:2", RandomDigest(1), Whose::kPeer);
  const auto second = *search_.Find(query, first.next, 3, {});
  ASSERT_EQ(second.hits.size(), 3U);
  EXPECT_EQ(second.hits[0].image.name, "r/app:3");
  const auto last = *search_.Find(query, second.next, 100, {});
  EXPECT_EQ(last.hits.size(), 4U);
  EXPECT_EQ(last.next, "");
}

TEST_F(SearchTest, SaysThatItIsNotWholeWhenStoppedOrOutOfSteps) {
  for (int i = 0; i < 20'000; ++i) Add("r/app" + std::to_string(i) + ":1");
  const auto query = *ParseSearch("app size:>1GiB");
  EXPECT_TRUE(search_.Find(query, "", 5, {})->whole);
  EXPECT_FALSE(search_.Find(query, "", 5, {.steps = 100, .stop = nullptr})->whole);
  int asked = 0;
  const auto page = search_.Find(query, "", 5, {.stop = [&] { return ++asked == 2; }});
  EXPECT_FALSE(page->whole);
  EXPECT_EQ(asked, 2);
}

TEST_F(SearchTest, RefusesWhatIsNoQueryOrCursor) {
  for (const auto* text : {"", "   ", "size:5GiB", "size:>", "size:>lots", "sha256:xyz", "arch:"}) {
    EXPECT_FALSE(ParseSearch(text).ok()) << text;
  }
  EXPECT_EQ(ParseSearch(std::string(kSearchBytesMax + 1, 'a')).error().code, Code::kExhausted);
  EXPECT_EQ(ParseSearch("a b c d e f g h i").error().code, Code::kExhausted);
  for (const auto* cursor : {"x", "1.2.3", "9.1.1.AAAA", "0.1.1.", "-1.1.1.AAAA", "0.1.1.!"}) {
    EXPECT_FALSE(search_.Find(*ParseSearch("a"), cursor, 5, {}).ok()) << cursor;
  }
}

// What the rules of search.h and search_query.h say, written down once more and plainly.
class NaiveSearch {
 public:
  struct Row {
    ImageHolding image;
    std::uint32_t peers = 0;
    bool here = false;
    int since = 0;
  };
  std::map<std::pair<std::string, Digest>, Row> rows;

  static bool IsWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

  static bool Like(const std::string& text, const std::string& pattern) {
    if (pattern.empty()) return text.empty();
    if (pattern[0] == '*') {
      for (std::size_t i = 0; i <= text.size(); ++i) {
        if (Like(text.substr(i), pattern.substr(1))) return true;
      }
      return false;
    }
    return !text.empty() && (pattern[0] == '?' || pattern[0] == text[0]) &&
           Like(text.substr(1), pattern.substr(1));
  }

  // 0 exact to 3 pattern; -1 no.
  static int RankOfRow(const std::vector<std::string>& words, const Row& row) {
    std::string name = row.image.name;
    for (auto& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    std::string repository = name.substr(0, name.find('@'));
    const auto slash = repository.rfind('/');
    const auto colon = repository.find(':', slash == std::string::npos ? 0 : slash);
    std::string tag;
    if (colon != std::string::npos) {
      tag = repository.substr(colon + 1);
      repository.resize(colon);
    }
    int best = 3;
    int texts = 0;
    bool pattern = false;
    for (const auto& word : words) {
      if (word.starts_with("tag:")) {
        if (!Like(tag, word.substr(4))) return -1;
      } else if (word.starts_with("arch:")) {
        if (("," + row.image.platforms + ",").find("/" + word.substr(5) + ",") ==
            std::string::npos) {
          return -1;
        }
      } else if (word.starts_with("size:>")) {
        if (row.image.size.count() <= std::stoi(word.substr(6))) return -1;
      } else if (word.starts_with("sha256:")) {
        if (!ToString(row.image.digest).starts_with(word)) return -1;
      } else if (word.find_first_of("*?") != std::string::npos) {
        pattern = true;
        if (!Like(name, word)) return -1;
      } else {
        ++texts;
        int rank = -1;
        for (std::size_t at = 0; at + word.size() <= name.size(); ++at) {
          if (name.substr(at, word.size()) != word) continue;
          if (at > 0 && IsWord(word[0]) && IsWord(name[at - 1])) continue;
          const auto end = at + word.size();
          const bool component = at == 0 || name[at - 1] == '/';
          const bool whole = end == name.size() || end == repository.size();
          const int here = component ? (whole ? 0 : 1) : 2;
          rank = rank < 0 ? here : std::min(rank, here);
        }
        if (rank < 0) return -1;
        best = rank;
      }
    }
    if (texts > 1) best = 2;
    return pattern || texts == 0 ? 3 : best;
  }

  [[nodiscard]] std::vector<std::string> Find(const std::vector<std::string>& words) const {
    std::vector<std::tuple<int, std::int64_t, int, std::string, Digest>> found;
    for (const auto& [key, row] : rows) {
      const int rank = RankOfRow(words, row);
      if (rank < 0) continue;
      found.emplace_back(rank, -static_cast<std::int64_t>(row.peers) - (row.here ? 1 : 0),
                         -row.since, row.image.name, row.image.digest);
    }
    std::sort(found.begin(), found.end());
    std::vector<std::string> out;
    out.reserve(found.size());
    for (const auto& [rank, holders, since, name, digest] : found) {
      out.push_back(std::to_string(rank) + " " + name + "@" + digest.Short());
    }
    return out;
  }
};

class Twins {
 public:
  explicit Twins(std::uint64_t seed) : rng_(seed) {}

  int Below(int n) { return static_cast<int>(rng_.Below(static_cast<unsigned>(n))); }
  std::string Pick(const std::vector<std::string>& from) {
    return from[static_cast<std::size_t>(Below(static_cast<int>(from.size())))];
  }

  std::string SomeName() {
    std::string name = Pick({"docker.io", "reg:5000", "r"});
    for (int i = Below(3); i >= 0; --i) {
      name += "/" + Pick({"app", "Team", "nginx", "my-nginx", "app_2", "x", "nginx.io", "_a"});
    }
    name += Pick({"", ":v1", ":v2", ":1.2-RC", ":nginx", "@sha256:12ab", ":v1@sha256:12ab"});
    if (Below(10) == 0) name = Mutate(name, rng_);
    return name;
  }

  std::vector<std::string> SomeQuery() {
    std::vector<std::string> words;
    for (int i = Below(3); i >= 0; --i) {
      std::string name = SomeName();
      for (auto& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (!IsImageName(name)) continue;
      const auto at = rng_.Below(name.size());
      std::string part = name.substr(at, 1 + rng_.Below(8));
      switch (Below(9)) {
        case 0:
          words.push_back("*" + part + "*");
          break;
        case 1:
          words.push_back(name.substr(0, at) + "*");
          break;
        case 2:
          if (!part.empty()) part[rng_.Below(part.size())] = '?';
          words.push_back(part + "*");
          break;
        case 3:
          words.push_back("tag:" + Pick({"v1", "v*", "*", "", "1.?-rc", "x"}));
          break;
        case 4:
          words.push_back("arch:" + Pick({"amd64", "arm64"}));
          break;
        case 5:
          words.push_back("size:>" + std::to_string(Below(5)));
          break;
        case 6:
          words.push_back(ToString(RandomDigest(rng_.Below(4))).substr(0, 7 + rng_.Below(4)));
          break;
        default:
          words.push_back(Below(2) == 0 ? part
                                        : Pick({"nginx", "app", "v1", "docker.io", "/", "r"}));
      }
    }
    return words;
  }

  void Change(int step) {
    ImageHolding image{SomeName(), RandomDigest(rng_.Below(4)), Bytes(Below(6)),
                       Pick({"", "linux/amd64", "linux/amd64,linux/arm64"})};
    if (!naive.rows.empty() && Below(2) == 0) {
      auto it = naive.rows.begin();
      std::advance(it, Below(static_cast<int>(naive.rows.size())));
      image.name = it->first.first;
      image.digest = it->first.second;
    }
    if (!IsImageName(image.name)) return;
    const auto whose = Below(4) == 0 ? Whose::kOurs : Whose::kPeer;
    const auto it = naive.rows.find({image.name, image.digest});
    switch (Below(5)) {
      case 0:
      case 1: {
        if (it == naive.rows.end()) break;
        search.Remove(image.name, image.digest, whose);
        auto& row = it->second;
        if (whose == Whose::kOurs) row.here = false;
        if (whose == Whose::kPeer && row.peers > 0) --row.peers;
        if (row.peers == 0 && !row.here) naive.rows.erase(it);
        break;
      }
      case 2:
        search.Update(image);
        if (it != naive.rows.end()) Learn(it->second, image);
        break;
      default: {
        search.Add(Second(step), image, whose);
        auto& row = naive.rows[{image.name, image.digest}];
        if (it == naive.rows.end()) row = {image, 0, false, step};
        if (whose == Whose::kOurs) row.here = true;
        if (whose == Whose::kPeer) ++row.peers;
        Learn(row, image);
      }
    }
  }

  static void Learn(NaiveSearch::Row& row, const ImageHolding& image) {
    if (image.size > Bytes(0)) row.image.size = image.size;
    if (!image.platforms.empty()) row.image.platforms = image.platforms;
  }

  void Compare() {
    const auto words = SomeQuery();
    std::string text;
    for (const auto& word : words) text += word + " ";
    const auto query = ParseSearch(text);
    if (!query) return;
    const auto expected = naive.Find(words);
    std::vector<std::string> found;
    std::string cursor;
    const int limit = 1 + Below(40);
    do {
      const auto page = search.Find(*query, cursor, limit, {});
      ASSERT_TRUE(page.ok()) << page.error().text;
      ASSERT_TRUE(page->whole);
      ASSERT_LE(page->hits.size(), static_cast<std::size_t>(limit));
      for (const auto& hit : page->hits) {
        found.push_back(std::to_string(static_cast<int>(hit.rank)) + " " + hit.image.name + "@" +
                        hit.image.digest.Short());
      }
      cursor = page->next;
    } while (!cursor.empty());
    ASSERT_EQ(found, expected) << "for: " << text;
    ++compared;
    hits += expected.size();
  }

  Rng rng_;
  ImageSearch search{7};
  NaiveSearch naive;
  int compared = 0;
  std::size_t hits = 0;
};

TEST(SearchTwinTest, AgreesWithANaiveTwinWhileImagesComeAndGo) {
  for (std::uint64_t seed = 1; seed <= std::uint64_t(Rounds(2)); ++seed) {
    Twins twins(seed);
    for (int step = 0; step < 3000; ++step) {
      twins.Change(step / 4);
      if (step % 4 == 0) twins.Compare();
      if (testing::Test::HasFatalFailure()) return;
      if (step % 1000 == 0) twins.search.CheckInvariants();
    }
    twins.search.CheckInvariants();
    EXPECT_GT(twins.compared, 400);
    EXPECT_GT(twins.hits, 1000U);
  }
}

// Over the number that is looked at one by one: the other way of answering.
TEST(SearchTwinTest, AgreesWithANaiveTwinWhenVeryManyAnswer) {
  Twins twins(5);
  for (int i = 0; i < 12'000; ++i) {
    const ImageHolding image{
        twins.Pick({"r/nginx", "r/app-nginx", "nginx/x", "docker.io/library/app", "r/nginx-x"}) +
            ":v" + std::to_string(i),
        RandomDigest(1), Bytes(twins.Below(3)), twins.Pick({"", "linux/amd64", "linux/arm64"})};
    const int peers = 1 + twins.Below(3);
    for (int peer = 0; peer < peers; ++peer) twins.search.Add(Second(i / 100), image, Whose::kPeer);
    auto& row = twins.naive.rows[{image.name, image.digest}];
    row = {image, static_cast<std::uint32_t>(peers), false, i / 100};
  }
  for (const std::vector<std::string>& words : {std::vector<std::string>{"v"},
                                                {"nginx"},
                                                {"r"},
                                                {"r/nginx"},
                                                {"nginx", "v1"},
                                                {"*v*"},
                                                {"tag:v*"},
                                                {"r/nginx:v"},
                                                {"v", "arch:amd64"},
                                                {"v", "size:>1"},
                                                {"/"},
                                                {"-nginx"},
                                                {"x"},
                                                {"library/app"},
                                                {"docker.io"}}) {
    std::string text;
    for (const auto& word : words) text += word + " ";
    const auto expected = twins.naive.Find(words);
    std::vector<std::string> found;
    std::string cursor;
    for (int pages = 0; pages < 4; ++pages) {
      const auto page = twins.search.Find(*ParseSearch(text), cursor, 700, {});
      ASSERT_TRUE(page.ok());
      for (const auto& hit : page->hits) {
        found.push_back(std::to_string(static_cast<int>(hit.rank)) + " " + hit.image.name + "@" +
                        hit.image.digest.Short());
      }
      cursor = page->next;
      if (cursor.empty()) break;
    }
    const auto wanted = std::min<std::size_t>(expected.size(), 2800);
    ASSERT_EQ(found, std::vector<std::string>(
                         expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(wanted)))
        << "for: " << text;
  }
}

TEST(SearchQueryTest, NeverCrashesOnAnyText) {
  Rng rng(9);
  ImageSearch search(7);
  search.Add(Second(0), {"docker.io/library/nginx:1.25", RandomDigest(1), Bytes(5), "linux/amd64"},
             Whose::kPeer);
  for (int i = 0; i < 20'000; ++i) {
    const auto query = ParseSearch(
        Mutate("nginx *lib?ary* tag:1* arch:amd64 size:>1GiB sha256:12ab platform:linux/x", rng));
    if (!query) continue;
    const auto page = search.Find(*query, Mutate("1.1.0.AAAAAAAAAAAAAAAA", rng), 5, {});
    ASSERT_LE(page ? page->hits.size() : 0, 1U);
  }
}

TEST(IdSetTest, AgreesWithAPlainSetFromSparseToDenseAndBack) {
  Rng rng(3);
  IdSet set;
  std::set<Handle> naive;
  for (int phase = 0; phase < 2; ++phase) {
    for (int step = 0; step < 20'000; ++step) {
      const auto id = static_cast<Handle>(65'000 + rng.Below(9'000));
      if ((rng.Below(4) != 0) == (phase == 0)) {
        set.Add(id);
        naive.insert(id);
      } else {
        set.Remove(id);
        naive.erase(id);
      }
    }
    EXPECT_EQ(set.size(), naive.size());
    IdBits bits(80'000);
    set.OrInto(bits);
    std::set<Handle> found;
    bits.ForEach([&](Handle id) { found.insert(id); });
    EXPECT_EQ(found, naive);
  }
}

}  // namespace
}  // namespace shoal::index
