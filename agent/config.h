// Config: /etc/shoal/shoal.toml, `--set a.b=c` and SHOAL_A_B=c, checked as a whole.
//
// Every key has a default. Later sources win: file, environment, --set. An unknown key is an error
// that names the nearest known one; so are values of a wrong form. See docs/OPERATING.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/blob_rooms.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "index/record.h"

namespace shoal::agent {

struct RegistryEntry {
  std::string host;  // as in image names
  std::string url;   // "" = derived from host
  std::string ca;    // file of PEM certificates trusted besides the system's
  bool insecure = false;
  std::string username;
  std::string password_file;
  std::string docker_config;
  Duration tag_ttl = std::chrono::seconds(60);
  int connections = 0;  // of all hosts together, for blobs; 0: no bound
};

struct ReplicateEntry {
  std::vector<std::string> images;  // "reg.example/prod/*"
  std::string copies = "all";
};

struct Config {
  struct Agent {
    std::string name;  // "" = the host's name
    std::string data_dir = "/var/lib/shoal";
    std::string log_level = "info";
    std::string log_format = "text";
    std::string admin = "127.0.0.1:7382";
  } agent;
  struct Mirror {
    std::string listen = "127.0.0.1:7380";
    std::string stream = "verified";
  } mirror;
  struct Peer {
    std::string listen = "0.0.0.0:7381";
    std::vector<std::string> advertise;
  } peer;
  struct Index {
    std::vector<std::string> use = {"lan"};
    std::vector<std::string> rendezvous;
    std::vector<std::string> fixed;  // index.static
    Duration sync_interval = std::chrono::seconds(10);
    Duration resolve_timeout = std::chrono::milliseconds(50);
  } index;
  struct Lan {
    std::string group = "239.255.73.80:7385";
    std::string group6 = "[ff15::7368:6f61]:7385";  // "": IPv4 alone
    Duration interval = std::chrono::seconds(5);
  } lan;
  struct Dht {
    std::string listen = "0.0.0.0:7384";
    std::vector<std::string> bootstrap;
  } dht;
  struct Rendezvous {
    std::string listen = "0.0.0.0:7383";
    Duration ttl_min = std::chrono::seconds(5);
    Duration ttl_max = std::chrono::hours(72);
    Duration ttl_default = std::chrono::hours(2);
    std::vector<std::string> federate;
    bool search = false;  // reads the images of the open room from registered peers
  } rendezvous;
  struct Room {
    bool open = false;
  } room;
  struct Store {
    Bytes max{std::int64_t{20} << 30};
    std::string containerd = "/run/containerd/containerd.sock";
    std::string name_space = "k8s.io";
  } store;
  struct Fetch {
    Bytes piece{1 << 20};
    int parallel_pieces = 16;
    Duration stall = std::chrono::milliseconds(500);
    Duration peer_budget = std::chrono::seconds(1);
  } fetch;
  struct Preheat {
    std::vector<std::string> images = {"*"};  // those that others' preheats may have fetched here
    bool open = false;                        // whether the open room's preheats count
  } preheat;
  struct Relay {
    bool use = true;                           // be reached through others when nobody can dial us
    bool serve = true;                         // let others be reached through us
    int slots = 16;                            // of them
    Bytes rate{12'500'000};                    // a second, of all circuits; 0: none
    Duration time = std::chrono::minutes(15);  // of one circuit
  } relay;
  struct Limits {
    Bytes upload_rate;  // a second; 0: none
    Bytes download_rate;
    int upload_slots = 0;  // 0: the desk's own number
    int connections = 1024;
  } limits;
  std::vector<RegistryEntry> registries;
  std::vector<ReplicateEntry> replicate;
  std::vector<ShareEntry> shares;
};

// Where the configuration comes from.
struct ConfigSources {
  std::string path = "/etc/shoal/shoal.toml";
  bool path_given = false;  // a file that was asked for must exist
  std::vector<std::string> sets;
  std::vector<std::pair<std::string, std::string>> environment;  // SHOAL_* variables
};

// Errors: kInvalid, one sentence that names the source, the key and what to write instead.
Result<Config> LoadConfig(const ConfigSources& sources);
// From TOML text; `origin` names it in errors.
Result<Config> ParseConfig(std::string_view toml, std::string_view origin);
// As TOML that LoadConfig reads back.
std::string ShowConfig(const Config& config);

// All "section.key" names, for completion and the nearest-name search.
std::vector<std::string> ConfigKeys();

}  // namespace shoal::agent
