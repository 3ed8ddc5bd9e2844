#include "base/json.h"

#include <utility>

namespace shoal {
namespace {

Error Wrong(const std::string& member, std::string_view must) {
  return Error{Code::kInvalid, "JSON member \"" + member + "\" must be " + std::string(must)};
}

const Json* Find(const Json& object, const std::string& member) {
  if (!object.is_object()) return nullptr;
  const auto& fields = object.as_object();
  const auto it = fields.find(member);
  return it == fields.end() ? nullptr : &it->second;
}

}  // namespace

Result<Json> ParseJson(std::string_view text, std::size_t max_bytes) {
  if (text.size() > max_bytes) {
    return Error{Code::kExhausted,
                 "JSON document is longer than " + std::to_string(max_bytes) + " bytes"};
  }
  std::error_code error;
  auto value = Json::parse(std::string(text), error);
  if (error) return Error{Code::kInvalid, "not a JSON document: " + error.message()};
  return value;
}

Result<std::string> GetString(const Json& object, const std::string& member,
                              std::size_t max_bytes) {
  const Json* value = Find(object, member);
  if (value == nullptr || !value->is_string()) return Wrong(member, "a string");
  const auto& text = value->as_string();
  if (text.size() > max_bytes) {
    return Wrong(member, "at most " + std::to_string(max_bytes) + " bytes long");
  }
  return text;
}

Result<std::int64_t> GetInt(const Json& object, const std::string& member, std::int64_t min,
                            std::int64_t max) {
  const Json* value = Find(object, member);
  if (value == nullptr || !value->is_integer() || !value->as_number().is_int64()) {
    return Wrong(member, "a whole number");
  }
  const std::int64_t number = value->as_number().to_int64();
  if (number < min || number > max) {
    return Wrong(member, "from " + std::to_string(min) + " to " + std::to_string(max));
  }
  return number;
}

Result<bool> GetBool(const Json& object, const std::string& member) {
  const Json* value = Find(object, member);
  if (value == nullptr || !value->is_boolean()) return Wrong(member, "true or false");
  return value->as_bool();
}

Result<Json> GetArray(const Json& object, const std::string& member, std::size_t max_items) {
  const Json* value = Find(object, member);
  if (value == nullptr || !value->is_array()) return Wrong(member, "an array");
  if (value->size() > max_items) {
    return Wrong(member, "an array of at most " + std::to_string(max_items) + " items");
  }
  return *value;
}

}  // namespace shoal
