#include "agent/bar.h"

namespace shoal::agent {

std::string Bar(std::int64_t have, std::int64_t size) {
  const int full = size <= 0 ? kBarWidth : static_cast<int>(have * kBarWidth / size);
  std::string bar = "[";
  for (int i = 0; i < kBarWidth; ++i) bar += i < full ? '=' : (i == full ? '>' : ' ');
  return bar + "]";
}

}  // namespace shoal::agent
