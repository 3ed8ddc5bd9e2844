#include "base/result.h"

namespace shoal {

std::string_view ToString(Code code) {
  switch (code) {
    case Code::kInvalid:
      return "invalid";
    case Code::kNotFound:
      return "not found";
    case Code::kRetryLater:
      return "retry later";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kDenied:
      return "denied";
    case Code::kExhausted:
      return "exhausted";
    case Code::kCancelled:
      return "cancelled";
    case Code::kUnsupported:
      return "unsupported";
  }
  return "unknown";
}

std::string Error::ToString() const { return std::string(shoal::ToString(code)) + ": " + text; }

Error Error::In(std::string_view context) const {
  return Error{code, std::string(context) + ": " + text, retry_after};
}

}  // namespace shoal
