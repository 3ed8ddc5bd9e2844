#include "agent/preheat_report.h"

#include <algorithm>
#include <array>

#include "base/json.h"
#include "index/feed_message.h"
#include "registry-proxy/image_name.h"

namespace shoal::agent {
namespace {

constexpr std::array kStates = {PreheatState::kWaiting, PreheatState::kRunning, PreheatState::kDone,
                                PreheatState::kFailed, PreheatState::kDeclined};
constexpr std::int64_t kImageBytesMax = std::int64_t{1} << 50;

std::string Printable(std::string text) {
  if (text.size() > kPreheatTextBytesMax) text.resize(kPreheatTextBytesMax);
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~' || c == '"' || c == '\\'; }, '\'');
  return text;
}

}  // namespace

std::string_view ToString(PreheatState state) {
  switch (state) {
    case PreheatState::kWaiting:
      return "waiting";
    case PreheatState::kRunning:
      return "running";
    case PreheatState::kDone:
      return "done";
    case PreheatState::kFailed:
      return "failed";
    case PreheatState::kDeclined:
      return "declined";
  }
  return "unknown";
}

std::string EncodePreheatReport(const PreheatReport& report) {
  auto json = Json::object(true);
  json["state"] = Json::string(std::string(ToString(report.state)));
  json["have"] = Json::number(report.have.count());
  json["size"] = Json::number(report.size.count());
  if (!report.text.empty()) json["text"] = Json::string(Printable(report.text));
  return json.serialize();
}

Result<PreheatReport> DecodePreheatReport(std::string_view text) {
  auto json = ParseJson(text, kPreheatReportBytesMax);
  if (!json) return json.error().In("a preheat's answer");
  PreheatReport report;
  auto state = GetString(*json, "state", 16);
  if (!state) return state.error().In("a preheat's answer");
  const auto known = std::ranges::find(kStates, *state, [](auto each) { return ToString(each); });
  if (known == kStates.end()) {
    return Error{Code::kInvalid, "a preheat's answer: there is no such state"};
  }
  report.state = *known;
  auto size = GetInt(*json, "size", 0, kImageBytesMax);
  if (!size) return size.error().In("a preheat's answer");
  auto have = GetInt(*json, "have", 0, *size);
  if (!have) return have.error().In("a preheat's answer");
  report.size = Bytes(*size);
  report.have = Bytes(*have);
  if (json->has_field("text")) {
    auto why = GetString(*json, "text", kPreheatTextBytesMax);
    if (!why) return why.error().In("a preheat's answer");
    report.text = Printable(*std::move(why));
  }
  return report;
}

std::string EncodePreheatWord(const PreheatWord& word) {
  auto json = Json::object(true);
  json["image"] = Json::string(word.image);
  if (word.withdrawn) json["withdrawn"] = Json::boolean(true);
  return json.serialize();
}

Result<PreheatWord> DecodePreheatWord(std::string_view body) {
  auto json = ParseJson(body, index::kFeedBodyBytesMax);
  if (!json) return json.error().In("a preheat");
  PreheatWord word;
  auto image = GetString(*json, "image", index::kFeedTopicBytesMax);
  if (!image) return image.error().In("a preheat");
  auto name = proxy::ParseImageName(*image);
  if (!name) return name.error().In("a preheat");
  word.image = ToString(*name);
  if (json->has_field("withdrawn")) {
    auto withdrawn = GetBool(*json, "withdrawn");
    if (!withdrawn) return withdrawn.error().In("a preheat");
    word.withdrawn = *withdrawn;
  }
  return word;
}

}  // namespace shoal::agent
