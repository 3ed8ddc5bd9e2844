// How far a member is with a preheat: its answer to the message's writer (docs/PROTOCOL.md,
// "Preheat").
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace shoal::agent {

enum class PreheatState { kWaiting, kRunning, kDone, kFailed, kDeclined };

inline constexpr std::size_t kPreheatReportBytesMax = 1024;
inline constexpr std::size_t kPreheatTextBytesMax = 300;

struct PreheatReport {
  PreheatState state = PreheatState::kWaiting;
  Bytes have;
  Bytes size;        // 0 while it is not known
  std::string text;  // why it failed, or why it is not wanted; printable ASCII
  bool operator==(const PreheatReport&) const = default;
};

std::string_view ToString(PreheatState state);
[[nodiscard]] inline bool IsFinal(PreheatState state) {
  return state != PreheatState::kWaiting && state != PreheatState::kRunning;
}

std::string EncodePreheatReport(const PreheatReport& report);
// Errors: kExhausted over kPreheatReportBytesMax, kInvalid for a wrong form.
Result<PreheatReport> DecodePreheatReport(std::string_view text);

// The body of a message of kind kPreheatKind; its topic is the image's name.
inline constexpr std::string_view kPreheatKind = "preheat";
struct PreheatWord {
  std::string image;  // a whole name
  bool withdrawn = false;
};
std::string EncodePreheatWord(const PreheatWord& word);
// Errors: kInvalid.
Result<PreheatWord> DecodePreheatWord(std::string_view body);

}  // namespace shoal::agent
