#include "registry-proxy/auth.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/unit/rounds.h"

namespace shoal::proxy {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

Challenge Bearer(const std::string& realm, const std::string& service = "reg") {
  return {"bearer", {{"realm", realm}, {"service", service}}};
}

TEST(AuthTest, ReadsABearerChallenge) {
  const auto challenges = ParseChallenges(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push")");
  ASSERT_EQ(challenges.size(), 1U);
  EXPECT_EQ(challenges[0].scheme, "bearer");
  EXPECT_EQ(challenges[0].Param("realm"), "https://auth.docker.io/token");
  EXPECT_EQ(challenges[0].Param("scope"), "repository:a/b:pull,push");
  EXPECT_EQ(challenges[0].Param("error"), "");
}

TEST(AuthTest, ReadsSeveralChallengesInOneHeader) {
  const auto challenges = ParseChallenges(
      R"(, Negotiate, BASIC Realm="a \"quoted\" b" , Bearer realm=https://x/y?z, service = s)");
  ASSERT_EQ(challenges.size(), 3U);
  EXPECT_EQ(challenges[0].scheme, "negotiate");
  EXPECT_EQ(challenges[1].scheme, "basic");
  EXPECT_EQ(challenges[1].Param("realm"), "a \"quoted\" b");
  EXPECT_EQ(challenges[2].Param("realm"), "https://x/y?z");
  EXPECT_EQ(challenges[2].Param("service"), "s");
}

TEST(AuthTest, DropsAMalformedRest) {
  EXPECT_TRUE(ParseChallenges("").empty());
  EXPECT_TRUE(ParseChallenges("\"x\"").empty());
  EXPECT_EQ(ParseChallenges("Bearer realm=\"never closed").size(), 1U);
  EXPECT_TRUE(ParseChallenges(std::string(kChallengeBytesMax + 1, 'a')).empty());
  std::string many;
  for (int i = 0; i < 100; ++i) many += "S" + std::to_string(i) + " a=b, ";
  EXPECT_EQ(ParseChallenges(many).size(), kChallengesMax);
}

TEST(AuthTest, AsksForATokenByGetOrPost) {
  const auto anonymous =
      MakeTokenRequest(Bearer("https://a/t"), "https://r", PullScope("x/y"), std::nullopt);
  ASSERT_TRUE(anonymous.ok());
  EXPECT_EQ(anonymous->url, "https://a/t?service=reg&scope=repository%3Ax%2Fy%3Apull");
  EXPECT_FALSE(anonymous->basic);
  const auto basic = MakeTokenRequest(Bearer("https://a/t?k=v", ""), "https://r", "s",
                                      Credentials{"user", "password", ""});
  EXPECT_EQ(basic->url, "https://a/t?k=v&scope=s");
  EXPECT_TRUE(basic->basic);
  const auto post = MakeTokenRequest(Bearer("https://a/t"), "https://r", "s",
                                     Credentials{"<token>", "", "re fresh"});
  EXPECT_EQ(post->url, "https://a/t");
  EXPECT_EQ(
      post->form,
      "grant_type=refresh_token&service=reg&scope=s&client_id=shoal&refresh_token=re%20fresh");
}

TEST(AuthTest, RefusesRealmsThatWouldLeakCredentials) {
  for (const auto* realm : {"", "ftp://x", "//x", "https://x y", "https://x\r\n"}) {
    EXPECT_FALSE(MakeTokenRequest(Bearer(realm), "http://r", "s", std::nullopt).ok()) << realm;
  }
  EXPECT_FALSE(MakeTokenRequest(Bearer("http://x"), "https://r", "s", std::nullopt).ok());
  EXPECT_TRUE(MakeTokenRequest(Bearer("http://x"), "http://r", "s", std::nullopt).ok());
}

TEST(AuthTest, ReadsTokenAnswers) {
  EXPECT_EQ(ParseToken(R"({"token":"t"})")->value, "t");
  EXPECT_EQ(ParseToken(R"({"token":"t"})")->lifetime, seconds(60));
  EXPECT_EQ(ParseToken(R"({"access_token":"a","expires_in":300})")->lifetime, seconds(300));
  EXPECT_EQ(ParseToken(R"({"token":"","access_token":"a"})")->value, "a");
  EXPECT_EQ(ParseToken(R"({"token":"t","expires_in":9000000000})")->lifetime, hours(24));
  EXPECT_EQ(ParseToken(R"({"token":"t","expires_in":-5})")->lifetime, seconds(60));
  for (const auto* bad : {"", "[]", "{}", R"({"token":5})", R"({"token":"a\r\nb"})"}) {
    EXPECT_FALSE(ParseToken(bad).ok()) << bad;
  }
  EXPECT_FALSE(ParseToken(std::string(kTokenAnswerBytesMax + 1, ' ')).ok());
}

TEST(AuthTest, Base64GoesBothWays) {
  EXPECT_EQ(ToBase64("user:password"), "dXNlcjpwYXNzd29yZA==");
  EXPECT_EQ(*FromBase64("dXNlcjpwYXNzd29yZA=="), "user:password");
  EXPECT_FALSE(FromBase64("a-b_").ok());
  EXPECT_FALSE(FromBase64("a").ok());
  Rng rng(6);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes(rng.Below(40), ' ');
    for (char& c : bytes) c = static_cast<char>(rng.Below(256));
    ASSERT_EQ(*FromBase64(ToBase64(bytes)), bytes);
  }
}

TEST(AuthTest, MutatedChallengesNeverCrash) {
  Rng rng(7);
  for (int i = 0; i < Rounds(50'000); ++i) {
    std::string header = R"(Basic realm="x", Bearer realm="https://a/t",service="s\"t",scope=q)";
    for (std::uint64_t n = rng.Below(8); n > 0 && !header.empty(); --n) {
      const auto at = rng.Below(header.size());
      if (rng.Below(2) == 0) {
        header[at] = static_cast<char>(rng.Below(256));
      } else {
        header.erase(at, 1 + rng.Below(5));
      }
    }
    ASSERT_LE(ParseChallenges(header).size(), kChallengesMax);
  }
}

TEST(TokenCacheTest, GivesATokenUntilShortlyBeforeItExpires) {
  TokenCache cache;
  const Time start{seconds(1000)};
  cache.Put(start, "r", "s", {"t", seconds(100), ""});
  EXPECT_EQ(cache.Find(start + seconds(89), "r", "s"), "t");
  EXPECT_FALSE(cache.Find(start, "r", "other"));
  EXPECT_FALSE(cache.Find(start + seconds(90), "r", "s"));
  EXPECT_EQ(cache.size(), 0U);
}

TEST(TokenCacheTest, ForgetsWhatIsRefusedAndIsBounded) {
  TokenCache cache(2);
  const Time now{seconds(1)};
  cache.Put(now, "a", "s", {"1", hours(1), ""});
  cache.Put(now, "b", "s", {"2", hours(1), ""});
  cache.Put(now, "b", "s", {"3", hours(1), ""});
  cache.Put(now, "c", "s", {"4", hours(1), ""});
  EXPECT_FALSE(cache.Find(now, "a", "s"));
  EXPECT_EQ(cache.Find(now, "b", "s"), "3");
  cache.Forget("b", "s");
  EXPECT_FALSE(cache.Find(now, "b", "s"));
  EXPECT_EQ(cache.size(), 1U);
}

}  // namespace
}  // namespace shoal::proxy
