// Durations, sizes and rates as people write them in the configuration.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

namespace shoal {

// "500ms", "10s", "5m", "72h", "250us"; one number and one unit. "0" is allowed.
Result<Duration> ParseDuration(std::string_view text);
// "512", "4KiB", "1MiB", "20GiB", "1TiB", also "kB", "MB", "GB", "TB" (powers of ten).
Result<Bytes> ParseSize(std::string_view text);
// Bytes a second from "100Mbit/s", "1Gbit/s", "10MB/s", "12MiB/s"; "0" means no limit.
Result<Bytes> ParseRate(std::string_view text);

// The shortest exact form that the parsers above read back.
std::string FormatDuration(Duration duration);
std::string FormatSize(Bytes bytes);
std::string FormatRate(Bytes per_second);
// For people: "1.4 GiB", "312 B".
std::string HumanSize(Bytes bytes);

}  // namespace shoal
