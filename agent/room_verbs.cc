#include "agent/room_verbs.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <utility>

#include "agent/table.h"
#include "base/units.h"
#include "index/keyfile/file_io.h"
#include "index/keyfile/keyfile.h"
#include "index/keyfile/room_files.h"
#include "index/members.h"
#include "index/net/io_thread.h"
#include "index/room_token.h"

namespace shoal::agent {
namespace {

constexpr Duration kTokenLifeMax = std::chrono::hours(24 * 3660);

std::string KeyPath(const Config& config, const RoomOptions& options) {
  return options.key.empty() ? config.agent.data_dir + "/room-keys/" + options.name : options.key;
}

std::string RoomsFolder(const Config& config) { return config.agent.data_dir + "/rooms"; }

// The name, and where the room is found.
Result<index::RoomFacts> FactsOf(const Config& config, const RoomOptions& options,
                                 const index::SigningKey& key) {
  index::RoomFacts facts{options.name, key.public_key(), {}};
  facts.places.rendezvous = options.servers.empty() ? config.index.rendezvous : options.servers;
  for (const auto& text : options.peers.empty() ? config.index.fixed : options.peers) {
    auto endpoint = index::ParseEndpoint(text);
    if (!endpoint) return endpoint.error();
    facts.places.fixed.push_back(*endpoint);
  }
  if (Status valid = Valid(facts); !valid) return valid.error();
  return facts;
}

// The next number of what the room's key says. It grows even when the clock is set back: else a
// revocation could be below what it takes back.
Result<std::uint64_t> NextSequence(const std::string& key_path) {
  const std::string path = key_path + ".sequence";
  std::uint64_t last = 0;
  std::string text;
  if (std::ifstream file(path); file && std::getline(file, text)) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), last);
    if (error != std::errc() || end != text.data() + text.size()) {
      return Error{Code::kCorrupt, path +
                                       " is damaged; write a number into it that is above all "
                                       "that this room's key has used, the time in microseconds"};
    }
  }
  const auto now = static_cast<std::uint64_t>(index::WallNow().time_since_epoch().count());
  const std::uint64_t next = std::max(last + 1, now);
  auto written = index::WriteWhole(path, std::to_string(next) + "\n", index::IfThere::kReplace);
  if (!written) return written.error();
  return next;
}

Result<Duration> LifeOf(const RoomOptions& options) {
  auto life = ParseDuration(options.expires);
  if (!life) return life.error().In("--expires");
  if (*life <= Duration(0) || *life > kTokenLifeMax) {
    return Error{Code::kInvalid, "--expires " + options.expires + " is not from 1us to 87840h"};
  }
  return life;
}

struct Issue {
  index::SigningKey key;
  index::RoomFacts facts;
  std::uint64_t sequence = 0;
  WallTime from;
  WallTime until;
};

// What token and grant have in common.
Result<Issue> Begin(const Config& config, const RoomOptions& options) {
  auto life = LifeOf(options);
  if (!life) return life.error();
  const std::string path = KeyPath(config, options);
  auto key = index::LoadRoomKey(path);
  if (!key) return key.error();
  auto facts = FactsOf(config, options, *key);
  if (!facts) return facts.error();
  auto sequence = NextSequence(path);
  if (!sequence) return sequence.error();
  const WallTime now = index::WallNow();
  return Issue{*key, *std::move(facts), *sequence, now, now + *life};
}

Result<std::string> ReadToken(const std::string& argument) {
  if (argument != "-") return argument;
  std::string line;
  if (!std::getline(std::cin, line)) {
    return Error{Code::kInvalid, "there is no token on standard input"};
  }
  return line;
}

}  // namespace

Exit CreateRoom(const Config& config, const RoomOptions& options) {
  if (Status valid = Valid(index::RoomFacts{options.name, {}, {}}); !valid) {
    return Fail(valid.error());
  }
  const std::string path = KeyPath(config, options);
  std::error_code error;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) return Fail({Code::kDenied, "cannot make " + folder.string()});
  auto key = index::MakeRoomKey(path);
  if (!key) return Fail(key.error());
  std::printf("room %s %s\n", options.name.c_str(),
              index::RoomIdOf(key->public_key()).Hex().c_str());
  std::fprintf(stderr, "its key is %s: keep it safe, who has it decides who is a member\n",
               path.c_str());
  return Exit::kDone;
}

Exit PrintRoomToken(const Config& config, const RoomOptions& options) {
  auto issue = Begin(config, options);
  if (!issue) return Fail(issue.error());
  auto secret = index::MakeLooseKey();
  if (!secret) return Fail(secret.error());
  auto delegation = index::SignedDelegation::Sign(
      {secret->public_key(), issue->sequence, issue->from, issue->until}, issue->key);
  std::fprintf(stderr, "token %s\n", delegation.id().Hex().c_str());
  const auto token =
      index::RoomToken::ForAnyHost(std::move(issue->facts), std::move(delegation), *secret);
  std::printf("%s\n", token.Line().c_str());
  return Exit::kDone;
}

