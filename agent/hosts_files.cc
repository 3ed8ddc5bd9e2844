#include "agent/hosts_files.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>

namespace shoal::agent {

namespace fs = std::filesystem;

std::optional<std::string> ReadHostsFile(const fs::path& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Status WriteHostsFile(const fs::path& path, const std::string& text) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) {
    return Error{Code::kDenied, "cannot make " + path.parent_path().string() + ": " +
                                    error.message() + "; run this as root"};
  }
  const fs::path temporary = path.string() + ".shoal-new";
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << text;
    file.flush();
    if (!file) {
      return Error{Code::kDenied, "cannot write " + path.string() + ": " + std::strerror(errno) +
                                      "; run this as root"};
    }
  }
  fs::rename(temporary, path, error);
  if (error) return Error{Code::kDenied, "cannot write " + path.string() + ": " + error.message()};
  return Ok();
}

Status RemoveHostsFile(const fs::path& path) {
  std::error_code error;
  fs::remove(path, error);
  if (!error) return Ok();
  return Error{Code::kDenied,
               "cannot remove " + path.string() + ": " + error.message() + "; run this as root"};
}

Status CheckHostsRegistry(const std::string& registry) {
  const bool right = std::all_of(registry.begin(), registry.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '_';
  });
  if (right && !registry.empty() && registry.front() != '.') return Ok();
  return Error{Code::kInvalid, "\"" + registry +
                                   "\" is no registry host; write it as in image names, "
                                   "like docker.io or reg.example:5000"};
}

}  // namespace shoal::agent
