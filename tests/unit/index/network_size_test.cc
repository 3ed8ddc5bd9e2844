#include "index/network_size.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "index/peer_names.h"
#include "tests/unit/numbered.h"

namespace shoal::index {
namespace {

constexpr RoomMask kSizedRoom = 1;

class NetworkSizeTest : public testing::Test {
 protected:
  void MakeNetwork(std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) network_.push_back(rng_.Next());
    std::ranges::sort(network_);
  }
  // Each member with this probability.
  std::vector<PeerName> Draw(double part) {
    std::vector<PeerName> names;
    for (const PeerName name : network_) {
      if (rng_.Unit() < part) names.push_back(name);
    }
    return names;
  }
  std::vector<PeerName> Invented(std::size_t count) {
    std::vector<PeerName> names;
    for (std::size_t i = 0; i < count; ++i) names.push_back(rng_.Next());
    std::ranges::sort(names);
    return names;
  }

  Rng rng_{7};
  std::vector<PeerName> network_;
  NetworkSizeEstimate estimate_;
};

TEST_F(NetworkSizeTest, NeedsTwoListsOfTheSameRooms) {
  MakeNetwork(10);
  EXPECT_FALSE(estimate_.Estimate());
  estimate_.OnList(PeerNo(1), kSizedRoom, network_);
  EXPECT_FALSE(estimate_.Estimate());
  estimate_.OnList(PeerNo(2), 2, network_);
  EXPECT_FALSE(estimate_.Estimate());
  estimate_.OnList(PeerNo(3), kSizedRoom, network_);
  ASSERT_TRUE(estimate_.Estimate());
  estimate_.Forget(PeerNo(3));
  EXPECT_FALSE(estimate_.Estimate());
}

TEST_F(NetworkSizeTest, IsExactWhenAllKnowAll) {
  MakeNetwork(32);
  for (std::uint8_t i = 0; i < 5; ++i) estimate_.OnList(PeerNo(i), kSizedRoom, network_);
  EXPECT_DOUBLE_EQ(estimate_.Estimate()->peers, 32);
  EXPECT_DOUBLE_EQ(estimate_.Estimate()->error, 0);
}

TEST_F(NetworkSizeTest, SeesBeyondWhatAnybodyKnows) {
  MakeNetwork(1000);
  for (std::uint8_t i = 0; i < 8; ++i) estimate_.OnList(PeerNo(i), kSizedRoom, Draw(0.4));
  const auto size = *estimate_.Estimate();
  EXPECT_GT(size.error, 1);
  EXPECT_LT(size.error, 100);
  EXPECT_NEAR(size.peers, 1000, 3 * size.error);
}

TEST_F(NetworkSizeTest, OfLongListsASampleIsKept) {
  MakeNetwork(15'000);
  for (std::uint8_t i = 0; i < 8; ++i) estimate_.OnList(PeerNo(i), kSizedRoom, Draw(0.9));
  const auto size = *estimate_.Estimate();
  EXPECT_LT(size.error, 1000);
  EXPECT_NEAR(size.peers, 15'000, 3 * size.error);
}

TEST_F(NetworkSizeTest, ThreeLiarsOfEightDoNotInflateIt) {
  MakeNetwork(200);
  for (std::uint8_t i = 0; i < 5; ++i) estimate_.OnList(PeerNo(i), kSizedRoom, Draw(0.9));
  for (std::uint8_t i = 5; i < 8; ++i) estimate_.OnList(PeerNo(i), kSizedRoom, Invented(20'000));
  EXPECT_NEAR(estimate_.Estimate()->peers, 200, 30);
}

TEST_F(NetworkSizeTest, OneLiarOfThreeDoesNotInflateIt) {
  MakeNetwork(20);
  estimate_.OnList(PeerNo(0), kSizedRoom, network_);
  estimate_.OnList(PeerNo(1), kSizedRoom, network_);
  auto names = network_;
  const auto more = Invented(5000);
  names.insert(names.end(), more.begin(), more.end());
  std::ranges::sort(names);
  estimate_.OnList(PeerNo(2), kSizedRoom, Invented(5000));
  EXPECT_NEAR(estimate_.Estimate()->peers, 20, 0.5);
  estimate_.OnList(PeerNo(2), kSizedRoom, names);
  EXPECT_LT(estimate_.Estimate()->peers, 40);
}

TEST_F(NetworkSizeTest, ListsThatShareNothingStillGiveANumber) {
  estimate_.OnList(PeerNo(0), kSizedRoom, Invented(10));
  estimate_.OnList(PeerNo(1), kSizedRoom, Invented(10));
  EXPECT_DOUBLE_EQ(estimate_.Estimate()->peers, 120);
  estimate_.OnList(PeerNo(0), kSizedRoom, {});
  estimate_.OnList(PeerNo(1), kSizedRoom, {});
  EXPECT_DOUBLE_EQ(estimate_.Estimate()->peers, 0);
}

TEST_F(NetworkSizeTest, KeepsTheLatestLists) {
  MakeNetwork(10);
  for (std::uint8_t i = 0; i < 40; ++i) estimate_.OnList(PeerNo(i), kSizedRoom, Invented(100));
  for (std::uint8_t i = 40; i < 60; ++i) estimate_.OnList(PeerNo(i), kSizedRoom, network_);
  EXPECT_DOUBLE_EQ(estimate_.Estimate()->peers, 10);
  EXPECT_DOUBLE_EQ(estimate_.Estimate()->error, 0);
}

TEST(PeerNamesTest, AreTheFirstBytesOfIds) {
  PeerId peer;
  for (std::size_t i = 0; i < 32; ++i) peer.bytes[i] = std::byte(i + 1);
  EXPECT_EQ(PeerNameOf(peer), 0x0102030405060708U);
  EXPECT_EQ(PeerNameOf(LowestOf(0x0102030405060708U)), 0x0102030405060708U);
  EXPECT_EQ(EncodeNames({0x0102030405060708U}), "AQIDBAUGBwg");
}

TEST(PeerNamesTest, ComeBackInOrderAndOnce) {
  const std::vector<PeerName> names{9, 3, 3, ~PeerName{0}, 0};
  const auto decoded = DecodeNames(EncodeNames(names), 5);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(*decoded, (std::vector<PeerName>{0, 3, 9, ~PeerName{0}}));
  EXPECT_TRUE(DecodeNames("", 0)->empty());
}

TEST(PeerNamesTest, RefusesWhatIsMalformedOrTooLong) {
  EXPECT_EQ(DecodeNames("AQIDBAUGBw", 5).error().code, Code::kInvalid);  // seven bytes
  EXPECT_EQ(DecodeNames("AQIDBAUGBw=", 5).error().code, Code::kInvalid);
  const std::vector<PeerName> names(6, 1);
  EXPECT_EQ(DecodeNames(EncodeNames(names), 5).error().code, Code::kExhausted);
  EXPECT_TRUE(DecodeNames(EncodeNames(names), 6).ok());
}

}  // namespace
}  // namespace shoal::index
