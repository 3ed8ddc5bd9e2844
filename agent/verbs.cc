#include "agent/verbs.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <map>
#include <thread>

#include "agent/bar.h"
#include "agent/table.h"
#include "base/bytes.h"
#include "base/units.h"

namespace shoal::agent {
namespace {

constexpr std::size_t kBlobsAPage = 1000;
constexpr auto kPollEvery = std::chrono::milliseconds(200);

void Print(const std::string& text) { std::fputs(text.c_str(), stdout); }

std::string MemberText(const Json& object, const std::string& member) {
  if (!object.is_object() || !object.has_field(member)) return "";
  const Json& value = object.at(member);
  if (value.is_string()) return value.as_string();
  if (value.is_null()) return "-";
  if (value.is_array()) {
    std::string joined;
    for (const auto& item : value.as_array()) {
      joined +=
          (joined.empty() ? "" : ", ") + (item.is_string() ? item.as_string() : item.serialize());
    }
    return joined;
  }
  return value.serialize();
}

std::int64_t Number(const Json& object, const std::string& member) {
  if (!object.is_object() || !object.has_field(member)) return 0;
  const Json& value = object.at(member);
  return value.is_integer() ? value.as_number().to_int64() : 0;
}

std::string Size(const Json& object, const std::string& member) {
  return HumanSize(Bytes(Number(object, member)));
}

std::string ShortDigest(const std::string& digest) {
  return digest.size() > 19 ? digest.substr(0, 19) : digest;
}

std::string Ago(std::int64_t unix_ms) {
  if (unix_ms == 0) return "never";
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  return std::to_string(std::max<std::int64_t>(0, now - unix_ms) / 1000) + " s ago";
}

Exit Show(const Result<Json>& answer, bool json, void (*print)(const Json&)) {
  if (!answer) return Fail(answer.error());
  if (json) {
    Print(answer->serialize() + "\n");
  } else {
    print(*answer);
  }
  return Exit::kDone;
}

void AddRelay(const Json& relay, Table& table) {
  std::string through;
  for (const auto& one : relay.at("through").as_array()) {
    through += (through.empty() ? ", reached through " : " and ") + MemberText(one, "name") +
               " at " + MemberText(one, "endpoint");
  }
  table.Add({"dialable", MemberText(relay, "dialable") + through});
  if (Number(relay, "places") == 0 && Number(relay, "bytes") == 0) return;
  table.Add({"relay", "for " + MemberText(relay, "places") + " of " + MemberText(relay, "slots") +
                          " peers, " + MemberText(relay, "circuits") + " connections, " +
                          Size(relay, "bytes") + " carried"});
}

void PrintStatus(const Json& status) {
  const Json& peers = status.at("peers");
  const Json& store = status.at("store");
  const Json& bytes = status.at("bytes");
  const Json& pulls = status.at("pulls");
  Table table({"agent", MemberText(status, "name") + "  " + MemberText(status, "version")});
  table.Add({"id", MemberText(status, "id")});
  table.Add({"up", std::to_string(Number(status, "uptime_s")) + " s"});
  table.Add({"rooms", status.at("room").size() == 0
                          ? "none: this host shares nothing (shoal join, or room.open = true)"
                          : MemberText(status, "room")});
  for (const auto& entry : status.at("index").as_array()) {
    std::string state = entry.at("ok").as_bool() ? "ok" : MemberText(entry, "text");
    if (entry.at("ok").as_bool() && !entry.at("nodes").is_null()) {
      state += ", " + MemberText(entry, "nodes") + " nodes known";
    }
    table.Add(
        {"index", MemberText(entry, "kind") + " " + MemberText(entry, "target") + ": " + state});
  }
  table.Add(
      {"peers", MemberText(peers, "alive") + " alive, " + MemberText(peers, "known") + " known"});
  table.Add({"network", "about " + MemberText(peers, "estimated_network_size") +
                            " hosts, give or take " +
                            MemberText(peers, "estimated_network_size_error")});
  AddRelay(status.at("relay"), table);
  table.Add({"store", MemberText(store, "blobs") + " blobs, " + Size(store, "bytes") + " of " +
                          Size(store, "max_bytes")});
  table.Add({"containerd", MemberText(status, "containerd")});
  table.Add({"from peers", Size(bytes, "from_peers")});
  table.Add({"from upstream", Size(bytes, "from_upstream")});
  table.Add({"to peers", Size(bytes, "to_peers")});
  table.Add({"to runtime", Size(bytes, "to_runtime")});
  table.Add({"pulls", MemberText(pulls, "active") + " active, " + MemberText(pulls, "done") +
                          " done, " + MemberText(pulls, "failed") + " failed"});
  Print(table.ToString());
}

void PrintPeers(const Json& peers) {
  Table table({"NAME", "ID", "STATE", "ENDPOINT", "BLOBS", "HEARD", "RECEIVED", "SENT"});
  for (const auto& peer : peers.as_array()) {
    const auto& endpoints = peer.at("endpoints");
    table.Add({MemberText(peer, "name"), MemberText(peer, "id").substr(0, 12),
               Number(peer, "banned_until") != 0 ? "banned" : MemberText(peer, "state"),
               !MemberText(peer, "relay").empty()
                   ? "relay " + MemberText(peer, "relay").substr(0, 12)
               : endpoints.size() > 0 ? endpoints.at(0).as_string()
                                      : "-",
               MemberText(peer, "blobs"), Ago(Number(peer, "last_seen")), Size(peer, "bytes_in"),
               Size(peer, "bytes_out")});
  }
  Print(table.ToString());
}

void PrintBlobs(const Json& blobs) {
  Table table({"DIGEST", "SIZE", "STATE", "CONTAINERD"});
  for (const auto& blob : blobs.as_array()) {
    table.Add({MemberText(blob, "digest"), Size(blob, "size"), MemberText(blob, "state"),
               blob.at("in_containerd").as_bool() ? "yes" : "no"});
  }
  Print(table.ToString());
}

void PrintBlob(const Json& blob) {
  Table table({"digest", MemberText(blob, "digest")});
  table.Add({"size", Size(blob, "size")});
  table.Add({"state", MemberText(blob, "state")});
  table.Add({"pieces", MemberText(blob, "have") + " of " + MemberText(blob, "pieces")});
  table.Add({"in containerd", blob.at("in_containerd").as_bool() ? "yes" : "no"});
  for (const auto& holder : blob.at("holders").as_array()) {
    table.Add(
        {"holder", MemberText(holder, "name") + " " + MemberText(holder, "id").substr(0, 12)});
  }
  Print(table.ToString());
}

void PrintImages(const Json& images) {
  Table table({"IMAGE", "DIGEST", "HERE", "HOLDERS"});
  for (const auto& image : images.as_array()) {
    table.Add({MemberText(image, "name"), ShortDigest(MemberText(image, "digest")),
               image.at("here").as_bool() ? "yes" : "no", MemberText(image, "holders")});
  }
  Print(table.ToString());
}

void PrintPulls(const Json& pulls) {
  Table table({"ID", "IMAGE OR BLOB", "STATE", "SIZE", "PEERS", "UPSTREAM", "SOURCES"});
  for (const auto& pull : pulls.as_array()) {
    std::string what = MemberText(pull, "image");
    if (what.empty()) what = ShortDigest(MemberText(pull, "digest"));
    table.Add({MemberText(pull, "id"), what, MemberText(pull, "state"), Size(pull, "size"),
               Size(pull, "from_peers"), Size(pull, "from_upstream"), MemberText(pull, "sources")});
  }
  Print(table.ToString());
}

void PrintHolders(const Json& answer) {
  Table table({"HOLDER", "ID", "WHAT", "ENDPOINT"});
  for (const auto& holder : answer.at("holders").as_array()) {
    table.Add({MemberText(holder, "name"), MemberText(holder, "id").substr(0, 12),
               MemberText(holder, "what"), MemberText(holder, "endpoint")});
  }
  Print(table.ToString());
}

void PrintFound(const Json& answer) {
  Table table({"IMAGE", "DIGEST", "SIZE", "PLATFORMS", "HERE", "HOLDERS"});
  for (const auto& image : answer.at("images").as_array()) {
    table.Add({MemberText(image, "name"), ShortDigest(MemberText(image, "digest")),
               Number(image, "size") == 0 ? "-" : Size(image, "size"),
               image.at("platforms").size() == 0 ? "-" : MemberText(image, "platforms"),
               image.at("here").as_bool() ? "yes" : "no", MemberText(image, "holders")});
  }
  Print(table.ToString());
  if (!answer.at("whole").as_bool()) {
    std::fputs("the search took too long and was cut short: say more words\n", stderr);
  } else if (!MemberText(answer, "next").empty()) {
    std::fputs("there are more: say more words, or --limit N up to 1000\n", stderr);
  }
}

// Draws over what it drew before.
void DrawBars(const Json& pull, std::size_t& lines) {
  if (lines > 0) std::printf("\x1b[%zuA", lines);
  lines = 0;
  for (const auto& blob : pull.at("blobs").as_array()) {
    const std::int64_t size = Number(blob, "size");
    const std::int64_t have = Number(blob, "have_bytes");
    std::printf("\x1b[2K%s %s %s of %s\n", ShortDigest(MemberText(blob, "digest")).c_str(),
                Bar(have, size).c_str(), HumanSize(Bytes(have)).c_str(),
                HumanSize(Bytes(size)).c_str());
    ++lines;
  }
  std::fflush(stdout);
}

// One line when a blob is there.
void PrintNews(const Json& pull, std::map<std::string, bool>& told) {
  for (const auto& blob : pull.at("blobs").as_array()) {
    const std::string digest = MemberText(blob, "digest");
    if (MemberText(blob, "state") != "done" || told[digest]) continue;
    told[digest] = true;
    std::printf("%s %s, %s from peers, %s from upstream\n", ShortDigest(digest).c_str(),
                Size(blob, "size").c_str(), Size(blob, "from_peers").c_str(),
                Size(blob, "from_upstream").c_str());
  }
  std::fflush(stdout);
}

}  // namespace

Exit Fail(const Error& error) {
  std::fprintf(stderr, "shoal: %s\n", error.text.c_str());
  switch (error.code) {
    case Code::kInvalid:
    case Code::kUnsupported:
      return Exit::kUsage;
    case Code::kRetryLater:
      return Exit::kNoAgent;
    default:
      return Exit::kFailed;
  }
}

Exit ShowStatus(const AdminClient& agent, bool json) {
  return Show(agent.Get("/v1/status"), json, PrintStatus);
}

Exit ShowPeers(const AdminClient& agent, bool json) {
  return Show(agent.Get("/v1/peers"), json, PrintPeers);
}

Exit ShowBlobs(const AdminClient& agent, const std::string& digest, bool json) {
  if (!digest.empty()) return Show(agent.Get("/v1/blobs/" + digest), json, PrintBlob);
  Json all = Json::array();
  std::string after;
  for (;;) {
    auto page = agent.Get("/v1/blobs?limit=" + std::to_string(kBlobsAPage) +
                          (after.empty() ? "" : "&after=" + after));
    if (!page) return Fail(page.error());
    for (const auto& blob : page->as_array()) all[all.size()] = blob;
    if (page->size() < kBlobsAPage) break;
    after = MemberText(page->at(page->size() - 1), "digest");
  }
  return Show(all, json, PrintBlobs);
}

Exit ShowImages(const AdminClient& agent, bool json) {
  return Show(agent.Get("/v1/images"), json, PrintImages);
}

Exit ShowPulls(const AdminClient& agent, bool json) {
  return Show(agent.Get("/v1/pulls"), json, PrintPulls);
}

Exit WhoHas(const AdminClient& agent, const std::string& what, bool resolve, bool json) {
  auto answer = agent.Get("/v1/who-has?what=" + UrlEncode(what) + (resolve ? "&resolve=true" : ""));
  if (answer && answer->at("holders").size() == 0 && !json) {
    return Fail({Code::kNotFound, "nobody that this host knows of has " + what});
  }
  return Show(answer, json, PrintHolders);
}

Exit Search(const std::function<Result<Json>(const std::string& path)>& get,
            const std::string& words, int limit, const std::string& after, bool json) {
  const auto answer = get("/v1/search?q=" + UrlEncode(words) + "&limit=" + std::to_string(limit) +
                          (after.empty() ? "" : "&after=" + UrlEncode(after)));
  if (answer && answer->at("images").size() == 0 && !json) {
    return Fail({Code::kNotFound, "no image that is known there is \"" + words +
                                      "\"; names are found by the beginnings of their words, or by "
                                      "patterns like \"*" +
                                      words + "*\""});
  }
  return Show(answer, json, PrintFound);
}

Exit Pull(const AdminClient& agent, const std::string& image, bool json) {
  Json body = Json::object();
  body["image"] = Json::string(image);
  auto started = agent.Post("/v1/pulls", body);
  if (!started) return Fail(started.error());
  const std::string path = "/v1/pulls/" + MemberText(*started, "id");
  const bool bars = !json && isatty(STDOUT_FILENO) == 1;
  std::size_t lines = 0;
  std::map<std::string, bool> told;
  for (;;) {
    auto pull = agent.Get(path);
    if (!pull) return Fail(pull.error());
    if (bars) {
      DrawBars(*pull, lines);
    } else if (!json) {
      PrintNews(*pull, told);
    }
    const std::string state = MemberText(*pull, "state");
    if (state == "failed") return Fail({Code::kNotFound, MemberText(*pull, "error")});
    if (state == "done") {
      if (json) {
        Print(pull->serialize() + "\n");
      } else {
        std::printf("%s %s: %s, %s from peers, %s from upstream%s\n",
                    MemberText(*pull, "image").c_str(),
                    ShortDigest(MemberText(*pull, "digest")).c_str(), Size(*pull, "size").c_str(),
                    Size(*pull, "from_peers").c_str(), Size(*pull, "from_upstream").c_str(),
                    pull->at("in_containerd").as_bool() ? ", now in containerd" : "");
      }
      return Exit::kDone;
    }
    std::this_thread::sleep_for(kPollEvery);
  }
}

}  // namespace shoal::agent
