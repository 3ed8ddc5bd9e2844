// The JSON of docs/PROTOCOL.md, "Swarms".
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "index/swarm_table.h"

namespace shoal::index {

inline constexpr std::size_t kSwarmAnswerBytesMax = std::size_t{16} << 10;
// More than any arbiter gives.
inline constexpr std::size_t kMembersTakenMax = 128;

// {"lead": "<peer id>", "lease_ms": 900, "members": ["<peer id>", ...]}; lead and lease_ms are
// absent when nobody leads; "waiting": true when the lead waits; "slots": N to who asked for some.
std::string EncodeSwarmAnswer(const SwarmAnswer& answer);
// Errors: kInvalid, kExhausted for more than kSwarmAnswerBytesMax.
Result<SwarmAnswer> DecodeSwarmAnswer(std::string_view text);
// The same of an object that says more.
Result<SwarmAnswer> ReadSwarmAnswer(const Json& object);

}  // namespace shoal::index
