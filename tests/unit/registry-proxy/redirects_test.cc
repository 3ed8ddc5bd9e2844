#include "registry-proxy/redirects.h"

#include <gtest/gtest.h>

namespace shoal::proxy {
namespace {

using namespace std::chrono_literals;

TEST(RedirectsTest, RemembersATargetForAWhile) {
  Redirects redirects;
  const Time now{1h};
  EXPECT_EQ(redirects.Find(now, "a"), "");
  redirects.Note(now, "a", "x");
  EXPECT_EQ(redirects.Find(now + kRedirectLife - 1us, "a"), "x");
  EXPECT_EQ(redirects.Find(now + kRedirectLife, "a"), "");
  EXPECT_EQ(redirects.size(), 0U);
}

TEST(RedirectsTest, ANewerTargetReplacesAndOutlivesTheOld) {
  Redirects redirects;
  const Time now{1h};
  redirects.Note(now, "a", "x");
  redirects.Note(now + 1s, "a", "y");
  redirects.Forget("a", "x");
  EXPECT_EQ(redirects.Find(now + kRedirectLife, "a"), "y");
  redirects.Forget("a", "y");
  redirects.Forget("b", "y");
  EXPECT_EQ(redirects.Find(now + 1s, "a"), "");
}

TEST(RedirectsTest, TheOldestMakesRoom) {
  Redirects redirects;
  const Time now{1h};
  for (std::size_t i = 0; i <= kRedirectsMax; ++i) redirects.Note(now, std::to_string(i), "x");
  EXPECT_EQ(redirects.size(), kRedirectsMax);
  EXPECT_EQ(redirects.Find(now, "0"), "");
  EXPECT_EQ(redirects.Find(now, "1"), "x");
}

}  // namespace
}  // namespace shoal::proxy
