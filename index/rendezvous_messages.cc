#include "index/rendezvous_messages.h"

#include "base/json.h"

namespace shoal::index {
namespace {

constexpr std::int64_t kTtlSecondsMax = std::int64_t{1} << 31;
// More than any server gives in one answer.
constexpr std::size_t kRecordsMax = 5000;

std::string_view VerbName(RendezvousVerb verb) {
  return verb == RendezvousVerb::kRegister ? "register" : "unregister";
}

std::int64_t ToSeconds(Duration d) {
  return std::chrono::duration_cast<std::chrono::seconds>(d).count();
}

RendezvousError Refuse(RendezvousStatus status, std::string text) {
  return {status, std::move(text)};
}

// What was signed besides verb, server and time: namespaces and TTL.
RendezvousError ReadPayload(const Json& json, RendezvousVerb verb, Registrations::Request& out) {
  const auto names = GetArray(json, "namespaces", kNamespacesPerRequestMax);
  if (!names) return Refuse(RendezvousStatus::kInvalidNamespace, names.error().text);
  for (const auto& name : names->as_array()) {
    if (!name.is_string() || !IsNamespace(name.as_string())) {
      return Refuse(RendezvousStatus::kInvalidNamespace,
                    "a namespace must be 1 to 255 bytes of printable ASCII");
    }
    out.namespaces.push_back(name.as_string());
  }
  if (out.namespaces.empty()) {
    return Refuse(RendezvousStatus::kInvalidNamespace, "no namespace is named");
  }
  if (verb == RendezvousVerb::kRegister) {
    if (!json.has_field("ttl_s")) return {};
    const auto ttl = GetInt(json, "ttl_s", 0, kTtlSecondsMax);
    if (!ttl) return Refuse(RendezvousStatus::kInvalidTtl, ttl.error().text);
    out.ttl = std::chrono::seconds(*ttl);
  }
  return {};
}

}  // namespace

std::string EncodeRequest(RendezvousVerb verb, const Registrations::Request& request,
                          const PeerId& server, const SigningKey& key) {
  auto names = Json::array(request.namespaces.size());
  for (std::size_t i = 0; i < request.namespaces.size(); ++i) {
    names[i] = Json::string(request.namespaces[i]);
  }
  auto payload = Json::object();
  payload["namespaces"] = std::move(names);
  if (request.ttl) payload["ttl_s"] = Json::number(ToSeconds(*request.ttl));
  return EncodeSigned(VerbName(verb), std::move(payload), request.sent_ms, server, request.record,
                      key);
}

RequestOrError DecodeRequest(std::string_view text, RendezvousVerb verb, const PeerId& server,
                             const ReadRecord& read, const std::optional<PeerId>& shown) {
  auto decoded = DecodeSigned(text, VerbName(verb), server, read, shown);
  if (!decoded.error.ok()) return {std::move(decoded.error), {}};
  const auto& request = *decoded.request;
  RequestOrError out{{}, {Registrations::Request{{}, *request.record, {}, request.sent_ms}}};
  out.error = ReadPayload(request.payload, verb, out.request.front());
  if (!out.error.ok()) out.request.clear();
  return out;
}

std::string EncodeError(const RendezvousError& error) {
  auto json = Json::object(true);
  json["status"] = Json::string(std::string(ToString(error.status)));
  if (!error.text.empty()) json["text"] = Json::string(error.text);
  return json.serialize();
}

std::string EncodeRegistered(Duration ttl) {
  return R"({"status":"OK","ttl_s":)" + std::to_string(ToSeconds(ttl)) + "}";
}

std::string EncodeDiscovered(const std::string& name, const Registrations::Answer& answer) {
  const std::string space =
      name.empty() ? "" : R"("namespace":)" + Json::string(name).serialize() + ",";
  std::string out = R"({"status":"OK","records":[)";
  for (const auto& found : answer.found) {
    if (out.back() != '[') out += ',';
    out += "{" + space + R"("record":)" + *found.envelope + R"(,"ttl_s":)" +
           std::to_string(ToSeconds(found.ttl)) + "}";
  }
  out += R"(],"cookie":")" + answer.cookie + R"("})";
  return out;
}

Result<ServerAnswer> DecodeAnswer(std::string_view text, const ReadRecord& read) {
  auto json = ParseJson(text, kRendezvousAnswerBytesMax);
  if (!json) return json.error().In("index server");
  const auto word = GetString(*json, "status", 64);
  if (!word) return word.error().In("index server");
  ServerAnswer answer;
  answer.error.status = ParseRendezvousStatus(*word);
  if (json->has_field("text")) {
    auto why = GetString(*json, "text", 1024);
    if (why) answer.error.text = *std::move(why);
  }
  if (json->has_field("ttl_s")) {
    auto ttl = GetInt(*json, "ttl_s", 0, kTtlSecondsMax);
    if (!ttl) return ttl.error().In("index server");
    answer.ttl = std::chrono::seconds(*ttl);
  }
  if (json->has_field("cookie")) {
    auto cookie = GetString(*json, "cookie", kCookieBytesMax);
    if (!cookie) return cookie.error().In("index server");
    answer.cookie = *std::move(cookie);
  }
  if (json->has_field("records")) {
    const auto records = GetArray(*json, "records", kRecordsMax);
    if (!records) return records.error().In("index server");
    answer.given = records->size();
    for (const auto& item : records->as_array()) {
      if (!item.has_object_field("record")) continue;
      const auto record = read(item.at("record"));
      if (record) answer.records.push_back(**record);
    }
  }
  if (json->has_field("swarms")) {
    auto swarms = ReadSwarms(*json);
    if (!swarms) return swarms.error().In("index server");
    answer.swarms = *std::move(swarms);
  }
  return answer;
}

}  // namespace shoal::index
