// Podman and CRI-O: containers-registries.conf(5). A registry is asked for by its own prefix, and
// the mirror by a path that names the registry, as these runtimes do not say which one they mean.
#include <toml++/toml.h>

#include <set>

#include "agent/hosts.h"
#include "agent/hosts_files.h"
#include "index/record.h"

namespace shoal::agent {
namespace {

constexpr std::string_view kContainersReload =
    "CRI-O takes it up with `systemctl reload crio`, Podman with its next pull";

// The registries that our file names; none when there is no file of ours.
Result<std::set<std::string>> Named(const std::string& path) {
  std::set<std::string> named;
  const auto text = ReadHostsFile(path);
  if (!text) return named;
  if (!text->starts_with(kHostsMark)) {
    return Error{Code::kInvalid, path + " is not ours; move it away first"};
  }
  try {
    const toml::table table = toml::parse(*text);
    if (const auto* list = table["registry"].as_array()) {
      for (const auto& entry : *list) {
        const auto* registry = entry.as_table();
        if (registry == nullptr) continue;
        if (auto prefix = (*registry)["prefix"].value<std::string>()) named.insert(*prefix);
      }
    }
  } catch (const toml::parse_error& error) {
    return Error{Code::kInvalid, path + " is not TOML: " + std::string(error.description()) +
                                     "; remove it, and run this again"};
  }
  return named;
}

std::string ConfOf(const std::set<std::string>& registries, const std::string& mirror) {
  std::string text = std::string(kHostsMark) + "; `shoal hosts remove` takes it away.\n";
  for (const auto& registry : registries) {
    text += "\n[[registry]]\nprefix = \"" + registry + "\"\nlocation = \"" + registry +
            "\"\n[[registry.mirror]]\nlocation = \"" + mirror + "/" + registry +
            "\"\ninsecure = true\n";
  }
  return text;
}

}  // namespace

Result<std::vector<std::string>> InstallContainers(const HostsOptions& options) {
  if (auto mirror = index::ParseEndpoint(options.mirror); !mirror) {
    return mirror.error().In("--mirror");
  }
  auto named = Named(options.containers);
  if (!named) return named.error();
  std::vector<std::string> wanted = options.registries;
  if (wanted.empty()) wanted.emplace_back("docker.io");
  for (const auto& registry : wanted) {
    if (auto checked = CheckHostsRegistry(registry); !checked) return checked.error();
    named->insert(registry);
  }
  const std::string text = ConfOf(*named, options.mirror);
  if (ReadHostsFile(options.containers) == text) {
    return std::vector{options.containers + " is in place already"};
  }
  if (auto written = WriteHostsFile(options.containers, text); !written) return written.error();
  return std::vector{"wrote " + options.containers, std::string(kContainersReload)};
}

Result<std::vector<std::string>> RemoveContainers(const HostsOptions& options) {
  auto named = Named(options.containers);
  if (!named) return named.error();
  if (named->empty()) return std::vector<std::string>{"nothing of ours is there"};
  for (const auto& registry : options.registries) named->erase(registry);
  if (options.registries.empty()) named->clear();
  const Status done = named->empty()
                          ? RemoveHostsFile(options.containers)
                          : WriteHostsFile(options.containers, ConfOf(*named, options.mirror));
  if (!done) return done.error();
  return std::vector{(named->empty() ? "removed " : "wrote ") + options.containers,
                     std::string(kContainersReload)};
}

Result<std::vector<std::string>> ShowContainers(const HostsOptions& options) {
  const auto named = Named(options.containers);
  if (!named) return named.error();
  std::vector<std::string> lines;
  for (const auto& registry : *named) lines.push_back(registry + ": through the mirror");
  if (lines.empty()) lines.push_back("no registry is pulled through the mirror");
  return lines;
}

}  // namespace shoal::agent