Exit GrantMembership(const Config& config, const RoomOptions& options) {
  auto peer = ParsePeerId(options.id);
  if (!peer) return Fail(peer.error());
  auto issue = Begin(config, options);
  if (!issue) return Fail(issue.error());
  const auto token = index::RoomToken::ForPeer(
      std::move(issue->facts),
      index::Membership::ByRoom(issue->key, *peer, issue->sequence, issue->from, issue->until));
  std::printf("%s\n", token.Line().c_str());
  return Exit::kDone;
}

Exit RevokeMembership(const Config& config, const AdminClient& agent, const RoomOptions& options) {
  auto id = ParsePeerId(options.id);
  if (!id) return Fail(id.error());
  const std::string path = KeyPath(config, options);
  auto key = index::LoadRoomKey(path);
  if (!key) return Fail(key.error());
  auto sequence = NextSequence(path);
  if (!sequence) return Fail(sequence.error());
  const std::string text = index::SignRevocation(*key, *id, *sequence);
  const index::RoomId room = index::RoomIdOf(key->public_key());
  Json body = Json::object();
  body["revocation"] = Json::string(text);
  auto told = agent.Post("/v1/rooms/" + room.Hex() + "/revocations", body);
  if (told) {
    std::printf("revoked %s in room %s\n", id->Hex().c_str(), options.name.c_str());
    return Exit::kDone;
  }
  if (told.error().code == Code::kNotFound) {
    return Fail({Code::kNotFound, "this host is not in room " + options.name +
                                      ", so nobody would hear of it; join the room here first"});
  }
  return Fail(told.error());
}

Exit JoinRoom(const Config& config, const AdminClient& agent, const RoomOptions& options) {
  auto line = ReadToken(options.token);
  if (!line) return Fail(line.error());
  auto token = index::RoomToken::Parse(*line);
  if (!token) return Fail(token.error());
  std::error_code error;
  std::filesystem::create_directories(config.agent.data_dir, error);
  auto key = index::LoadOrMakeKey(config.agent.data_dir + "/identity");
  if (!key) return Fail(key.error());
  auto membership = token->MembershipFor(key->id(), index::WallNow());
  if (!membership) return Fail(membership.error());
  const std::string folder = RoomsFolder(config);
  auto rooms = index::LoadRooms(folder);
  if (!rooms) return Fail(rooms.error());
  index::Members members({}, key->id(), false);
  for (const auto& room : *rooms) {
    if (Status in = members.Join(room); !in) return Fail(in.error());
  }
  const index::JoinedRoom joined{token->facts(), *membership};
  if (Status in = members.Join(joined); !in) return Fail(in.error());
  if (Status saved = index::SaveRoom(folder, joined); !saved) return Fail(saved.error());
  auto told = agent.Post("/v1/rooms/reload", Json::object());
  if (!told && told.error().code != Code::kRetryLater) return Fail(told.error());
  std::printf("joined room %s%s\n", joined.facts.name.c_str(),
              told ? "" : "; the agent takes part when it starts");
  return Exit::kDone;
}

Exit LeaveRoom(const Config& config, const AdminClient& agent, const RoomOptions& options) {
  const std::string folder = RoomsFolder(config);
  auto rooms = index::LoadRooms(folder);
  if (!rooms) return Fail(rooms.error());
  std::vector<index::RoomId> found;
  for (const auto& room : *rooms) {
    const index::RoomId id = room.membership.room();
    if (room.facts.name == options.name || id.Hex() == options.name) found.push_back(id);
  }
  if (found.empty()) {
    return Fail({Code::kNotFound, "this host is not in room " + options.name});
  }
  if (found.size() > 1) {
    return Fail({Code::kInvalid, "this host is in " + std::to_string(found.size()) +
                                     " rooms named " + options.name +
                                     "; name the one by its id (shoal room list)"});
  }
  if (Status gone = index::RemoveRoom(folder, found.front()); !gone) return Fail(gone.error());
  auto told = agent.Post("/v1/rooms/reload", Json::object());
  if (!told && told.error().code != Code::kRetryLater) return Fail(told.error());
  std::printf("left room %s\n", options.name.c_str());
  return Exit::kDone;
}

std::string LastDayIn(const Json& room) {
  const std::chrono::sys_time<std::chrono::milliseconds> until(
      std::chrono::milliseconds(room.at("until").as_number().to_int64()));
  const std::chrono::year_month_day day(std::chrono::floor<std::chrono::days>(until));
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%d-%02u-%02u", static_cast<int>(day.year()),
                static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
  return text.data();
}

Exit ListRooms(const AdminClient& agent, bool json) {
  auto rooms = agent.Get("/v1/rooms");
  if (!rooms) return Fail(rooms.error());
  if (json) {
    std::printf("%s\n", rooms->serialize().c_str());
    return Exit::kDone;
  }
  Table table({"ROOM", "ID", "MEMBER", "UNTIL", "MEMBERS", "REVOKED"});
  for (const auto& room : rooms->as_array()) {
    table.Add({room.at("name").as_string(), room.at("id").as_string(),
               room.at("member").as_bool() ? "yes" : "no, join it anew", LastDayIn(room),
               room.at("members").serialize(), room.at("revocations").serialize()});
  }
  std::fputs(table.ToString().c_str(), stdout);
  return Exit::kDone;
}

}  // namespace shoal::agent
