// What the store does to names in folders.
#pragma once

#include <functional>
#include <string>

#include "base/time.h"
#include "fetch/store/file.h"

namespace shoal::fetch {

// New and empty (what was there is truncated), 0600, for reading and writing.
// Errors of all of these: kDenied, kExhausted, kNotFound or kRetryLater; the text names the path.
Result<SharedFile> CreateFile(const std::string& path);
Result<SharedFile> OpenForWrite(const std::string& path);
// Sparse: no disk space is taken.
Status SetFileSize(const File& file, Bytes size, const std::string& path);
// The bytes and the size are on the disk when this returns.
Status SyncFile(const File& file, const std::string& path);
Status SyncFolder(const std::string& path);
Status RenameFile(const std::string& from, const std::string& to);
// Ok too when it was not there.
Status RemoveFile(const std::string& path);

// Makes a folder and its parents, 0700.
Status MakeFolder(const std::string& path);

struct FolderEntry {
  std::string name;
  bool regular = false;
  Bytes size;
  WallTime modified;
};
Status ListFolder(const std::string& path, const std::function<void(const FolderEntry&)>& visit);

WallTime WallNow();

}  // namespace shoal::fetch
