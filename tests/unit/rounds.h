// How far tests with random steps go.
#pragma once

#include <algorithm>

namespace shoal {

// A sanitizer makes a step many times slower, and finds what it finds in fewer.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int Rounds(int rounds) { return std::max(1, rounds / 4); }
#else
constexpr int Rounds(int rounds) { return rounds; }
#endif

}  // namespace shoal
