#include "index/room_token.h"

#include <algorithm>

#include "base/check.h"
#include "base/json.h"
#include "index/envelope.h"

namespace shoal::index {
namespace {

constexpr int kTokenVersion = 1;
constexpr std::size_t kServerBytesMax = 400;
constexpr std::size_t kEndpointBytesMax = 300;
// The alphabet turns 3 bytes into 4.
constexpr std::size_t kDocumentBytesMax = kRoomTokenBytesMax * 3 / 4;

Json EncodeFacts(const RoomFacts& facts) {
  auto servers = Json::array();
  for (const auto& server : facts.places.rendezvous) {
    servers[servers.size()] = Json::string(server);
  }
  auto fixed = Json::array();
  for (const auto& endpoint : facts.places.fixed) {
    fixed[fixed.size()] = Json::string(ToString(endpoint));
  }
  auto json = Json::object(true);
  json["version"] = Json::number(kTokenVersion);
  json["name"] = Json::string(facts.name);
  json["key"] = Json::string(ToBase64Url(facts.key.bytes));
  json["rendezvous"] = std::move(servers);
  json["static"] = std::move(fixed);
  return json;
}

Result<std::vector<std::string>> ReadTexts(const Json& json, const std::string& member,
                                           std::size_t bytes_max) {
  auto array = GetArray(json, member, kRoomPlacesMax);
  if (!array) return array.error();
  std::vector<std::string> texts;
  for (const auto& item : array->as_array()) {
    if (!item.is_string() || item.as_string().size() > bytes_max) {
      return Error{Code::kInvalid, "JSON member \"" + member + "\" must hold short strings"};
    }
    texts.push_back(item.as_string());
  }
  return texts;
}

Result<RoomFacts> ReadFacts(const Json& json) {
  if (!json.is_object()) return Error{Code::kInvalid, "it must be a JSON object"};
  if (auto version = GetInt(json, "version", kTokenVersion, kTokenVersion); !version)
    return version.error();
  RoomFacts facts;
  auto name = GetString(json, "name", kRoomNameBytesMax);
  if (!name) return name.error();
  facts.name = *std::move(name);
  auto key = GetPublicKey(json, "key");
  if (!key) return key.error();
  facts.key = *key;
  auto servers = ReadTexts(json, "rendezvous", kServerBytesMax);
  if (!servers) return servers.error();
  facts.places.rendezvous = *std::move(servers);
  auto fixed = ReadTexts(json, "static", kEndpointBytesMax);
  if (!fixed) return fixed.error();
  for (const auto& text : *fixed) {
    auto endpoint = ParseEndpoint(text);
    if (!endpoint) return endpoint.error();
    facts.places.fixed.push_back(*endpoint);
  }
  if (auto valid = Valid(facts); !valid) return valid.error();
  return facts;
}

// https://host:port, and #PEERID if it likes.
Status IsServer(const std::string& text) {
  constexpr std::string_view kScheme = "https://";
  const Error wrong{Code::kInvalid,
                    "\"" + text + "\" is not like https://host:7383 or https://host:7383#PEERID"};
  if (!text.starts_with(kScheme)) return wrong;
  const std::string_view rest = std::string_view(text).substr(kScheme.size());
  const auto mark = rest.find('#');
  if (!ParseEndpoint(rest.substr(0, mark))) return wrong;
  if (mark != std::string_view::npos && !ParsePeerId(rest.substr(mark + 1))) return wrong;
  return Ok();
}

}  // namespace

Status Valid(const RoomFacts& facts) {
  const auto is_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (!IsRoomName(facts.name) || facts.name == kOpenRoom || !is_word(facts.name.front())) {
    return Error{Code::kInvalid,
                 "a room's name must be 1 to 64 bytes of a-z 0-9 . _ -, begin with a letter or "
                 "digit, and not be \"open\""};
  }
  if (facts.places.rendezvous.size() > kRoomPlacesMax ||
      facts.places.fixed.size() > kRoomPlacesMax) {
    return Error{Code::kInvalid, "a room names at most " + std::to_string(kRoomPlacesMax) +
                                     " index servers and as many peers"};
  }
  for (const auto& server : facts.places.rendezvous) {
    if (auto is = IsServer(server); !is) return is;
  }
  return Ok();
}

RoomToken RoomToken::ForAnyHost(RoomFacts facts, SignedDelegation delegation,
                                const SigningKey& secret) {
  SHOAL_CHECK(Valid(facts).ok());
  SHOAL_CHECK(delegation.delegation().key == secret.public_key());
  RoomToken token;
  token.facts_ = std::move(facts);
  token.delegation_ = std::move(delegation);
  token.secret_ = secret;
  return token;
}

RoomToken RoomToken::ForPeer(RoomFacts facts, Membership membership) {
  SHOAL_CHECK(Valid(facts).ok());
  SHOAL_CHECK(membership.room() == facts.id());
  RoomToken token;
  token.facts_ = std::move(facts);
  token.membership_ = std::move(membership);
  return token;
}

std::string RoomToken::Line() const {
  Json json = EncodeFacts(facts_);
  if (membership_) {
    json["membership"] = Json::string(membership_->text());
  } else {
    json["delegation"] = Json::string(delegation_->text());
    json["secret"] = Json::string(ToBase64Url(secret_->seed()));
  }
  return std::string(kRoomTokenPrefix) + ToBase64Url(AsBytes(json.serialize()));
}

Result<RoomToken> RoomToken::Parse(std::string_view line) {
  if (line.size() > kRoomTokenBytesMax) {
    return Error{Code::kExhausted, "a room's token has at most 8192 bytes"};
  }
  if (!line.starts_with(kRoomTokenPrefix)) {
    return Error{Code::kInvalid, "this is no token of a room: one begins with \"" +
                                     std::string(kRoomTokenPrefix) + "\""};
  }
  auto bytes = FromBase64Url(line.substr(kRoomTokenPrefix.size()));
  if (!bytes) return bytes.error().In("token");
  auto json = ParseJson(AsText(*bytes), kDocumentBytesMax);
  if (!json) return json.error().In("token");
  auto facts = ReadFacts(*json);
  if (!facts) return facts.error().In("token");
  RoomToken token;
  token.facts_ = *std::move(facts);
  if (json->has_field("membership")) {
    auto text = GetString(*json, "membership", kMembershipBytesMax);
    if (!text) return text.error().In("token");
    auto membership = Membership::Parse(*text, token.facts_.key);
    if (!membership) return membership.error().In("token");
    token.membership_ = *std::move(membership);
    return token;
  }
  auto text = GetString(*json, "delegation", kMembershipBytesMax);
  if (!text) return text.error().In("token");
  auto delegation = SignedDelegation::Parse(*text, token.facts_.key);
  if (!delegation) return delegation.error().In("token");
  auto seed = GetBase64(*json, "secret", std::tuple_size_v<KeySeed>);
  if (!seed) return seed.error().In("token");
  KeySeed secret{};
  if (seed->size() != secret.size()) {
    return Error{Code::kInvalid, "token: its secret must have 32 bytes"};
  }
  std::ranges::copy(AsBytes(*seed), secret.begin());
  token.secret_ = SigningKey::FromSeed(secret);
  if (token.secret_->public_key() != delegation->delegation().key) {
    return Error{Code::kDenied, "token: its secret is not that of the key that the room named"};
  }
  token.delegation_ = *std::move(delegation);
  return token;
}

Result<Membership> RoomToken::MembershipFor(const PeerId& peer, WallTime now) const {
  Membership membership =
      membership_ ? *membership_ : Membership::ByToken(facts_.key, *delegation_, *secret_, peer);
  if (auto holds = membership.Holds(peer, now); !holds) return holds.error();
  return membership;
}

std::string EncodeJoinedRoom(const JoinedRoom& room) {
  Json json = EncodeFacts(room.facts);
  json["membership"] = Json::string(room.membership.text());
  return json.serialize() + "\n";
}

Result<JoinedRoom> DecodeJoinedRoom(std::string_view text) {
  const auto corrupt = [](const Error& error) { return Error{Code::kCorrupt, error.text}; };
  auto json = ParseJson(text, kDocumentBytesMax);
  if (!json) return corrupt(json.error());
  auto facts = ReadFacts(*json);
  if (!facts) return corrupt(facts.error());
  auto membership_text = GetString(*json, "membership", kMembershipBytesMax);
  if (!membership_text) return corrupt(membership_text.error());
  auto membership = Membership::Parse(*membership_text, facts->key);
  if (!membership) return corrupt(membership.error());
  return JoinedRoom{*std::move(facts), *std::move(membership)};
}

}  // namespace shoal::index
