// Small files that must be whole or absent.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::index {

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor();
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// The error that `errno` value `number` is to somebody who did `what`.
Error ErrnoError(int number, const std::string& what);

// At most max_bytes of an open file. Errors: kExhausted when it is longer.
Result<std::string> ReadAll(int fd, const std::string& path, std::size_t max_bytes);

// What was made, renamed or removed in it is so after a power loss too.
Status SyncDir(const std::string& dir);

enum class IfThere { kKeep, kReplace };
// Writes `text` with mode 0600 so that `path` is either as before or complete, also after a power
// loss. Returns false when a file was there and is kept.
Result<bool> WriteWhole(const std::string& path, std::string_view text, IfThere if_there);

}  // namespace shoal::index
