// What answers of the agent's HTTP interface are put together from.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/json.h"

namespace shoal::agent {

inline Json Text(const std::string& text) { return Json::string(text); }
inline Json Count(std::int64_t number) { return Json::number(number); }
inline void Push(Json& array, Json value) { array[array.size()] = std::move(value); }

}  // namespace shoal::agent
