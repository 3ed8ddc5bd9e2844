#include "fetch/rate_limit.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "base/rng.h"

namespace shoal::fetch {
namespace {

using namespace std::chrono_literals;
using namespace literals;

constexpr Time kLimitStart{1h};

// Bytes that moved, by time. Says the most that moved in any window of `length`.
class Meter {
 public:
  void Add(Time when, Bytes bytes) { moves_.push_back({when, bytes}); }
  [[nodiscard]] Bytes Most(Duration length) const {
    Bytes most;
    Bytes sum;
    for (std::size_t first = 0, next = 0; next < moves_.size(); ++next) {
      sum += moves_[next].bytes;
      while (moves_[first].when + length <= moves_[next].when) sum -= moves_[first++].bytes;
      most = std::max(most, sum);
    }
    return most;
  }
  [[nodiscard]] Bytes Total() const {
    Bytes sum;
    for (const auto& move : moves_) sum += move.bytes;
    return sum;
  }

 private:
  struct Move {
    Time when;
    Bytes bytes;
  };
  std::vector<Move> moves_;
};

TEST(RateLimitTest, BytesMoveOneBookingAfterTheOther) {
  RateLimit limit(1'000'000_B);
  limit.Book(kLimitStart, 50'000_B);  // what a quiet time left over
  EXPECT_EQ(limit.Book(kLimitStart, 5'000_B), kLimitStart);
  EXPECT_EQ(limit.Book(kLimitStart, 10'000_B), kLimitStart + 5ms);
  EXPECT_EQ(limit.Book(kLimitStart + 1ms, 1_B), kLimitStart + 15ms);
  EXPECT_EQ(limit.free_at(), kLimitStart + 15ms + 1us);
}

TEST(RateLimitTest, QuietTimeIsKeptForTheLengthOfABurst) {
  RateLimit limit(1'000'000_B);
  limit.Book(kLimitStart, 0_B);
  EXPECT_EQ(limit.Book(kLimitStart + 1min, 1'000_B), kLimitStart + 1min - kRateBurst);
  EXPECT_EQ(limit.Book(kLimitStart + 1min, 1'000_B), kLimitStart + 1min - kRateBurst + 1ms);
}

TEST(RateLimitTest, ASliceIsFiveMillisecondsWithinBounds) {
  EXPECT_EQ(RateLimit(10'000'000_B).slice(), 50'000_B);
  EXPECT_EQ(RateLimit(kRateMin).slice(), kSliceMin);
  EXPECT_EQ(RateLimit(kRateMax).slice(), kSliceMax);
}

TEST(RateLimitTest, SmallBookingsAddUpExactly) {
  // 7 bytes take 0.49 us each: nothing may be lost to rounding.
  RateLimit limit(14'285'714_B);
  limit.Book(kLimitStart, 0_B);
  const Time begin = limit.free_at();
  for (int i = 0; i < 1'000'000; ++i) limit.Book(kLimitStart, 7_B);
  EXPECT_EQ(limit.free_at() - begin, 490'000us);
}

TEST(RateLimitTest, ReturnedBytesAreTheNextOnes) {
  RateLimit limit(1'000'000_B);
  limit.Book(kLimitStart, 50'000_B);
  limit.Book(kLimitStart, 10'000_B);
  limit.Return(kLimitStart, 4'001_B);
  EXPECT_EQ(limit.Book(kLimitStart, 1_B), kLimitStart + 5'999us);
  // Time that has gone by does not come back by returning.
  limit.Return(kLimitStart + 1h, 6'000_B);
  EXPECT_EQ(limit.free_at(), kLimitStart + 1h - kRateBurst);
}

TEST(RateLimitTest, ReturningInPartsOfAMicrosecondIsExact) {
  RateLimit limit(3'000'000_B);
  limit.Book(kLimitStart, 0_B);
  const Time begin = limit.free_at();
  for (int i = 0; i < 1000; ++i) {
    limit.Book(kLimitStart, 10_B);
    limit.Return(kLimitStart, 7_B);
  }
  EXPECT_EQ(limit.free_at(), begin + 1ms);
}

TEST(RateLimitTest, ThoseWhoTakeTurnsShareEvenly) {
  RateLimit limit(10'000'000_B);
  struct Taker {
    Time at;
    Bytes moved;
  };
  std::vector<Taker> takers(20);
  for (auto& taker : takers) taker.at = limit.Book(kLimitStart, limit.slice());
  // Each moves its slice when its time comes, and books the next.
  for (Time now = kLimitStart; now < kLimitStart + 10s; now += 1ms) {
    for (auto& taker : takers) {
      if (taker.at > now) continue;
      taker.moved += limit.slice();
      taker.at = limit.Book(now, limit.slice());
      EXPECT_LE(taker.at, now + 101ms);
    }
  }
  for (const auto& taker : takers) {
    EXPECT_NEAR(static_cast<double>(taker.moved.count()), 5e6, 1e5);
  }
}

// Takers that come, go, are late, and leave parts unused: never more than the rule says, and all
// of it while somebody wants.
TEST(RateLimitTest, HoldsOverAnyFiveSecondsWhateverTakersDo) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    const Bytes rate(100'000 + static_cast<std::int64_t>(rng.Below(100'000'000)));
    RateLimit limit(rate);
    Meter meter;
    const std::size_t count = 1 + rng.Below(30);
    std::vector<Time> at(count, kLimitStart);
    std::vector<Bytes> booked(count);
    const Duration length = 12s;
    for (Time now = kLimitStart; now < kLimitStart + length; now += Duration(rng.Below(8'000))) {
      for (std::size_t i = 0; i < count; ++i) {
        if (at[i] > now) continue;
        if (booked[i] > Bytes(0)) {
          const Bytes unused = rng.Below(4) == 0
                                   ? Bytes(static_cast<std::int64_t>(
                                         rng.Below(static_cast<std::uint64_t>(booked[i].count()))))
                                   : Bytes(0);
          meter.Add(now, booked[i] - unused);
          limit.Return(now, unused);
        }
        booked[i] = limit.slice();
        at[i] = limit.Book(now, booked[i]);
      }
    }
    const auto within = [&](Duration time) {
      return static_cast<double>(rate.count()) * static_cast<double>(time.count()) / 1e6;
    };
    // A taker may be late by 8 ms, and so may 30 of them with what they booked.
    EXPECT_LE(static_cast<double>(meter.Most(5s).count()), within(5s) * 1.02);
    EXPECT_GE(static_cast<double>(meter.Total().count()), within(length) * 0.99);
  }
}

}  // namespace
}  // namespace shoal::fetch
