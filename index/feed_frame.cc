#include "index/feed_frame.h"

#include <array>
#include <utility>

#include "base/json.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::array<std::pair<const char*, bool FeedFrame::*>, 7> kFlags = {
    {{"link", &FeedFrame::link},
     {"unlink", &FeedFrame::unlink},
     {"push", &FeedFrame::push},
     {"prune", &FeedFrame::prune},
     {"graft", &FeedFrame::graft},
     {"whole", &FeedFrame::whole},
     {"more", &FeedFrame::more}}};

constexpr std::array<std::pair<const char*, std::vector<FeedName> FeedFrame::*>, 2> kNames = {
    {{"have", &FeedFrame::have}, {"want", &FeedFrame::want}}};

Result<std::vector<FeedName>> ReadNames(const Json& object, const std::string& member) {
  std::vector<FeedName> names;
  auto list = GetArray(object, member, kFeedWritersMax);
  if (!list) return list.error();
  for (const auto& item : list->as_array()) {
    if (!item.is_object()) return Error{Code::kInvalid, "a name of a message is an object"};
    auto writer = GetString(item, "writer", 64);
    if (!writer) return writer.error();
    auto id = ParsePeerId(*writer);
    if (!id) return id.error();
    auto sequence = GetInt(item, "sequence", 0, kJsonIntMax);
    if (!sequence) return sequence.error();
    names.push_back({*id, static_cast<std::uint64_t>(*sequence)});
  }
  return names;
}

}  // namespace

std::size_t FeedFrame::message_bytes() const {
  std::size_t bytes = 0;
  for (const auto& message : messages) bytes += message.size();
  return bytes;
}

std::string EncodeFeedFrame(const FeedFrame& frame) {
  auto json = Json::object(true);
  for (const auto& [name, flag] : kFlags) {
    if (frame.*flag) json[name] = Json::boolean(true);
  }
  for (const auto& [name, list] : kNames) {
    if ((frame.*list).empty()) continue;
    auto names = Json::array();
    for (const auto& each : frame.*list) {
      auto item = Json::object(true);
      item["writer"] = Json::string(each.writer.Hex());
      item["sequence"] = Json::number(static_cast<std::int64_t>(each.sequence));
      names[names.size()] = std::move(item);
    }
    json[name] = std::move(names);
  }
  if (!frame.messages.empty()) {
    auto messages = Json::array();
    for (const auto& text : frame.messages) messages[messages.size()] = Json::string(text);
    json["messages"] = std::move(messages);
  }
  return json.serialize();
}

Result<FeedFrame> DecodeFeedFrame(std::string_view text) {
  auto json = ParseJson(text, kFeedFrameBytesMax);
  if (!json) return json.error().In("the feed");
  if (!json->is_object()) return Error{Code::kInvalid, "the feed: it must be a JSON object"};
  FeedFrame frame;
  for (const auto& [name, flag] : kFlags) {
    if (!json->has_field(name)) continue;
    auto value = GetBool(*json, name);
    if (!value) return value.error().In("the feed");
    frame.*flag = *value;
  }
  for (const auto& [name, list] : kNames) {
    if (!json->has_field(name)) continue;
    auto names = ReadNames(*json, name);
    if (!names) return names.error().In("the feed");
    frame.*list = *std::move(names);
  }
  if (json->has_field("messages")) {
    auto messages = GetArray(*json, "messages", kFeedFrameBytesMax / 64);
    if (!messages) return messages.error().In("the feed");
    for (const auto& item : messages->as_array()) {
      if (!item.is_string() || item.as_string().size() > kFeedMessageBytesMax) {
        return Error{Code::kInvalid, "the feed: a message is a string of at most 4096 bytes"};
      }
      frame.messages.push_back(item.as_string());
    }
  }
  return frame;
}

}  // namespace shoal::index
