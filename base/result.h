// Result<T>: a value, or an Error that the outside world caused.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"
#include "base/time.h"

namespace shoal {

// What the caller may do about it; the text is for a person.
enum class Code {
  kInvalid,      // the input is wrong: mend it
  kNotFound,     // nobody has it
  kRetryLater,   // may work later: busy, unreachable, timed out
  kCorrupt,      // bytes do not match what they claim to be
  kDenied,       // credentials or membership are missing
  kExhausted,    // a limit or the disk is full
  kCancelled,    // the asker went away
  kUnsupported,  // well formed, but not something shoal does
};

std::string_view ToString(Code code);

struct Error {
  Code code = Code::kInvalid;
  std::string text;
  // With kRetryLater: not before this has passed, by the word of whoever refused. 0: no word.
  Duration retry_after{0};

  // "not found: <text>", for logs and terminals.
  [[nodiscard]] std::string ToString() const;
  // The same error with `context: ` before its text.
  [[nodiscard]] Error In(std::string_view context) const;
};

struct Unit {};

template <class T>
class [[nodiscard]] Result {
 public:
  // Both conversions are implicit, so that `return value;` and `return Error{...};` read well.
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & {
    SHOAL_CHECK(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    SHOAL_CHECK(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    SHOAL_CHECK(ok());
    return std::get<0>(std::move(state_));
  }
  [[nodiscard]] const Error& error() const {
    SHOAL_CHECK(!ok());
    return std::get<1>(state_);
  }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

using Status = Result<Unit>;

inline Status Ok() { return Unit{}; }

}  // namespace shoal
