#include "index/record.h"

#include <algorithm>
#include <set>

#include "base/json.h"
#include "index/envelope.h"

namespace shoal::index {
namespace {

constexpr std::string_view kRecordContext = "shoal-record-v1\n";
constexpr int kRecordVersion = 1;
// key and signature in base64url, and the braces, quotes and names round the three members.
constexpr std::size_t kEnvelopeOverhead = 43 + 86 + 44;
constexpr std::size_t kPayloadBytesMax = (kRecordBytesMax - kEnvelopeOverhead) * 3 / 4;
// Keeps the microseconds of WallTime far from overflowing.
constexpr std::int64_t kExpiresMsMax = kJsonIntMax / 8;

std::string Payload(const Record& record) {
  auto endpoints = Json::array(record.endpoints.size());
  for (std::size_t i = 0; i < record.endpoints.size(); ++i) {
    endpoints[i] = Json::string(ToString(record.endpoints[i]));
  }
  auto rooms = Json::array(record.rooms.size());
  for (std::size_t i = 0; i < record.rooms.size(); ++i) rooms[i] = Json::string(record.rooms[i]);
  auto payload = Json::object(true);
  payload["version"] = Json::number(kRecordVersion);
  payload["name"] = Json::string(record.name);
  payload["endpoints"] = std::move(endpoints);
  if (!record.relays.empty()) {
    auto relays = Json::array(record.relays.size());
    for (std::size_t i = 0; i < record.relays.size(); ++i) {
      relays[i] = Json::string(ToString(record.relays[i]));
    }
    payload["relays"] = std::move(relays);
  }
  payload["rooms"] = std::move(rooms);
  payload["sequence"] = Json::number(static_cast<std::int64_t>(record.sequence));
  payload["expires"] = Json::number(ToUnixMs(record.expires));
  return payload.serialize();
}

std::string Envelope(std::string_view payload, const PublicKey& key, const Signature& signature) {
  return R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","key":")" +
         ToBase64Url(key.bytes) + R"(","signature":")" + ToBase64Url(signature) + R"("})";
}

Result<std::vector<std::string>> GetStrings(const Json& object, const std::string& member,
                                            std::size_t max_items, std::size_t max_bytes) {
  auto array = GetArray(object, member, max_items);
  if (!array) return array.error();
  std::vector<std::string> out;
  for (const auto& item : array->as_array()) {
    if (!item.is_string() || item.as_string().size() > max_bytes) {
      return Error{Code::kInvalid, "JSON member \"" + member + "\" must hold strings of at most " +
                                       std::to_string(max_bytes) + " bytes"};
    }
    out.push_back(item.as_string());
  }
  return out;
}

Status LimitsHold(const Record& record) {
  if (record.name.size() > kPeerNameBytesMax ||
      !std::ranges::all_of(record.name, [](char c) { return c >= ' ' && c <= '~'; })) {
    return Error{Code::kInvalid, "a peer's name must be at most 64 bytes of printable ASCII"};
  }
  if (record.endpoints.size() > kEndpointsMax) {
    return Error{Code::kInvalid, "a record must have at most 16 endpoints"};
  }
  if (std::set(record.endpoints.begin(), record.endpoints.end()).size() !=
      record.endpoints.size()) {
    return Error{Code::kInvalid, "a record must not name an endpoint twice"};
  }
  if (record.relays.size() > kRelaysMax ||
      std::set(record.relays.begin(), record.relays.end()).size() != record.relays.size()) {
    return Error{Code::kInvalid, "a record must have at most 4 relays, none twice"};
  }
  if (record.rooms.size() > kRoomsMax || !std::ranges::all_of(record.rooms, IsRoomName)) {
    return Error{Code::kInvalid,
                 "a record must have at most 16 rooms, each 1 to 64 bytes of a-z 0-9 . _ -"};
  }
  if (record.sequence < 1 || record.sequence > static_cast<std::uint64_t>(kJsonIntMax)) {
    return Error{Code::kInvalid, "a record's sequence must be from 1 to 2^53"};
  }
  return Ok();
}

