#include "agent/data_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <system_error>

namespace shoal::agent {
namespace {

constexpr std::string_view kTablesRow = "tables";
constexpr std::string_view kTablesVersion = "1";

}  // namespace

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

Result<std::unique_ptr<index::LmdbEnv>> OpenDatabase(const std::string& dir, Bytes map_max,
                                                     index::LmdbSync sync) {
  auto env = index::LmdbEnv::Open(dir, map_max, sync);
  if (!env) return env.error();
  auto table = (*env)->Table("version");
  if (!table) return table.error();
  std::optional<std::string> version;
  (*env)->Read([&](const index::LmdbTxn& txn) {
    if (const auto row = txn.Get(*table, kTablesRow)) version = std::string(*row);
  });
  if (version && version != kTablesVersion) {
    return Error{Code::kUnsupported, dir +
                                         " was written by a later version of shoal; install that, "
                                         "or remove the directory"};
  }
  if (version) return env;
  Status put = (*env)->Write(
      [&](index::LmdbTxn& txn) { return txn.Put(*table, kTablesRow, kTablesVersion); });
  if (!put) return put.error();
  return env;
}

}  // namespace shoal::agent
