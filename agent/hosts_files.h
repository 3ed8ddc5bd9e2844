// Files of other programs that `shoal hosts` changes: read whole, and replaced whole.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace shoal::agent {

// A file that was there is kept beside ours under its name and this.
inline constexpr std::string_view kHostsBackup = ".before-shoal";
// How each of our files begins.
inline constexpr std::string_view kHostsMark = "# Written by `shoal hosts install`";

// Nothing when it cannot be read.
std::optional<std::string> ReadHostsFile(const std::filesystem::path& path);
// Through a file beside it, so that a reader sees the old text or the new; makes its folder.
Status WriteHostsFile(const std::filesystem::path& path, const std::string& text);
// Ok too when it was not there.
Status RemoveHostsFile(const std::filesystem::path& path);

// "docker.io", "reg.example:5000".
Status CheckHostsRegistry(const std::string& registry);

}  // namespace shoal::agent