Result<Record> ParsePayload(std::string_view text, const PublicKey& key) {
  auto json = ParseJson(text, kRecordBytesMax);
  if (!json) return json.error();
  Record record;
  record.key = key;
  if (auto version = GetInt(*json, "version", kRecordVersion, kRecordVersion); !version)
    return version.error();
  auto name = GetString(*json, "name", kPeerNameBytesMax);
  if (!name) return name.error();
  record.name = *name;
  auto endpoints = GetStrings(*json, "endpoints", kEndpointsMax, 300);
  if (!endpoints) return endpoints.error();
  for (const auto& one : *endpoints) {
    auto endpoint = ParseEndpoint(one);
    if (!endpoint) return endpoint.error();
    record.endpoints.push_back(*endpoint);
  }
  if (json->has_field("relays")) {
    auto relays = GetStrings(*json, "relays", kRelaysMax, 400);
    if (!relays) return relays.error();
    for (const auto& one : *relays) {
      auto endpoint = ParseRelayed(one);
      if (!endpoint) return endpoint.error();
      record.relays.push_back(*endpoint);
    }
  }
  auto rooms = GetStrings(*json, "rooms", kRoomsMax, kRoomNameBytesMax);
  if (!rooms) return rooms.error();
  record.rooms = *std::move(rooms);
  auto sequence = GetInt(*json, "sequence", 1, kJsonIntMax);
  if (!sequence) return sequence.error();
  record.sequence = static_cast<std::uint64_t>(*sequence);
  auto expires = GetInt(*json, "expires", 0, kExpiresMsMax);
  if (!expires) return expires.error();
  record.expires = FromUnixMs(*expires);
  if (auto held = LimitsHold(record); !held) return held.error();
  return record;
}

}  // namespace

bool IsRoomName(std::string_view room) {
  return !room.empty() && room.size() <= kRoomNameBytesMax && std::ranges::all_of(room, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
  });
}

Status Valid(const Record& record) {
  if (auto held = LimitsHold(record); !held) return held;
  for (const auto& endpoint : record.endpoints) {
    if (auto parsed = ParseEndpoint(ToString(endpoint)); !parsed) return parsed.error();
  }
  for (const auto& endpoint : record.relays) {
    if (auto parsed = ParseRelayed(ToString(endpoint)); !parsed) return parsed.error();
  }
  if (Payload(record).size() > kPayloadBytesMax) {
    return Error{Code::kInvalid,
                 "a record's endpoints, relays and rooms are too long together; name fewer"};
  }
  return Ok();
}

SignedRecord SignedRecord::Sign(const Record& record, const SigningKey& key) {
  SHOAL_CHECK(record.key == key.public_key());
  SHOAL_CHECK(Valid(record).ok());
  const auto payload = Payload(record);
  Content content{record, key.id(),
                  Envelope(payload, record.key, SignIn(kRecordContext, payload, key))};
  // What the reader will see: whole milliseconds.
  content.record.expires = FromUnixMs(ToUnixMs(record.expires));
  SHOAL_CHECK(content.envelope.size() <= kRecordBytesMax);
  return SignedRecord(std::move(content));
}

Result<SignedRecord> SignedRecord::Parse(std::string_view envelope) {
  auto json = ParseJson(envelope, kRecordBytesMax);
  if (!json) return json.error().In("record");
  auto payload = GetBase64(*json, "payload", kPayloadBytesMax);
  if (!payload) return payload.error().In("record");
  auto key = GetPublicKey(*json, "key");
  if (!key) return key.error().In("record");
  auto signature = GetSignature(*json, "signature");
  if (!signature) return signature.error().In("record");
  if (!VerifyIn(kRecordContext, *payload, *key, *signature)) {
    return Error{Code::kDenied, "record: the signature is not by the record's key"};
  }
  auto record = ParsePayload(*payload, *key);
  if (!record) return record.error().In("record");
  return SignedRecord(
      Content{*std::move(record), PeerIdOf(*key), Envelope(*payload, *key, *signature)});
}

}  // namespace shoal::index
