// `shoal hosts`: points a container runtime at the mirror, and back.
//
// containerd reads <config_path>/<registry>/hosts.toml for each registry, `_default` for all that
// have none of their own. What was there is kept beside it as hosts.toml.before-shoal and put back
// by Remove. config.toml gets a marked block when it does not set config_path yet. Podman and CRI-O
// read a file of ours with a pair of tables for each registry; Docker a list in daemon.json, for
// Docker Hub alone.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace shoal::agent {

struct HostsOptions {
  std::string config = "/etc/containerd/config.toml";
  std::string certs = "/etc/containerd/certs.d";  // when config.toml names no other
  std::string mirror = "127.0.0.1:7380";
  std::vector<std::string> registries;  // empty: all, by `_default`; Podman: docker.io
  std::string containers = "/etc/containers/registries.conf.d/50-shoal.conf";
  std::string docker = "/etc/docker/daemon.json";
};

// Each returns lines for a person: what was done, and what is left to do.
// Errors: kDenied or kInvalid naming the file; nothing is half-written.
Result<std::vector<std::string>> InstallHosts(const HostsOptions& options);
Result<std::vector<std::string>> RemoveHosts(const HostsOptions& options);
Result<std::vector<std::string>> ShowHosts(const HostsOptions& options);

// The same of Podman and CRI-O, which share their configuration.
Result<std::vector<std::string>> InstallContainers(const HostsOptions& options);
Result<std::vector<std::string>> RemoveContainers(const HostsOptions& options);
Result<std::vector<std::string>> ShowContainers(const HostsOptions& options);

// And of Docker.
Result<std::vector<std::string>> InstallDocker(const HostsOptions& options);
Result<std::vector<std::string>> RemoveDocker(const HostsOptions& options);
Result<std::vector<std::string>> ShowDocker(const HostsOptions& options);

}  // namespace shoal::agent
