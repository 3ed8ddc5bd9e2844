// A bar of a terminal: "[=====>    ]".
#pragma once

#include <cstdint>
#include <string>

namespace shoal::agent {

inline constexpr int kBarWidth = 30;

// Full when size is 0 or less.
std::string Bar(std::int64_t have, std::int64_t size);

}  // namespace shoal::agent
