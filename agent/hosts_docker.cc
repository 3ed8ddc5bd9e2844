// Docker: `registry-mirrors` of daemon.json, which is for Docker Hub only.
#include <algorithm>
#include <string>
#include <vector>

#include "agent/hosts.h"
#include "agent/hosts_files.h"
#include "base/json.h"
#include "index/record.h"

namespace shoal::agent {
namespace {

constexpr const char* kKey = "registry-mirrors";
constexpr std::size_t kDaemonBytesMax = 1 << 20;
constexpr std::string_view kDockerReload = "Docker takes it up with `systemctl reload docker`";

Result<Json> ReadDaemon(const std::string& path) {
  const auto text = ReadHostsFile(path);
  if (!text || text->find_first_not_of(" \n\t\r") == std::string::npos) return Json::object(true);
  auto json = ParseJson(*text, kDaemonBytesMax);
  if (json && (!json->is_object() || (json->has_field(kKey) && !json->at(kKey).is_array()))) {
    return Error{Code::kInvalid, path + " is not as Docker wants it; mend it first"};
  }
  if (!json) return json.error().In(path);
  return *json;
}

std::string UrlOf(const HostsOptions& options) { return "http://" + options.mirror; }

bool IsOurs(const Json& item, const std::string& url) {
  return item.is_string() && item.as_string() == url;
}

bool Mirrors(const Json& daemon, const std::string& url) {
  if (!daemon.has_field(kKey)) return false;
  const auto& list = daemon.at(kKey).as_array();
  return std::any_of(list.begin(), list.end(), [&](const Json& item) { return IsOurs(item, url); });
}

// Ours first; others stay as they are.
std::string WithMirror(Json daemon, const std::string& url) {
  std::vector<Json> list{Json::string(url)};
  if (daemon.has_field(kKey)) {
    for (const auto& item : daemon.at(kKey).as_array()) list.push_back(item);
  }
  daemon[kKey] = Json::array(list);
  return daemon.serialize() + "\n";
}

Json WithoutMirror(Json daemon, const std::string& url) {
  std::vector<Json> list;
  for (const auto& item : daemon.at(kKey).as_array()) {
    if (!IsOurs(item, url)) list.push_back(item);
  }
  if (list.empty()) {
    daemon.erase(kKey);
  } else {
    daemon[kKey] = Json::array(list);
  }
  return daemon;
}

Status Check(const HostsOptions& options) {
  if (auto mirror = index::ParseEndpoint(options.mirror); !mirror) {
    return mirror.error().In("--mirror");
  }
  for (const auto& registry : options.registries) {
    if (registry != "docker.io") {
      return Error{Code::kInvalid, "Docker knows mirrors for docker.io only; pull images of " +
                                       registry + " as localhost:7380/" + registry + "/NAME"};
    }
  }
  return Ok();
}

}  // namespace

Result<std::vector<std::string>> InstallDocker(const HostsOptions& options) {
  if (auto checked = Check(options); !checked) return checked.error();
  const auto daemon = ReadDaemon(options.docker);
  if (!daemon) return daemon.error();
  if (Mirrors(*daemon, UrlOf(options))) {
    return std::vector{options.docker + " names the mirror already"};
  }
  std::vector<std::string> lines;
  const std::string backup = options.docker + std::string(kHostsBackup);
  if (const auto before = ReadHostsFile(options.docker)) {
    if (auto kept = WriteHostsFile(backup, *before); !kept) return kept.error();
    lines.push_back("kept what was there as " + backup);
  }
  auto written = WriteHostsFile(options.docker, WithMirror(*daemon, UrlOf(options)));
  if (!written) return written.error();
  lines.push_back("wrote " + options.docker);
  lines.emplace_back(kDockerReload);
  return lines;
}

Result<std::vector<std::string>> RemoveDocker(const HostsOptions& options) {
  if (auto checked = Check(options); !checked) return checked.error();
  const std::string url = UrlOf(options);
  const auto daemon = ReadDaemon(options.docker);
  if (!daemon) return daemon.error();
  if (!Mirrors(*daemon, url)) return std::vector<std::string>{"nothing of ours is there"};
  const std::string backup = options.docker + std::string(kHostsBackup);
  const auto before = ReadHostsFile(backup);
  const auto old = before ? ReadDaemon(backup) : Json::object(true);
  Status done = Ok();
  // Nobody has changed it since: exactly what was there, with its spaces.
  if (before && old && WithMirror(*old, url) == ReadHostsFile(options.docker)) {
    done = WriteHostsFile(options.docker, *before);
  } else if (const Json rest = WithoutMirror(*daemon, url); rest.size() == 0 && !before) {
    done = RemoveHostsFile(options.docker);
  } else {
    done = WriteHostsFile(options.docker, rest.serialize() + "\n");
  }
  if (done) done = RemoveHostsFile(backup);
  if (!done) return done.error();
  return std::vector{"took the mirror out of " + options.docker, std::string(kDockerReload)};
}

Result<std::vector<std::string>> ShowDocker(const HostsOptions& options) {
  const auto daemon = ReadDaemon(options.docker);
  if (!daemon) return daemon.error();
  return std::vector{std::string("docker.io: ") + (Mirrors(*daemon, UrlOf(options))
                                                       ? "through the mirror"
                                                       : "not through the mirror")};
}

}  // namespace shoal::agent
