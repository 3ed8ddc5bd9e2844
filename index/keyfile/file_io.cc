#include "index/keyfile/file_io.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <system_error>

#include "base/encoding.h"

namespace shoal::index {
namespace {

std::string DirOf(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Unlinks a temporary file at the end, whatever happened to it.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {}
  ~Temporary() { ::unlink(path_.c_str()); }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  [[nodiscard]] const char* c_str() const { return path_.c_str(); }

 private:
  std::string path_;
};

Status WriteAll(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const auto n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "write " + path);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(fd) != 0) return ErrnoError(errno, "write " + path);
  return Ok();
}

}  // namespace

Status SyncDir(const std::string& dir) {
  const FileDescriptor fd(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0 || ::fsync(fd.get()) != 0) return ErrnoError(errno, "sync directory " + dir);
  return Ok();
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Error ErrnoError(int number, const std::string& what) {
  const std::string text = "cannot " + what + ": " + std::generic_category().message(number);
  switch (number) {
    case EACCES:
    case EPERM:
    case EROFS:
      return {Code::kDenied, text + "; the agent's user must have access to it"};
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return {Code::kExhausted, text};
    case ENOENT:
      return {Code::kNotFound, text};
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return {Code::kInvalid, text};
    default:
      return {Code::kRetryLater, text};
  }
}

Result<std::string> ReadAll(int fd, const std::string& path, std::size_t max_bytes) {
  std::string text(max_bytes + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const auto n = ::read(fd, text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "read " + path);
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  if (size > max_bytes) {
    return Error{Code::kExhausted, path + " is longer than " + std::to_string(max_bytes) +
                                       " bytes; it is not what it should be"};
  }
  text.resize(size);
  return text;
}

Result<bool> WriteWhole(const std::string& path, std::string_view text, IfThere if_there) {
  std::array<unsigned char, 8> random{};
  if (RAND_bytes(random.data(), random.size()) != 1) {
    return Error{Code::kRetryLater, "no randomness to name a temporary file with"};
  }
  const Temporary temporary(path + "." + ToHex(std::as_bytes(std::span(random))) + ".tmp");
  const FileDescriptor fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (fd.get() < 0) return ErrnoError(errno, "make " + path);
  if (auto written = WriteAll(fd.get(), text, path); !written) return written.error();
  if (if_there == IfThere::kReplace) {
    if (::rename(temporary.c_str(), path.c_str()) != 0) return ErrnoError(errno, "make " + path);
  } else if (::link(temporary.c_str(), path.c_str()) != 0) {
    if (errno == EEXIST) return false;
    return ErrnoError(errno, "make " + path);
  }
  if (auto synced = SyncDir(DirOf(path)); !synced) return synced.error();
  return true;
}

}  // namespace shoal::index
