// shoal: one binary, many verbs. docs/OPERATING.md describes them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/config_keys.h"
#include "agent/doctor.h"
#include "agent/hosts.h"
#include "agent/index_search.h"
#include "agent/preheat_verb.h"
#include "agent/registry_setup.h"
#include "agent/room_verbs.h"
#include "agent/run.h"
#include "agent/verbs.h"
#include "index/keyfile/keyfile.h"

namespace shoal::agent {
namespace {

struct Options {
  ConfigSources sources;
  std::string admin;  // "" = the configuration's
  bool json = false;
  std::string argument;
  bool resolve = false;
  std::vector<std::string> words;
  int limit = 50;
  std::string after;
  std::string index;  // server to ask; "" the agent
  HostsOptions hosts;
  PreheatOptions preheat;
  RoomOptions room;
  std::string runtime = "containerd";
};

std::vector<std::pair<std::string, std::string>> Environment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (!text.starts_with("SHOAL_") || equals == std::string_view::npos) continue;
    variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

Exit WithConfig(const Options& options, const std::function<Exit(const Config&)>& work) {
  auto config = LoadConfig(options.sources);
  if (!config) {
    Fail(config.error());
    return Exit::kUsage;
  }
  return work(*config);
}

Exit WithAgent(const Options& options, const std::function<Exit(const AdminClient&)>& work) {
  if (!options.admin.empty()) {
    if (auto endpoint = index::ParseEndpoint(options.admin); !endpoint) {
      return Fail(endpoint.error().In("--admin"));
    }
    return work(AdminClient(options.admin));
  }
  return WithConfig(options,
                    [&](const Config& config) { return work(AdminClient(config.agent.admin)); });
}

Exit PrintId(const Config& config) {
  auto key = index::LoadOrMakeKey(config.agent.data_dir + "/identity");
  if (!key) return Fail(key.error());
  std::printf("%s\n", key->id().Hex().c_str());
  return Exit::kDone;
}

using HostsWork = Result<std::vector<std::string>> (*)(const HostsOptions&);

// One for each kind of runtime.
struct HostsVerb {
  HostsWork containerd;
  HostsWork containers;
  HostsWork docker;
};

Exit Hosts(const Options& options, const HostsVerb& verb) {
  HostsWork work = nullptr;
  if (options.runtime == "containerd") work = verb.containerd;
  if (options.runtime == "podman" || options.runtime == "crio") work = verb.containers;
  if (options.runtime == "docker") work = verb.docker;
  if (work == nullptr) {
    return Fail({Code::kInvalid, "--runtime " + options.runtime +
                                     " is not known; there are containerd, crio, podman, docker"});
  }
  auto lines = work(options.hosts);
  if (!lines) return Fail(lines.error());
  for (const auto& line : *lines) std::printf("%s\n", line.c_str());
  return Exit::kDone;
}

AdminClient AgentOf(const Options& options, const Config& config) {
  return AdminClient(options.admin.empty() ? config.agent.admin : options.admin);
}

void AddRoomVerbs(CLI::App& app, Options& options, Exit& exit,
                  const std::function<CLI::App*(CLI::App*)>& with_config) {
  auto* room = app.add_subcommand("room", "rooms with keys: who shares with whom");
  room->require_subcommand(1);
  const auto by_key = [&](const char* name, const char* text) {
    auto* verb = with_config(room->add_subcommand(name, text));
    verb->add_option("name", options.room.name, "of the room")->required();
    verb->add_option("--key", options.room.key, "file of the room's key");
    return verb;
  };
  const auto issues = [&](CLI::App* verb) {
    verb->add_option("--expires", options.room.expires, "for how long it holds")
        ->capture_default_str();
    verb->add_option("--index-server", options.room.servers, "https://host:7383#PEERID");
    verb->add_option("--peer", options.room.peers, "host:7381 of a member");
  };
  by_key("create", "make a room's key")->callback([&] {
    exit = WithConfig(options, [&](const Config& c) { return CreateRoom(c, options.room); });
  });
  auto* token = by_key("token", "print a line with which hosts join");
  issues(token);
  token->callback([&] {
    exit = WithConfig(options, [&](const Config& c) { return PrintRoomToken(c, options.room); });
  });
  auto* grant = by_key("grant", "print a line with which one host joins");
  grant->add_option("peer-id", options.room.id, "of the host, from `shoal id`")->required();
  issues(grant);
  grant->callback([&] {
    exit = WithConfig(options, [&](const Config& c) { return GrantMembership(c, options.room); });
  });
  auto* revoke = by_key("revoke", "take out a host, or all that joined by a token");
  revoke->add_option("id", options.room.id, "a peer's or a token's")->required();
  revoke->add_option("--admin", options.admin, "address of the agent's status API");
  revoke->callback([&] {
    exit = WithConfig(options, [&](const Config& c) {
      return RevokeMembership(c, AgentOf(options, c), options.room);
    });
  });
  const auto joins = [&](CLI::App* verb) {
    with_config(verb)
        ->add_option("token", options.room.token, "the line, or - for standard input")
        ->required();
    verb->add_option("--admin", options.admin, "address of the agent's status API");
    verb->callback([&] {
      exit = WithConfig(
          options, [&](const Config& c) { return JoinRoom(c, AgentOf(options, c), options.room); });
    });
  };
  joins(room->add_subcommand("join", "make this host a member"));
  joins(app.add_subcommand("join", "the same as room join"));
  auto* leave = with_config(room->add_subcommand("leave", "take this host out of a room"));
  leave->add_option("name", options.room.name, "of the room, or its id")->required();
  leave->add_option("--admin", options.admin, "address of the agent's status API");
  leave->callback([&] {
    exit = WithConfig(
        options, [&](const Config& c) { return LeaveRoom(c, AgentOf(options, c), options.room); });
  });
  auto* list = with_config(room->add_subcommand("list", "the rooms that this host is in"));
  list->add_option("--admin", options.admin, "address of the agent's status API");
  list->add_flag("--json", options.json, "the agent's own answer");
  list->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) { return ListRooms(agent, options.json); });
  });
  auto* log = with_config(room->add_subcommand("log", "what stands in a room's feed"));
  log->add_option("name", options.room.name, "of the room; \"open\" for the open room")->required();
  log->add_option("--admin", options.admin, "address of the agent's status API");
  log->add_flag("--json", options.json, "the agent's own answer");
  log->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) {
      return ShowRoomLog(agent, options.room.name, options.json);
    });
  });
}

