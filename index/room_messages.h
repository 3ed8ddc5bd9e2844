// What two members of a room show each other before anything else: docs/PROTOCOL.md, "Rooms".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "index/members.h"

namespace shoal::index {

// The question fits into a request's body, the answer holds all revocations of a room.
inline constexpr std::size_t kMeetingQuestionBytesMax = std::size_t{60} << 10;
inline constexpr std::size_t kMeetingAnswerBytesMax = std::size_t{4} << 20;
// With a question go those heard of last; the answer has all.
inline constexpr std::size_t kRevocationsPushed = 64;

struct Meeting {
  std::string membership;
  std::string hash;  // Revocations::hash() of the sender
  std::vector<std::string> revocations;
};

std::string EncodeMeeting(const Meeting& meeting);
// Errors: kExhausted over bytes_max or kRevocationsMax, kInvalid for a wrong form.
Result<Meeting> DecodeMeeting(std::string_view text, std::size_t bytes_max);

}  // namespace shoal::index
