#include "base/units.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <utility>

namespace shoal {
namespace {

struct UnitName {
  std::string_view name;
  double scale;
};

constexpr std::array kDurations{UnitName{"us", 1}, UnitName{"ms", 1e3}, UnitName{"s", 1e6},
                                UnitName{"m", 60e6}, UnitName{"h", 3600e6}};
constexpr std::array kSizes{UnitName{"", 1},
                            UnitName{"B", 1},
                            UnitName{"kB", 1e3},
                            UnitName{"MB", 1e6},
                            UnitName{"GB", 1e9},
                            UnitName{"TB", 1e12},
                            UnitName{"KiB", 1024.0},
                            UnitName{"MiB", 1048576.0},
                            UnitName{"GiB", 1073741824.0},
                            UnitName{"TiB", 1099511627776.0}};
constexpr std::array kRates{UnitName{"bit/s", 0.125},
                            UnitName{"kbit/s", 125.0},
                            UnitName{"Mbit/s", 125e3},
                            UnitName{"Gbit/s", 125e6},
                            UnitName{"B/s", 1},
                            UnitName{"kB/s", 1e3},
                            UnitName{"MB/s", 1e6},
                            UnitName{"GB/s", 1e9},
                            UnitName{"KiB/s", 1024.0},
                            UnitName{"MiB/s", 1048576.0},
                            UnitName{"GiB/s", 1073741824.0}};

// Beyond this, 64 bits of microseconds or bytes could overflow.
constexpr double kValueMax = 9e18;

template <std::size_t N>
Result<std::int64_t> Parse(std::string_view text, const std::array<UnitName, N>& units,
                           std::string_view what, std::string_view example) {
  const auto wrong = [&] {
    return Error{Code::kInvalid, "\"" + std::string(text) + "\" is not a " + std::string(what) +
                                     "; write one like \"" + std::string(example) + "\""};
  };
  if (text == "0") return std::int64_t{0};
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || number < 0) return wrong();
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  for (const auto& candidate : units) {
    if (candidate.name != unit) continue;
    const double value = number * candidate.scale;
    if (value > kValueMax) return wrong();
    return static_cast<std::int64_t>(value);
  }
  return wrong();
}

// The largest unit that divides `value`, skipping the ones that `usable` refuses.
template <std::size_t N>
std::string Format(std::int64_t value, const std::array<UnitName, N>& units, bool binary) {
  std::string best = std::to_string(value) + std::string(binary ? "" : "us");
  if (value == 0) return "0";
  std::int64_t best_scale = 1;
  for (const auto& unit : units) {
    const auto scale = static_cast<std::int64_t>(unit.scale);
    if (binary && scale % 1024 != 0) continue;
    if (scale > best_scale && value % scale == 0) {
      best_scale = scale;
      best = std::to_string(value / scale) + std::string(unit.name);
    }
  }
  return best;
}

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  auto value = Parse(text, kDurations, "duration", "500ms");
  if (!value) return value.error();
  return Duration(*value);
}

Result<Bytes> ParseSize(std::string_view text) {
  auto value = Parse(text, kSizes, "size", "20GiB");
  if (!value) return value.error();
  return Bytes(*value);
}

Result<Bytes> ParseRate(std::string_view text) {
  auto value = Parse(text, kRates, "rate", "100Mbit/s");
  if (!value) return value.error();
  return Bytes(*value);
}

std::string FormatDuration(Duration duration) {
  return Format(duration.count(), kDurations, false);
}

std::string FormatSize(Bytes bytes) { return Format(bytes.count(), kSizes, true); }

// The largest unit that divides it, of tens or of twos: "100Mbit/s", "12MiB/s".
std::string FormatRate(Bytes per_second) {
  const std::int64_t value = per_second.count();
  if (value == 0) return "0";
  std::string best;
  std::int64_t best_scale = 0;
  for (const auto& unit : kRates) {
    const auto scale = static_cast<std::int64_t>(unit.scale);  // 0: bits that make no byte
    if (scale <= best_scale || value % scale != 0) continue;
    best_scale = scale;
    best = std::to_string(value / scale) + std::string(unit.name);
  }
  return best;
}

std::string HumanSize(Bytes bytes) {
  constexpr std::array kNames{"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes.count());
  std::size_t i = 0;
  while (value >= 1024 && i + 1 < kNames.size()) {
    value /= 1024;
    ++i;
  }
  char text[32];
  std::snprintf(text, sizeof text, i == 0 ? "%.0f %s" : "%.1f %s", value, kNames[i]);
  return text;
}

}  // namespace shoal
