#include "agent/hosts.h"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "agent/hosts_files.h"
#include "index/record.h"

namespace shoal::agent {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kBlockBegin = "# >>> shoal hosts";
constexpr std::string_view kBlockEnd = "# <<< shoal hosts";
constexpr std::string_view kCri = "io.containerd.grpc.v1.cri";

bool IsOurs(const std::string& text) { return text.starts_with(kHostsMark); }

std::string HostsToml(const std::string& mirror) {
  return std::string(kHostsMark) +
         "; `shoal hosts remove` restores what was here.\n"
         "[host.\"http://" +
         mirror +
         "\"]\n"
         "  capabilities = [\"pull\", \"resolve\"]\n";
}

struct Runtime {
  fs::path certs;
  bool configured = false;  // config.toml names a config_path
};

// Where the running configuration looks for hosts.toml files.
Result<Runtime> Inspect(const HostsOptions& options) {
  Runtime runtime{options.certs, false};
  const auto text = ReadHostsFile(options.config);
  if (!text) return runtime;
  try {
    const toml::table table = toml::parse(*text);
    const auto path = table["plugins"][kCri]["registry"]["config_path"].value<std::string>();
    if (path && !path->empty()) {
      runtime.configured = true;
      // Several folders may be named, the first one wins.
      runtime.certs = path->substr(0, path->find(':'));
    }
  } catch (const toml::parse_error& error) {
    return Error{Code::kInvalid, options.config + " is not TOML: " +
                                     std::string(error.description()) + "; mend it first"};
  }
  return runtime;
}

// whole  there was no file: it needs its version too.
std::string Block(const std::string& certs, bool whole) {
  return std::string(kBlockBegin) + " (removed by `shoal hosts remove`)\n" +
         (whole ? "version = 2\n" : "") + "[plugins.\"" + std::string(kCri) +
         "\".registry]\n  config_path = \"" + certs + "\"\n" + std::string(kBlockEnd) + "\n";
}

std::vector<std::string> Targets(const HostsOptions& options) {
  return options.registries.empty() ? std::vector<std::string>{"_default"} : options.registries;
}

// What config.toml will say; nothing is written yet.
Result<std::string> WithConfigPath(const HostsOptions& options) {
  const auto before = ReadHostsFile(options.config);
  std::string after = before.value_or("");
  if (!after.empty() && !after.ends_with('\n')) after += '\n';
  after += Block(options.certs, !before.has_value());
  try {
    (void)toml::parse(after);
  } catch (const toml::parse_error&) {
    return Error{Code::kInvalid, options.config +
                                     " has a registry table of its own; set config_path = \"" +
                                     options.certs + "\" in it by hand, then run this again"};
  }
  return after;
}

}  // namespace

Result<std::vector<std::string>> InstallHosts(const HostsOptions& options) {
  std::vector<std::string> lines;
  auto runtime = Inspect(options);
  if (!runtime) return runtime.error();
  // All that can be refused is refused before the first file is touched.
  if (auto mirror = index::ParseEndpoint(options.mirror); !mirror) {
    return mirror.error().In("--mirror");
  }
  for (const auto& registry : Targets(options)) {
    if (auto checked = CheckHostsRegistry(registry); !checked) return checked.error();
  }
  std::optional<std::string> config;
  if (!runtime->configured) {
    auto text = WithConfigPath(options);
    if (!text) return text.error();
    config = std::move(*text);
  }
  for (const auto& registry : Targets(options)) {
    const fs::path folder = runtime->certs / registry;
    const fs::path file = folder / "hosts.toml";
    const auto before = ReadHostsFile(file);
    const std::string text = HostsToml(options.mirror);
    if (before && *before == text) {
      lines.push_back(file.string() + " is in place already");
      continue;
    }
    if (before && !IsOurs(*before)) {
      if (auto kept = WriteHostsFile(file.string() + std::string(kHostsBackup), *before); !kept) {
        return kept.error();
      }
      lines.push_back("kept what was there as " + file.string() + std::string(kHostsBackup));
    }
    if (auto written = WriteHostsFile(file, text); !written) return written.error();
    lines.push_back("wrote " + file.string());
  }
  if (config) {
    if (auto written = WriteHostsFile(options.config, *config); !written) return written.error();
    lines.push_back("set config_path in " + options.config +
                    ": restart containerd for its CRI to read it");
  }
  return lines;
}

Result<std::vector<std::string>> RemoveHosts(const HostsOptions& options) {
  std::vector<std::string> lines;
  auto runtime = Inspect(options);
  if (!runtime) return runtime.error();
  std::vector<std::string> targets = options.registries;
  std::error_code error;
  if (targets.empty()) {
    for (const auto& entry : fs::directory_iterator(runtime->certs, error)) {
      targets.push_back(entry.path().filename().string());
    }
    std::sort(targets.begin(), targets.end());
  }
  for (const auto& registry : targets) {
    if (auto checked = CheckHostsRegistry(registry); !checked) return checked.error();
    const fs::path file = runtime->certs / registry / "hosts.toml";
    const auto text = ReadHostsFile(file);
    if (!text || !IsOurs(*text)) continue;
    const fs::path backup = file.string() + std::string(kHostsBackup);
    if (fs::exists(backup, error)) {
      fs::rename(backup, file, error);
      if (!error) lines.push_back("restored " + file.string());
    } else {
      fs::remove(file, error);
      if (!error) lines.push_back("removed " + file.string());
      std::error_code ignored;
      fs::remove(file.parent_path(), ignored);  // only when nothing else is in it
    }
    if (error) {
      return Error{Code::kDenied, "cannot change " + file.string() + ": " + error.message() +
                                      "; run this as root"};
    }
  }
  // The block in config.toml goes with the last of our files.
  const auto config = ReadHostsFile(options.config);
  const auto begin = config ? config->find(kBlockBegin) : std::string::npos;
  if (options.registries.empty() && begin != std::string::npos) {
    auto end = config->find(kBlockEnd, begin);
    end = end == std::string::npos ? config->size() : config->find('\n', end) + 1;
    const std::string rest = config->substr(0, begin) + config->substr(end);
    if (rest.empty()) {
      fs::remove(options.config, error);
    } else if (auto written = WriteHostsFile(options.config, rest); !written) {
      return written.error();
    }
    lines.push_back("removed config_path from " + options.config + ": restart containerd");
  }
  if (lines.empty()) lines.push_back("nothing of ours is there");
  return lines;
}

Result<std::vector<std::string>> ShowHosts(const HostsOptions& options) {
  std::vector<std::string> lines;
  auto runtime = Inspect(options);
  if (!runtime) return runtime.error();
  lines.push_back(runtime->configured
                      ? "containerd looks in " + runtime->certs.string()
                      : options.config +
                            " sets no config_path: CRI pulls do not use the mirror; "
                            "`shoal hosts install` sets it");
  std::error_code error;
  std::vector<std::string> registries;
  for (const auto& entry : fs::directory_iterator(runtime->certs, error)) {
    registries.push_back(entry.path().filename().string());
  }
  std::sort(registries.begin(), registries.end());
  for (const auto& registry : registries) {
    const auto text = ReadHostsFile(runtime->certs / registry / "hosts.toml");
    if (!text) continue;
    lines.push_back(registry + ": " +
                    (IsOurs(*text) ? "through the mirror" : "configured by somebody else"));
  }
  return lines;
}

}  // namespace shoal::agent
