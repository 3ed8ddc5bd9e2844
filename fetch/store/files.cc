#include "fetch/store/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <system_error>

namespace shoal::fetch {
namespace {

Error Trouble(const std::string& operation, const std::string& path, int error) {
  const std::string text =
      "cannot " + operation + " " + path + ": " + std::generic_category().message(error);
  switch (error) {
    case ENOENT:
      return {Code::kNotFound, text};
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
      return {Code::kDenied, text + "; make agent.data_dir a folder that the agent may write to"};
    case ENOSPC:
    case EDQUOT:
      return {Code::kExhausted, text + "; free some space, or lower store.max"};
    case EMFILE:
    case ENFILE:
      return {Code::kExhausted, text + "; raise LimitNOFILE"};
    default:
      return {Code::kRetryLater, text};
  }
}

Result<SharedFile> OpenWith(const std::string& path, int flags) {
  int fd = -1;
  do {
    fd = open(path.c_str(), flags | O_RDWR | O_CLOEXEC, 0600);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return Trouble("open", path, errno);
  return std::make_shared<const File>(fd);
}

}  // namespace

Result<SharedFile> CreateFile(const std::string& path) { return OpenWith(path, O_CREAT | O_TRUNC); }

Result<SharedFile> OpenForWrite(const std::string& path) { return OpenWith(path, 0); }

Status SetFileSize(const File& file, Bytes size, const std::string& path) {
  if (ftruncate(file.fd(), size.count()) != 0) return Trouble("size", path, errno);
  return Ok();
}

Status SyncFile(const File& file, const std::string& path) {
  if (fsync(file.fd()) != 0) return Trouble("sync", path, errno);
  return Ok();
}

Status SyncFolder(const std::string& path) {
  const File folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd() < 0) return Trouble("open", path, errno);
  return SyncFile(folder, path);
}

Status RenameFile(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) != 0) return Trouble("rename to", to, errno);
  return Ok();
}

Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return Trouble("remove", path, errno);
  return Ok();
}

Status MakeFolder(const std::string& path) {
  for (std::size_t end = 1; end <= path.size(); ++end) {
    if (end < path.size() && path[end] != '/') continue;
    const std::string part = path.substr(0, end);
    if (mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) return Trouble("make", part, errno);
  }
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) return Trouble("open", path, errno);
  if (!S_ISDIR(about.st_mode)) return Trouble("use", path, ENOTDIR);
  return Ok();
}

Status ListFolder(const std::string& path, const std::function<void(const FolderEntry&)>& visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), closedir);
  if (!folder) return Trouble("list", path, errno);
  while (const dirent* found = readdir(folder.get())) {  // NOLINT: no other thread has this DIR
    const std::string name = found->d_name;
    if (name == "." || name == "..") continue;
    struct stat about {};
    if (fstatat(dirfd(folder.get()), name.c_str(), &about, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const auto modified = std::chrono::seconds(about.st_mtim.tv_sec) +
                          std::chrono::nanoseconds(about.st_mtim.tv_nsec);
    visit({name, S_ISREG(about.st_mode), Bytes(about.st_size),
           WallTime(std::chrono::duration_cast<Duration>(modified))});
  }
  return Ok();
}

WallTime WallNow() {
  return WallTime(
      std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()));
}

}  // namespace shoal::fetch
