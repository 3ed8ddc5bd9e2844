#include "agent/doctor.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/room_verbs.h"
#include "agent/table.h"
#include "base/bytes.h"
#include "base/units.h"
#include "index/net/io_thread.h"
#include "index/record.h"

namespace shoal::agent {
namespace {

// Below it even manifests do not fit for long.
constexpr Bytes kDiskLeast{64 << 20};
constexpr std::size_t kNamesShown = 3;
// A membership that ends sooner is told of: time to make a token and to bring it to all hosts.
constexpr Duration kMembershipSoon = std::chrono::hours(7 * 24);

struct Finding {
  std::string check;
  std::string state;
  std::string text;
};

class Findings {
 public:
  void Ok(const std::string& check, const std::string& text) { Add(check, "ok", text); }
  void Note(const std::string& check, const std::string& text) { Add(check, "note", text); }
  void Bad(const std::string& check, const std::string& text) { Add(check, "bad", text); }

  [[nodiscard]] bool AnyBad() const {
    return std::ranges::any_of(list_, [](const auto& finding) { return finding.state == "bad"; });
  }
  void Print(bool json) const {
    Table table({"CHECK", "STATE", "WHAT"});
    Json all = Json::array();
    for (const auto& finding : list_) {
      table.Add({finding.check, finding.state, finding.text});
      Json one = Json::object();
      one["check"] = Json::string(finding.check);
      one["state"] = Json::string(finding.state);
      one["text"] = Json::string(finding.text);
      all[all.size()] = one;
    }
    std::fputs(json ? (all.serialize() + "\n").c_str() : table.ToString().c_str(), stdout);
  }

