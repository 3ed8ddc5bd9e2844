// JSON as shoal reads it: nothing in a document is trusted to have the right type or size.
#pragma once

#include <cpprest/json.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal {

using Json = web::json::value;

// Parses one document.
//
// max_bytes  longer text is refused before it is parsed.
// Errors     kExhausted when too long, kInvalid when it is not JSON.
Result<Json> ParseJson(std::string_view text, std::size_t max_bytes);

// A member of an object. Errors: kInvalid, naming the member, when it is absent, of another type,
// longer than max_bytes, or outside [min, max].
Result<std::string> GetString(const Json& object, const std::string& member,
                              std::size_t max_bytes = 4096);
Result<std::int64_t> GetInt(const Json& object, const std::string& member, std::int64_t min,
                            std::int64_t max);
Result<bool> GetBool(const Json& object, const std::string& member);
// The array `member`, at most max_items long.
Result<Json> GetArray(const Json& object, const std::string& member, std::size_t max_items);

}  // namespace shoal
