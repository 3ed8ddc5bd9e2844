#include "fetch/chain_choice.h"

#include <gtest/gtest.h>

#include <string_view>

namespace shoal::fetch {
namespace {

using namespace shoal::literals;

// A chain as drawn: state i is a letter, '.' is unknown; the first one is always SHA-256's own.
Chain Draw(std::string_view letters, Bytes piece = 16_KiB) {
  const auto count = static_cast<std::int64_t>(letters.size());
  Chain chain(Geometry::Make(piece * count, piece).value());
  for (std::int32_t i = 1; i < static_cast<std::int32_t>(letters.size()); ++i) {
    const char c = letters[static_cast<std::size_t>(i)];
    ChainState state{};
    state[0] = static_cast<std::byte>(c);
    if (c != '.') chain.Set({i}, state);
  }
  return chain;
}

TEST(ChainChoiceTest, ChainsConflictWhereBothKnowAndDiffer) {
  EXPECT_EQ(FirstConflict(Draw("-abcd"), Draw("-abcd")), std::nullopt);
  EXPECT_EQ(FirstConflict(Draw("-ab.."), Draw("-abcd")), std::nullopt);
  EXPECT_EQ(FirstConflict(Draw("-...."), Draw("-abcd")), std::nullopt);
  EXPECT_EQ(FirstConflict(Draw("-abXd"), Draw("-abcd")), PieceIndex{3});
  EXPECT_EQ(FirstConflict(Draw("-abc"), Draw("-abcd")), PieceIndex{0});
  EXPECT_EQ(FirstConflict(Draw("-ab"), Draw("-ab", 32_KiB)), PieceIndex{0});
}

TEST(ChainChoiceTest, APieceStaysVerifiedWhereBothItsStatesAgree) {
  const Chain from = Draw("-abcd");
  const Chain to = Draw("-abXd");
  EXPECT_TRUE(StaysVerified(from, to, {0}));
  EXPECT_TRUE(StaysVerified(from, to, {1}));
  EXPECT_FALSE(StaysVerified(from, to, {2}));
  EXPECT_FALSE(StaysVerified(from, to, {3}));
  EXPECT_TRUE(StaysVerified(from, to, {4}));
  EXPECT_FALSE(StaysVerified(from, Draw("-ab.."), {4}));
}

TEST(ChainChoiceTest, MergingAddsWhatIsMissing) {
  Chain chain = Draw("-a...");
  EXPECT_EQ(Merge(chain, Draw("-abc.")), (std::vector<PieceIndex>{{2}, {3}}));
  EXPECT_EQ(chain.known_prefix(), 4);
}

TEST(ChainChoiceTest, HoldsAtMostItsLimit) {
  ChainChoice choice;
  for (std::size_t i = 0; i < kCandidatesMax; ++i) EXPECT_TRUE(choice.Add(Draw("-a")));
  EXPECT_FALSE(choice.Add(Draw("-b")));
}

TEST(ChainChoiceTest, FindsWhatAgrees) {
  ChainChoice choice;
  const auto one = choice.Add(Draw("-abc"));
  const auto other = choice.Add(Draw("-xyz"));
  EXPECT_EQ(choice.FindAgreeing(Draw("-ab.")), one);
  EXPECT_EQ(choice.FindAgreeing(Draw("-xyz")), other);
  EXPECT_EQ(choice.FindAgreeing(Draw("-q..")), std::nullopt);
  EXPECT_EQ(choice.Take(*one).known_prefix(), 4);
  EXPECT_EQ(choice.FindAgreeing(Draw("-ab.")), std::nullopt);
  choice.PutBack(*one, Draw("-abc"));
  EXPECT_EQ(choice.FindAgreeing(Draw("-ab.")), one);
}

}  // namespace
}  // namespace shoal::fetch
