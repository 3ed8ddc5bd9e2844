#include "agent/data_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>

namespace shoal::agent {

Result<fetch::SharedFile> TakeDataFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || access(folder.c_str(), R_OK | W_OK | X_OK) != 0) {
    return Error{Code::kDenied, "cannot write to agent.data_dir " + folder + ": " +
                                    (error ? error.message() : std::strerror(errno)) +
                                    "; make it, or give it to the user that runs shoal"};
  }
  const std::string path = folder + "/lock";
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Error{Code::kDenied, "cannot make " + path + ": " + std::strerror(errno)};
  auto file = std::make_shared<const fetch::File>(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return Error{Code::kExhausted, "another agent or index server uses agent.data_dir " + folder +
                                       "; stop it, or give this one a folder of its own"};
  }
  return fetch::SharedFile(file);
}

}  // namespace shoal::agent
