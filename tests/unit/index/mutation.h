// Small deterministic damage to valid texts, for decoders that must survive it.
#pragma once

#include <string>
#include <string_view>

#include "base/rng.h"

namespace shoal::index {

// One to four bytes changed, put in, taken out or repeated.
inline std::string Mutate(std::string text, Rng& rng) {
  for (auto n = 1 + rng.Below(4); n > 0; --n) {
    if (text.empty()) return text;
    const auto at = rng.Below(text.size());
    constexpr std::string_view kTelling = "{}[]\",:\\0123456789-.eE\x80\xff\0 ntf";
    switch (rng.Below(5)) {
      case 0:
        text[at] = static_cast<char>(rng.Below(256));
        break;
      case 1:
        text[at] = kTelling[rng.Below(kTelling.size())];
        break;
      case 2:
        text.insert(at, 1, kTelling[rng.Below(kTelling.size())]);
        break;
      case 3:
        text.erase(at, 1 + rng.Below(8));
        break;
      default:
        text.insert(at, text.substr(rng.Below(text.size()), 1 + rng.Below(40)));
    }
  }
  return text;
}

}  // namespace shoal::index
