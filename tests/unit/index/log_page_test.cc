#include "index/log_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/encoding.h"
#include "base/json.h"
#include "index/envelope.h"
#include "tests/unit/index/mutation.h"
#include "tests/unit/index/records.h"

namespace shoal::index {
namespace {

PageToSign SomePage() {
  PageToSign out;
  out.page.epoch = 7;
  out.page.after = 3;
  out.page.cursor = 9;
  out.page.more = true;
  const auto record = SignedBy(KeyNo(1));
  out.page.peers.push_back({record.id(), nullptr, {{"room/open", 1'790'000'300}}, {"blob/\"a"}});
  out.envelopes.push_back(std::make_shared<const std::string>(record.envelope()));
  out.page.peers.push_back({KeyNo(2).id(), nullptr, {}, {"room/open"}});
  out.envelopes.push_back(nullptr);
  return out;
}

// An answer with a page of any text, signed as it should be.
std::string AnswerOf(const std::string& text, const SigningKey& key) {
  return R"({"status":"OK","pages":[{"page":)" + Json::string(text).serialize() + R"(,"key":")" +
         ToBase64Url(key.public_key().bytes) + R"(","signature":")" +
         ToBase64Url(SignIn("shoal-log-v1\n", text, key)) + R"("}]})";
}

TEST(LogPageTest, SaysWhatItsServerSigned) {
  const auto page = SignPage(SomePage(), KeyNo(5));
  const auto read = DecodePages(EncodePages({page, page}), KeyNo(5).id(), ReadAnew);
  ASSERT_TRUE(read.ok()) << read.error().text;
  ASSERT_EQ(read->pages.size(), 2U);
  const LogPage& got = read->pages[0]->page;
  EXPECT_EQ(got.server, KeyNo(5).id());
  EXPECT_EQ(got.epoch, 7U);
  EXPECT_EQ(got.after, 3U);
  EXPECT_EQ(got.cursor, 9U);
  EXPECT_TRUE(got.more);
  ASSERT_EQ(got.peers.size(), 2U);
  EXPECT_EQ(got.peers[0].id, KeyNo(1).id());
  ASSERT_NE(got.peers[0].record, nullptr);
  EXPECT_EQ(got.peers[0].in, SomePage().page.peers[0].in);
  EXPECT_EQ(got.peers[0].out, SomePage().page.peers[0].out);
  EXPECT_EQ(got.peers[1].id, KeyNo(2).id());
  EXPECT_EQ(got.peers[1].record, nullptr);
  // It is passed on as it is.
  EXPECT_EQ(read->pages[0]->text, page->text);
  EXPECT_TRUE(DecodePages(EncodePages(read->pages), KeyNo(5).id(), ReadAnew).ok());
}

TEST(LogPageTest, RefusesAPageThatIsNotItsServers) {
  const auto page = SignPage(SomePage(), KeyNo(5));
  EXPECT_EQ(DecodePages(EncodePages({page}), KeyNo(6).id(), ReadAnew).error().code, Code::kDenied);
  // By another's key, under the server's name; and the server's, of another's log.
  EXPECT_EQ(DecodePages(AnswerOf(page->text, KeyNo(6)), KeyNo(5).id(), ReadAnew).error().code,
            Code::kDenied);
  EXPECT_FALSE(DecodePages(AnswerOf(page->text, KeyNo(6)), KeyNo(6).id(), ReadAnew).ok());
  EXPECT_TRUE(DecodePages(AnswerOf(page->text, KeyNo(5)), KeyNo(5).id(), ReadAnew).ok());
  SignedPage other = *page;
  other.text.back() = ' ';
  EXPECT_EQ(
      DecodePages(EncodePages({std::make_shared<const SignedPage>(other)}), KeyNo(5).id(), ReadAnew)
          .error()
          .code,
      Code::kDenied);
}

TEST(LogPageTest, LeavesOutAPeerWhoseRecordDoesNotVerify) {
  auto to_sign = SomePage();
  std::string envelope = *to_sign.envelopes[0];
  const auto at = envelope.find("\"signature\":\"") + 14;
  envelope[at] = envelope[at] == 'A' ? 'B' : 'A';
  to_sign.envelopes[0] = std::make_shared<const std::string>(envelope);
  const auto read =
      DecodePages(EncodePages({SignPage(to_sign, KeyNo(5))}), KeyNo(5).id(), ReadAnew);
  ASSERT_TRUE(read.ok()) << read.error().text;
  EXPECT_EQ(read->pages[0]->page.peers.size(), 1U);
  EXPECT_EQ(read->pages[0]->page.refused, 1U);
}

TEST(LogPageTest, SurvivesWhatAServerMaySign) {
  const auto key = KeyNo(5);
  const std::string text = SignPage(SomePage(), key)->text;
  Rng rng(1);
  int read = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto got = DecodePages(AnswerOf(Mutate(text, rng), key), key.id(), ReadAnew);
    if (!got) continue;
    ++read;
    for (const auto& peer : got->pages[0]->page.peers) EXPECT_LE(peer.in.size(), kLogEntriesMax);
  }
  EXPECT_GT(read, 0);
  EXPECT_LT(read, 1000);
}

TEST(LogPageTest, ServersAreReadAsTheyWereWrittenAndSurviveDamage) {
  const std::vector<ServerLine> lines = {
      {KeyNo(1).id(), "", false, 7, 8, 0, 9, true},
      {KeyNo(2).id(), "https://a.example:7383", true, 1, 2, 3, 4, false}};
  const std::string text = EncodeServers(lines);
  const auto read = DecodeServers(text);
  ASSERT_TRUE(read.ok()) << read.error().text;
  ASSERT_EQ(read->size(), 2U);
  EXPECT_EQ(EncodeServers(*read), text);
  EXPECT_FALSE(DecodeServers(EncodeServers({})).ok());
  Rng rng(2);
  for (int i = 0; i < 1000; ++i) {
    const auto got = DecodeServers(Mutate(text, rng));
    EXPECT_TRUE(!got || got->size() <= kFederatedMax + 1);
  }
}

}  // namespace
}  // namespace shoal::index
