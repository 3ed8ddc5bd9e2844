// CHECK: what only a bug in shoal itself can break. It is on in every build.
#pragma once

namespace shoal {

// Prints `file:line: text` to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* text);

}  // namespace shoal

#define SHOAL_CHECK(condition)                              \
  do {                                                      \
    if (!(condition)) [[unlikely]]                          \
      ::shoal::CheckFailed(__FILE__, __LINE__, #condition); \
  } while (false)
