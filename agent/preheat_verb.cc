#include "agent/preheat_verb.h"

#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <map>
#include <thread>
#include <vector>

#include "agent/bar.h"
#include "agent/table.h"
#include "base/bytes.h"
#include "base/units.h"
#include "registry-proxy/image_name.h"

namespace shoal::agent {
namespace {

constexpr auto kPreheatPollEvery = std::chrono::milliseconds(200);
// Hosts that are named in an error.
constexpr std::size_t kNamedMax = 5;

volatile std::sig_atomic_t interrupted = 0;

void OnInterrupt(int /*signal*/) { interrupted = 1; }

std::string TextOf(const Json& object, const char* member) { return object.at(member).as_string(); }
std::int64_t Number(const Json& object, const char* member) {
  return object.at(member).as_number().to_int64();
}

std::string NameOf(const Json& host) {
  const std::string name = TextOf(host, "name");
  return name.empty() ? TextOf(host, "id").substr(0, 12) : name;
}

// Which hosts are in which state.
std::map<std::string, std::vector<Json>> ByState(const Json& preheat) {
  std::map<std::string, std::vector<Json>> hosts;
  for (const auto& host : preheat.at("hosts").as_array()) {
    hosts[TextOf(host, "state")].push_back(host);
  }
  return hosts;
}

std::string Said(const Json& host) {
  const std::string state = TextOf(host, "state");
  if (state == "done") return NameOf(host) + " has it, " + HumanSize(Bytes(Number(host, "size")));
  if (state == "failed") return NameOf(host) + " failed: " + TextOf(host, "text");
  if (state == "declined") return NameOf(host) + " does not want it: " + TextOf(host, "text");
  return NameOf(host) + " does not answer";
}

void DrawBar(const Json& preheat, bool again) {
  const auto hosts = ByState(preheat);
  const auto count = [&](const char* state) {
    const auto it = hosts.find(state);
    return it == hosts.end() ? std::size_t{0} : it->second.size();
  };
  const std::size_t wanted = preheat.at("hosts").size() - count("declined");
  std::printf("%s\x1b[2K%s %s of %s, %zu of %zu hosts have it\n", again ? "\x1b[1A" : "",
              Bar(Number(preheat, "have_bytes"), std::max<std::int64_t>(1, Number(preheat, "size")))
                  .c_str(),
              HumanSize(Bytes(Number(preheat, "have_bytes"))).c_str(),
              HumanSize(Bytes(Number(preheat, "size"))).c_str(), count("done"), wanted);
  std::fflush(stdout);
}

void PrintNews(const Json& preheat, std::map<std::string, std::string>& told) {
  for (const auto& host : preheat.at("hosts").as_array()) {
    const std::string state = TextOf(host, "state");
    if (state == "waiting" || state == "running" || told[TextOf(host, "id")] == state) continue;
    told[TextOf(host, "id")] = state;
    std::printf("%s\n", Said(host).c_str());
  }
  std::fflush(stdout);
}

Exit Conclude(const Json& preheat, bool json) {
  if (json) std::printf("%s\n", preheat.serialize().c_str());
  const std::string image = TextOf(preheat, "image");
  if (TextOf(preheat, "state") == "withdrawn") {
    return Fail({Code::kCancelled, "the preheat of " + image + " was withdrawn"});
  }
  auto hosts = ByState(preheat);
  const std::size_t done = hosts["done"].size();
  const std::size_t declined = hosts["declined"].size();
  std::vector<Json> without = hosts["failed"];
  without.insert(without.end(), hosts["silent"].begin(), hosts["silent"].end());
  if (!json) {
    std::printf("%s: %zu of %zu hosts have it", image.c_str(), done,
                preheat.at("hosts").size() - declined);
    if (declined > 0) std::printf(", %zu do not want it", declined);
    std::printf("\n");
  }
  if (!without.empty()) {
    std::string text;
    for (std::size_t i = 0; i < without.size() && i < kNamedMax; ++i) {
      text += (text.empty() ? "" : "; ") + Said(without[i]);
    }
    if (without.size() > kNamedMax) {
      text += "; and " + std::to_string(without.size() - kNamedMax) + " more";
    }
    return Fail({Code::kNotFound, text + "; say it again when that is mended"});
  }
  if (done == 0) {
    return Fail(
        {Code::kNotFound, "no host wants it: " + Said(hosts["declined"].front()) +
                              "; see preheat.images and preheat.open of those that should"});
  }
  return Exit::kDone;
}

Exit Withdraw(const AdminClient& agent, const std::string& image) {
  auto name = proxy::ParseImageName(image);
  if (!name) return Fail(name.error());
  auto list = agent.Get("/v1/preheats");
  if (!list) return Fail(list.error());
  for (const auto& preheat : list->as_array()) {
    if (TextOf(preheat, "image") != ToString(*name) || TextOf(preheat, "state") == "withdrawn") {
      continue;
    }
    auto done = agent.Delete("/v1/preheats/" + TextOf(preheat, "id"));
    if (!done) return Fail(done.error());
    std::printf("withdrew the preheat of %s; hosts that have it keep it\n",
                ToString(*name).c_str());
    return Exit::kDone;
  }
  return Fail({Code::kNotFound, "this host has no preheat of " + ToString(*name) +
                                    "; withdraw it on the host that said it"});
}

}  // namespace

Exit Preheat(const AdminClient& agent, const PreheatOptions& options) {
  if (options.withdraw) return Withdraw(agent, options.image);
  Json body = Json::object();
  body["image"] = Json::string(options.image);
  body["expires"] = Json::string(options.expires);
  if (!options.room.empty()) body["room"] = Json::string(options.room);
  auto begun = agent.Post("/v1/preheats", body);
  if (!begun) return Fail(begun.error());
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, nullptr);
  const std::string path = "/v1/preheats/" + TextOf(*begun, "id");
  const bool bar = !options.json && isatty(STDOUT_FILENO) == 1;
  bool drawn = false;
  std::map<std::string, std::string> told;
  for (;;) {
    auto preheat = agent.Get(path);
    if (!preheat) return Fail(preheat.error());
    if (bar) {
      DrawBar(*preheat, drawn);
      drawn = true;
    } else if (!options.json) {
      PrintNews(*preheat, told);
    }
    if (TextOf(*preheat, "state") != "running") return Conclude(*preheat, options.json);
    if (interrupted != 0) {
      return Fail({Code::kCancelled,
                   "not waited for any longer; the hosts go on. `shoal preheat "
                   "--withdraw " +
                       TextOf(*preheat, "image") + "` stops them"});
    }
    std::this_thread::sleep_for(kPreheatPollEvery);
  }
}

Exit ShowRoomLog(const AdminClient& agent, const std::string& room, bool json) {
  auto messages = agent.Get("/v1/rooms/" + UrlEncode(room) + "/feed");
  if (!messages) return Fail(messages.error());
  if (json) {
    std::printf("%s\n", messages->serialize().c_str());
    return Exit::kDone;
  }
  Table table({"WRITTEN", "BY", "KIND", "TOPIC", "ENDS"});
  for (const auto& message : messages->as_array()) {
    const auto time = [&](const char* member) {
      const auto seconds = static_cast<std::time_t>(Number(message, member) / 1000);
      std::tm utc{};
      gmtime_r(&seconds, &utc);
      char text[32];
      std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
      return std::string(text);
    };
    const bool withdrawn = message.at("body").has_field("withdrawn");
    table.Add({time("written"),
               NameOf(Json::object({{"name", message.at("name")}, {"id", message.at("writer")}})),
               TextOf(message, "kind") + (withdrawn ? ", withdrawn" : ""), TextOf(message, "topic"),
               time("expires")});
  }
  std::fputs(table.ToString().c_str(), stdout);
  return Exit::kDone;
}

}  // namespace shoal::agent