// What is wrong with the command line, in one sentence.
std::string UsageSentence(const CLI::App& app, const CLI::ParseError& error,
                          const std::vector<std::string>& words) {
  const CLI::App* verb = &app;
  std::string path;  // "hosts "
  for (const auto& word : words) {
    std::vector<std::string> known;
    for (const auto* below : verb->get_subcommands([](const CLI::App*) { return true; })) {
      known.push_back(below->get_name());
    }
    if (known.empty() || word.starts_with('-')) break;
    if (std::ranges::count(known, word) == 0) {
      return "there is no verb \"" + path + word + "\"; did you mean \"" +
             NearestName(word, known) + "\"? `shoal " + path + "--help` lists them";
    }
    verb = verb->get_subcommand(word);
    path += word + " ";
  }
  std::string text = error.what();
  if (!text.empty())
    text.front() = static_cast<char>(std::tolower(static_cast<unsigned char>(text.front())));
  return text + "; `shoal " + path + "--help` says what to write";
}

int Main(int argc, char** argv) {
  Options options;
  options.sources.environment = Environment();
  Exit exit = Exit::kDone;

  CLI::App app("shoal: container images from the host next door");
  app.require_subcommand(1);
  const auto with_config = [&](CLI::App* verb) {
    verb->add_option("--config", options.sources.path, "configuration file")
        ->capture_default_str()
        ->each([&](const std::string&) { options.sources.path_given = true; });
    verb->add_option("--set", options.sources.sets, "KEY=VALUE, in place of the file's")
        ->take_all();
    return verb;
  };
  const auto asks_agent = [&](const char* name, const char* text) {
    auto* verb = with_config(app.add_subcommand(name, text));
    verb->add_option("--admin", options.admin, "address of the agent's status API");
    verb->add_flag("--json", options.json, "the agent's own answer");
    return verb;
  };

  with_config(app.add_subcommand("run", "run the agent in the foreground"))->callback([&] {
    exit = WithConfig(options, RunAgent);
  });
  with_config(app.add_subcommand("index", "run an index server"))->callback([&] {
    exit = WithConfig(options, RunIndexServer);
  });
  asks_agent("status", "how this agent is")->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) { return ShowStatus(agent, options.json); });
  });
  asks_agent("peers", "the peers it knows")->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) { return ShowPeers(agent, options.json); });
  });
  auto* blobs = asks_agent("blobs", "the blobs that are here, or one of them");
  blobs->add_option("digest", options.argument, "sha256:...");
  blobs->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) {
      return ShowBlobs(agent, options.argument, options.json);
    });
  });
  asks_agent("images", "the images that are here or at peers")->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) { return ShowImages(agent, options.json); });
  });
  auto* search = asks_agent("search", "images here and at peers, by words of their names");
  search->add_option("words", options.words, "like nginx 1.25, or \"reg/team/*:v2*\"")->required();
  search->add_option("--limit", options.limit, "at most so many")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  search->add_option("--after", options.after, "\"next\" of the page before, as --json shows it");
  search->add_option("--index", options.index,
                     "ask this index server: https://host:7383 or https://host:7383#PEERID");
  search->callback([&] {
    std::string words;
    for (const auto& word : options.words) words += (words.empty() ? "" : " ") + word;
    if (!options.index.empty()) {
      const auto get = [&](const std::string& path) { return AskIndexServer(options.index, path); };
      exit = Search(get, words, options.limit, options.after, options.json);
      return;
    }
    exit = WithAgent(options, [&](const auto& agent) {
      const auto get = [&](const std::string& path) { return agent.Get(path); };
      return Search(get, words, options.limit, options.after, options.json);
    });
  });
  asks_agent("pulls", "what is and was being fetched")->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) { return ShowPulls(agent, options.json); });
  });
  auto* who_has = asks_agent("who-has", "which peers hold an image or blob");
  who_has->add_option("what", options.argument, "image name or digest")->required();
  who_has->add_flag("--resolve", options.resolve, "ask the peer index too");
  who_has->callback([&] {
    exit = WithAgent(options, [&](const auto& agent) {
      return WhoHas(agent, options.argument, options.resolve, options.json);
    });
  });
  auto* pull = asks_agent("pull", "fetch an image, and write it into containerd");
  pull->add_option("image", options.argument, "like docker.io/library/nginx:latest")->required();
  pull->callback([&] {
    exit = WithAgent(
        options, [&](const auto& agent) { return Pull(agent, options.argument, options.json); });
  });
  auto* preheat = asks_agent("preheat", "have every host of a room fetch an image");
  preheat->add_option("image", options.preheat.image, "like docker.io/library/nginx:latest")
      ->required();
  preheat->add_option("--room", options.preheat.room, "its name or id, when there are several");
  preheat->add_option("--expires", options.preheat.expires, "for how long hosts that come fetch it")
      ->capture_default_str();
  preheat->add_flag("--withdraw", options.preheat.withdraw, "take back what this host has said");
  preheat->callback([&] {
    options.preheat.json = options.json;
    exit = WithAgent(options, [&](const auto& agent) { return Preheat(agent, options.preheat); });
  });

  auto* hosts = app.add_subcommand("hosts", "point the container runtime at the mirror");
  hosts->require_subcommand(1);
  const auto hosts_verb = [&](const char* name, const char* text, const HostsVerb& work) {
    auto* verb = hosts->add_subcommand(name, text);
    verb->add_option("--runtime", options.runtime, "containerd, crio, podman or docker")
        ->capture_default_str();
    verb->add_option("--registry", options.hosts.registries, "only this registry; may be repeated");
    verb->add_option("--mirror", options.hosts.mirror, "address of the mirror")
        ->capture_default_str();
    verb->add_option("--containerd-config", options.hosts.config)->capture_default_str();
    verb->add_option("--containers-config", options.hosts.containers, "file for Podman and CRI-O")
        ->capture_default_str();
    verb->add_option("--docker-config", options.hosts.docker, "Docker's daemon.json")
        ->capture_default_str();
    verb->add_option("--certs", options.hosts.certs, "folder of hosts.toml files")
        ->capture_default_str();
    verb->callback([&, work] { exit = Hosts(options, work); });
  };
  hosts_verb("install", "write its mirror configuration",
             {InstallHosts, InstallContainers, InstallDocker});
  hosts_verb("remove", "put back what was there", {RemoveHosts, RemoveContainers, RemoveDocker});
  hosts_verb("show", "how it is now", {ShowHosts, ShowContainers, ShowDocker});

  auto* doctor = asks_agent("doctor", "looks at this host, and says what to do");
  doctor->callback([&] {
    exit = WithConfig(options, [&](const Config& config) {
      return Doctor(config, AgentOf(options, config), options.hosts, options.json);
    });
  });

  AddRoomVerbs(app, options, exit, with_config);
  with_config(app.add_subcommand("id", "this host's peer id"))->callback([&] {
    exit = WithConfig(options, PrintId);
  });
  auto* config = app.add_subcommand("config", "the configuration");
  config->require_subcommand(1);
  with_config(config->add_subcommand("check", "whether it is right"))->callback([&] {
    exit = WithConfig(options, [](const Config& loaded) {
      if (auto registries = MakeRegistries(loaded); !registries) {
        Fail(registries.error());
        return Exit::kUsage;
      }
      std::printf("the configuration is right\n");
      return Exit::kDone;
    });
  });
  with_config(config->add_subcommand("show", "all keys as they are in force"))->callback([&] {
    exit = WithConfig(options, [](const Config& loaded) {
      std::fputs(ShowConfig(loaded).c_str(), stdout);
      return Exit::kDone;
    });
  });
  app.add_subcommand("version", "the version of this binary")->callback([] {
    std::printf("shoal %s\n", SHOAL_VERSION);
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    const std::vector<std::string> words(argv + 1, argv + argc);
    return static_cast<int>(Fail({Code::kInvalid, UsageSentence(app, error, words)}));
  } catch (const std::exception& error) {
    return static_cast<int>(Fail({Code::kExhausted, error.what()}));
  }
  return static_cast<int>(exit);
}

}  // namespace
}  // namespace shoal::agent

int main(int argc, char** argv) {
  // libtorrent and cpprestsdk have OpenSSL read its default file of authorities, for each
  // connection anew: up to 1.2 MiB each, and nothing that they connect to is judged by it (an index
  // server is pinned). Upstreams are: libcurl reads the system's file by its own path.
  setenv("SSL_CERT_FILE", "/dev/null", 1);
  return shoal::agent::Main(argc, argv);
}
