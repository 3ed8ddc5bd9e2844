// File: an open descriptor with one owner.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/encoding.h"
#include "base/result.h"

namespace shoal::fetch {

class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] Result<Bytes> Size() const;
  // Writes all of `bytes` at `offset`. Errors: kExhausted when the disk is full, else kRetryLater.
  Status WriteAt(Bytes offset, ByteSpan bytes) const;
  // Reads exactly out.size() bytes. Errors: kCorrupt when the file is shorter.
  Status ReadAt(Bytes offset, std::span<std::byte> out) const;

 private:
  int fd_;
};

using SharedFile = std::shared_ptr<const File>;  // owners: whoever serves or writes it now

// Errors: kNotFound, kDenied, kExhausted or kRetryLater; the text names the path.
Result<SharedFile> OpenForRead(const std::string& path);

}  // namespace shoal::fetch