 private:
  void Add(const std::string& check, const char* state, const std::string& text) {
    list_.push_back({check, state, text});
  }
  std::vector<Finding> list_;
};

// Where a program on this host reaches what listens there.
std::string FromHere(const std::string& listen) {
  auto endpoint = *index::ParseEndpoint(listen);
  if (endpoint.host == "0.0.0.0") endpoint.host = "127.0.0.1";
  if (endpoint.host == "::") endpoint.host = "::1";
  return ToString(endpoint);
}

enum class Port { kFree, kListens, kUnknown };

// Whether something listens there.
Port Look(const std::string& listen) {
  const auto endpoint = *index::ParseEndpoint(FromHere(listen));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(endpoint.port);
  if (getaddrinfo(endpoint.host.c_str(), port.c_str(), &hints, &found) != 0) return Port::kUnknown;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Port::kUnknown;
  const bool listens = connect(fd, found->ai_addr, found->ai_addrlen) == 0;
  close(fd);
  return listens ? Port::kListens : Port::kFree;
}

void CheckRuntimes(const HostsOptions& hosts, Findings& found) {
  using Show = Result<std::vector<std::string>> (*)(const HostsOptions&);
  const std::vector<std::pair<std::string, Show>> runtimes = {
      {"containerd", ShowHosts}, {"podman, crio", ShowContainers}, {"docker", ShowDocker}};
  bool any = false;
  for (const auto& [name, show] : runtimes) {
    const auto lines = show(hosts);
    if (!lines) {
      found.Bad("runtime", lines.error().text);
      any = true;
      continue;
    }
    for (const auto& line : *lines) {
      const auto at = line.find(": through the mirror");
      if (at == std::string::npos) continue;
      any = true;
      found.Ok("runtime", name + " pulls through the mirror: " + line.substr(0, at));
    }
    // The first line of containerd's says that config.toml does not name the folder.
    if (name == "containerd" && lines->size() > 1 &&
        lines->front().find("sets no config_path") != std::string::npos) {
      found.Note("runtime", lines->front());
    }
  }
  if (!any) {
    found.Bad("runtime",
              "no container runtime pulls through the mirror; run `shoal hosts install` "
              "(--runtime crio, podman or docker for those)");
  }
}

void CheckPorts(const Config& config, bool agent_runs, bool in_a_room, Findings& found) {
  const std::vector<std::pair<std::string, std::string>> ports = {
      {"mirror.listen", config.mirror.listen},
      {"peer.listen", config.peer.listen},
      {"agent.admin", config.agent.admin}};
  for (const auto& [key, listen] : ports) {
    const Port port = Look(listen);
    const bool wanted = key != "peer.listen" || in_a_room;
    if (port == Port::kUnknown) {
      found.Bad("port", key + " " + listen + " is no address that this host can look up");
    } else if (!agent_runs && port == Port::kListens) {
      found.Bad("port", listen + " is taken by another program; stop it, or set " + key);
    } else if (agent_runs && wanted && port == Port::kFree) {
      found.Bad("port", "nothing answers on " + listen + " (" + key +
                            "); is the agent's configuration another one?");
    } else if (agent_runs && wanted) {
      found.Ok("port", key + " " + listen);
    }
  }
}

void CheckClock(Findings& found) {
  timex now{};
  if (adjtimex(&now) == TIME_ERROR || (now.status & STA_UNSYNC) != 0) {
    found.Note("clock",
               "the kernel does not know that the clock is kept; hosts must agree within ten "
               "minutes (`timedatectl` says more)");
  } else {
    found.Ok("clock", "kept");
  }
}

void CheckDisk(const Config& config, std::int64_t stored, Findings& found) {
  std::filesystem::path folder = config.agent.data_dir;
  std::error_code error;
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path()) {
    folder = folder.parent_path();
  }
  struct statvfs disk {};
  if (statvfs(folder.c_str(), &disk) != 0) {
    return found.Bad("disk", "cannot look at agent.data_dir " + config.agent.data_dir);
  }
  const Bytes free(static_cast<std::int64_t>(disk.f_bavail) *
                   static_cast<std::int64_t>(disk.f_frsize));
  const std::string text = HumanSize(free) + " are free for " + config.agent.data_dir +
                           ", store.max is " + HumanSize(config.store.max);
  if (free < kDiskLeast) {
    found.Bad("disk", text + "; make room, or set agent.data_dir to another disk");
  } else if (free + Bytes(stored) < config.store.max) {
    found.Note("disk", text + ": the disk is full before the store is; set store.max lower");
  } else {
    found.Ok("disk", text);
  }
}

void CheckContainerd(const Config& config, const std::string& said, Findings& found) {
  if (config.store.containerd.empty()) {
    return found.Note("containerd", "store.containerd is empty: what it holds is not shared");
  }
  if (said.starts_with("connected")) return found.Ok("containerd", said);
  found.Note("containerd", said + "; where there is none set store.containerd = \"\"");
}

void CheckPeers(const Json& status, const Json& peers, Findings& found) {
  for (const auto& entry : status.at("index").as_array()) {
    const std::string name = entry.at("kind").as_string() + " " + entry.at("target").as_string();
    if (entry.at("ok").as_bool()) {
      found.Ok("index", name);
    } else {
      found.Bad("index", name + ": " + entry.at("text").as_string());
    }
  }
  if (status.at("room").size() == 0) {
    return found.Note("rooms",
                      "in none, so this host shares nothing; run `shoal join TOKEN`, or set "
                      "room.open = true");
  }
  int alive = 0;
  std::vector<std::string> silent;
  for (const auto& peer : peers.as_array()) {
    const bool answers = peer.at("state").as_string() == "alive";
    alive += answers ? 1 : 0;
    const auto& endpoints = peer.at("endpoints");
    if (!answers && endpoints.size() > 0) {
      silent.push_back(peer.at("name").as_string() + " " + endpoints.at(0).as_string());
    }
  }
  std::string text = std::to_string(alive) + " alive";
  if (!silent.empty()) {
    text += ", no answer from " + std::to_string(silent.size()) + ":";
    for (std::size_t i = 0; i < std::min(silent.size(), kNamesShown); ++i) text += " " + silent[i];
  }
  if (alive == 0) {
    found.Bad("peers", text +
                           "; let 7381/tcp and 7385/udp through between the hosts, or set "
                           "index.static or index.rendezvous");
  } else if (!silent.empty()) {
    found.Note("peers", text);
  } else {
    found.Ok("peers", text);
  }
}

// Whether others can dial this host, and what relays do about it.
void CheckReach(const Json& relay, bool uses_relays, Findings& found) {
  std::string through;
  for (const auto& one : relay.at("through").as_array()) {
    through += (through.empty() ? "" : ", ") + one.at("name").as_string() + " (" +
               one.at("endpoint").as_string() + ")";
  }
  const std::string dialable = relay.at("dialable").as_string();
  if (dialable == "yes") {
    found.Ok("reach", "others can dial this host");
  } else if (!through.empty()) {
    found.Ok("reach", (dialable == "no" ? "nobody can dial this host; it" : "this host") +
                          std::string(" is reached through ") + through);
  } else if (dialable == "no") {
    found.Bad("reach",
              std::string("nobody can dial this host, and it is reached through no relay; let "
                          "7381/tcp through to it") +
                  (uses_relays ? ", or to another host of its room" : ", or set relay.use = true"));
  } else {
    found.Note("reach", "no other host has tried to dial this one yet");
  }
  const auto count = [&](const char* member) {
    return std::to_string(relay.at(member).as_number().to_int64());
  };
  if (!relay.at("serves").as_bool()) {
    found.Note("relay", "for nobody, as relay.serve says");
  } else {
    found.Ok("relay", "for " + count("places") + " others of at most " + count("slots") + ", " +
                          count("circuits") + " connections");
  }
}

void CheckRooms(const Json& rooms, Findings& found) {
  for (const auto& room : rooms.as_array()) {
    const std::string name = room.at("name").as_string();
    const Duration left = FromUnixMs(room.at("until").as_number().to_int64()) - index::WallNow();
    if (!room.at("member").as_bool()) {
      found.Bad("room", name + ": its membership " +
                            (left > Duration(0) ? "is revoked" : "ended on " + LastDayIn(room)) +
                            ", so nobody in it shares with this host; run `shoal join` with a new "
                            "token, or `shoal room leave " +
                            name + "`");
    } else if (left < kMembershipSoon) {
      found.Note("room", name + ": the membership ends on " + LastDayIn(room) +
                             "; run `shoal join` with a new token before");
    } else {
      found.Ok("room", name + ", until " + LastDayIn(room));
    }
  }
}

}  // namespace

Exit Doctor(const Config& config, const AdminClient& agent, const HostsOptions& hosts, bool json) {
  Findings found;
  const auto status = agent.Get("/v1/status");
  const auto peers = agent.Get("/v1/peers");
  const bool runs = status.ok() && peers.ok();
  if (runs) {
    found.Ok("agent",
             status->at("name").as_string() + ", version " + status->at("version").as_string());
  } else {
    found.Bad("agent", (status ? peers : status).error().text);
  }
  CheckPorts(config, runs, runs && status->at("room").size() > 0, found);
  CheckRuntimes(hosts, found);
  if (runs) {
    CheckContainerd(config, status->at("containerd").as_string(), found);
    CheckPeers(*status, *peers, found);
    if (const auto rooms = agent.Get("/v1/rooms")) CheckRooms(*rooms, found);
    if (status->at("room").size() > 0) {
      CheckReach(status->at("relay"), config.relay.use, found);
    }
  }
  CheckClock(found);
  CheckDisk(config, runs ? status->at("store").at("bytes").as_number().to_int64() : 0, found);
  found.Print(json);
  if (!runs) return Exit::kNoAgent;
  return found.AnyBad() ? Exit::kFailed : Exit::kDone;
}

}  // namespace shoal::agent
