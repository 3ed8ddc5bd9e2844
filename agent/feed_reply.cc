#include "agent/feed_reply.h"

#include <algorithm>
#include <future>
#include <memory>
#include <utility>

#include "agent/json_parts.h"
#include "base/units.h"

namespace shoal::agent {
namespace {

// A registry that is away is given up after 20 s.
constexpr auto kBeginWait = std::chrono::seconds(25);

Json HostOf(const PreheatHost& host, const std::string& name) {
  Json json = Json::object();
  json["id"] = Text(host.id.Hex());
  json["name"] = Text(name);
  json["state"] = Text(host.silent ? "silent" : std::string(ToString(host.report.state)));
  json["have_bytes"] = Count(host.report.have.count());
  json["size"] = Count(host.report.size.count());
  json["text"] = Text(host.report.text);
  return json;
}

// On the loop.
Json JsonOf(const PreheatParts& parts, const PreheatView& view) {
  Json json = Json::object();
  json["id"] = Text(view.id);
  json["image"] = Text(view.image);
  const auto names = parts.rooms.Names(parts.rooms.BitOf(view.room));
  json["room"] = Text(names.empty() ? view.room : names.front());
  json["state"] = Text(view.withdrawn ? "withdrawn" : view.ended ? "done" : "running");
  json["expires"] = Count(ToUnixMs(view.expires));
  std::int64_t size = 0;
  for (const auto& host : view.hosts) size = std::max(size, host.report.size.count());
  std::int64_t have_bytes = 0;
  std::int64_t want_bytes = 0;
  Json hosts = Json::array();
  for (const auto& host : view.hosts) {
    Push(hosts, HostOf(host, parts.name_of(host.id)));
    const auto& report = host.report;
    if (report.state == PreheatState::kDeclined) continue;
    have_bytes += report.have.count();
    // Whoever does not know yet how large it is: as large as for the others.
    want_bytes += report.size == Bytes(0) ? size : report.size.count();
  }
  json["have_bytes"] = Count(have_bytes);
  json["size"] = Count(want_bytes);
  json["hosts"] = hosts;
  return json;
}

AdminReply Begin(const PreheatParts& parts, const AdminRequest& request) {
  auto image = GetString(request.body, "image");
  if (!image) return ErrorReply(image.error());
  std::string room;
  if (request.body.has_field("room")) {
    auto named = GetString(request.body, "room", 64);
    if (!named) return ErrorReply(named.error());
    room = *std::move(named);
  }
  Duration life = kPreheatLife;
  if (request.body.has_field("expires")) {
    auto text = GetString(request.body, "expires", 32);
    if (!text) return ErrorReply(text.error());
    auto parsed = ParseDuration(*text);
    if (!parsed) return ErrorReply(parsed.error().In("expires"));
    life = *parsed;
  }
  auto promise = std::make_shared<std::promise<Result<std::string>>>();
  parts.loop.Post([&preheats = parts.preheats, image = *image, room, life, promise] {
    preheats.Begin(image, room, life,
                   [promise](Result<std::string> id) { promise->set_value(std::move(id)); });
  });
  auto future = promise->get_future();
  if (future.wait_for(kBeginWait) != std::future_status::ready) {
    return ErrorReply(
        {Code::kRetryLater, "nobody has said in time whether there is " + *image +
                                "; if it is found the room is told, see GET /v1/preheats"});
  }
  const auto id = future.get();
  if (!id) return ErrorReply(id.error());
  Json answer = Json::object();
  answer["id"] = Text(*id);
  return JsonReply(answer, 202);
}

}  // namespace

AdminReply PreheatReply(const PreheatParts& parts, const AdminRequest& request) {
  const auto& path = request.path;
  if (path.size() == 2 && request.method == "POST") return Begin(parts, request);
  if (path.size() == 2 && IsRead(request)) {
    return JsonReply(parts.loop.Ask([&] {
      Json list = Json::array();
      for (const auto& view : parts.preheats.List()) Push(list, JsonOf(parts, view));
      return list;
    }));
  }
  if (path.size() == 2) return WrongMethod(request.method);
  if (path.size() != 3) {
    return ErrorReply({Code::kNotFound, "no such path; docs/OPERATING.md lists them"});
  }
  if (request.method == "DELETE") {
    const auto withdrawn = parts.loop.Ask([&] { return parts.preheats.Withdraw(path[2]); });
    return withdrawn ? JsonReply(Json::object()) : ErrorReply(withdrawn.error());
  }
  if (!IsRead(request)) return WrongMethod(request.method);
  const auto found = parts.loop.Ask([&]() -> Result<Json> {
    const auto view = parts.preheats.Find(path[2]);
    if (!view) return Error{Code::kNotFound, "there is no preheat " + path[2] + " of this host"};
    return JsonOf(parts, *view);
  });
  return found ? JsonReply(*found) : ErrorReply(found.error());
}

AdminReply FeedReply(const index::Feed* feed, const PeerNames& name_of) {
  if (feed == nullptr) {
    return ErrorReply(
        {Code::kNotFound, "this host is in no such room; `shoal room list` names its rooms"});
  }
  auto messages = feed->log().All();
  std::ranges::sort(messages, {}, [](const auto& message) { return message->word().written; });
  Json list = Json::array();
  for (const auto& message : messages) {
    const auto& word = message->word();
    Json json = Json::object();
    json["writer"] = Text(message->writer().Hex());
    json["name"] = Text(name_of(message->writer()));
    json["sequence"] = Count(static_cast<std::int64_t>(word.sequence));
    json["written"] = Count(ToUnixMs(word.written));
    json["expires"] = Count(ToUnixMs(word.expires));
    json["kind"] = Text(word.kind);
    json["topic"] = Text(word.topic);
    auto body = ParseJson(word.body, index::kFeedMessageBytesMax);
    json["body"] = body ? *body : Json::null();
    Push(list, std::move(json));
  }
  return JsonReply(list);
}

}  // namespace shoal::agent
