// Rng: the only randomness a core gets. Not for secrets.
#pragma once

#include <cstdint>

namespace shoal {

// xoshiro256**; the same seed gives the same numbers on every machine.
// Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018.
class Rng {
 public:
  explicit Rng(std::uint64_t seed);

  std::uint64_t Next();
  // Uniform in [0, bound). bound >= 1.
  std::uint64_t Below(std::uint64_t bound);
  // Uniform in [0, 1).
  double Unit();

  // For <algorithm>: std::shuffle and friends.
  using result_type = std::uint64_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return ~result_type{0}; }
  result_type operator()() { return Next(); }

 private:
  std::uint64_t state_[4];
};

}  // namespace shoal
