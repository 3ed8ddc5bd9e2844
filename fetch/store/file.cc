#include "fetch/store/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace shoal::fetch {
namespace {

std::string Reason(int error) { return std::generic_category().message(error); }

}  // namespace

File::~File() {
  if (fd_ >= 0) close(fd_);
}

Result<Bytes> File::Size() const {
  struct stat about {};
  if (fstat(fd_, &about) != 0) {
    return Error{Code::kRetryLater, "cannot read a file's size: " + Reason(errno)};
  }
  return Bytes(about.st_size);
}

Status File::WriteAt(Bytes offset, ByteSpan bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), offset.count());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = n == 0 ? EIO : errno;
      if (error == ENOSPC || error == EDQUOT) {
        return Error{
            Code::kExhausted,
            "the disk is full: free some space, or lower store.max or move agent.data_dir"};
      }
      return Error{Code::kRetryLater, "cannot write to a file: " + Reason(error)};
    }
    bytes = bytes.subspan(static_cast<std::size_t>(n));
    offset += Bytes(n);
  }
  return Ok();
}

Status File::ReadAt(Bytes offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = pread(fd_, out.data(), out.size(), offset.count());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error{Code::kRetryLater, "cannot read from a file: " + Reason(errno)};
    if (n == 0) return Error{Code::kCorrupt, "a file is shorter than it should be"};
    out = out.subspan(static_cast<std::size_t>(n));
    offset += Bytes(n);
  }
  return Ok();
}

Result<SharedFile> OpenForRead(const std::string& path) {
  int fd = -1;
  do {
    fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (fd < 0 && errno == EINTR);
  if (fd >= 0) return std::make_shared<const File>(fd);
  const int error = errno;
  Code code = Code::kRetryLater;
  if (error == ENOENT || error == ENOTDIR) code = Code::kNotFound;
  if (error == EACCES || error == EPERM) code = Code::kDenied;
  if (error == EMFILE || error == ENFILE || error == ENOMEM) code = Code::kExhausted;
  return Error{code, "cannot open " + path + ": " + Reason(error)};
}

}  // namespace shoal::fetch
