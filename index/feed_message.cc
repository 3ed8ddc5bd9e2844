#include "index/feed_message.h"

#include <algorithm>

#include "index/envelope.h"
#include "index/membership.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::string_view kFeedContext = "shoal-feed-v1\n";
constexpr int kFeedVersion = 1;

bool IsKind(std::string_view kind) {
  return !kind.empty() && kind.size() <= kFeedKindBytesMax &&
         std::ranges::all_of(kind, [](char c) { return c == '-' || (c >= 'a' && c <= 'z'); });
}

Status Valid(const FeedWord& word) {
  const auto wrong = [](const char* text) { return Error{Code::kInvalid, text}; };
  if (!IsKind(word.kind)) return wrong("its kind must be 1 to 32 bytes of a-z and -");
  if (word.previous >= word.sequence) return wrong("its previous must be below its sequence");
  if (word.expires <= word.written) return wrong("it must expire after it was written");
  if (word.expires - word.written > kFeedLifeMax) return wrong("it must expire within 7 days");
  if (word.topic.empty() || word.topic.size() > kFeedTopicBytesMax) {
    return wrong("its topic must have 1 to 512 bytes");
  }
  return Ok();
}

Result<FeedWord> ReadWord(std::string_view payload) {
  auto json = ParseJson(payload, kFeedMessageBytesMax);
  if (!json) return json.error();
  if (!json->is_object()) return Error{Code::kInvalid, "it must be a JSON object"};
  if (auto version = GetInt(*json, "version", kFeedVersion, kFeedVersion); !version) {
    return version.error();
  }
  FeedWord word;
  auto room = GetString(*json, "room", 64);
  if (!room) return room.error();
  word.room = *std::move(room);
  auto sequence = GetInt(*json, "sequence", 1, kJsonIntMax);
  if (!sequence) return sequence.error();
  word.sequence = static_cast<std::uint64_t>(*sequence);
  auto previous = GetInt(*json, "previous", 0, kJsonIntMax);
  if (!previous) return previous.error();
  word.previous = static_cast<std::uint64_t>(*previous);
  auto written = GetInt(*json, "written", 0, kRoomTimeMsMax);
  if (!written) return written.error();
  word.written = FromUnixMs(*written);
  auto expires = GetInt(*json, "expires", 0, kRoomTimeMsMax);
  if (!expires) return expires.error();
  word.expires = FromUnixMs(*expires);
  auto kind = GetString(*json, "kind", kFeedKindBytesMax);
  if (!kind) return kind.error();
  word.kind = *std::move(kind);
  auto topic = GetString(*json, "topic", kFeedTopicBytesMax);
  if (!topic) return topic.error();
  word.topic = *std::move(topic);
  if (!json->has_field("body") || !json->at("body").is_object()) {
    return Error{Code::kInvalid, "JSON member \"body\" must be an object"};
  }
  word.body = json->at("body").serialize();
  if (Status valid = Valid(word); !valid) return valid.error();
  return word;
}

// Always the same for the same parts: whoever passes a message on cannot pad it.
std::string TextOf(std::string_view payload, const PublicKey& key, const Signature& signature,
                   std::string_view membership) {
  auto json = Json::object(true);
  json["payload"] = Json::string(ToBase64Url(AsBytes(payload)));
  json["key"] = Json::string(ToBase64Url(key.bytes));
  json["signature"] = Json::string(ToBase64Url(signature));
  if (!membership.empty()) json["membership"] = Json::string(std::string(membership));
  return json.serialize();
}

}  // namespace

Result<FeedMessage> FeedMessage::Sign(const FeedWord& word, const SigningKey& writer,
                                      std::string_view membership) {
  auto body = ParseJson(word.body, kFeedBodyBytesMax);
  if (!body) return body.error().In("a message's body");
  auto payload = Json::object(true);
  payload["version"] = Json::number(kFeedVersion);
  payload["room"] = Json::string(word.room);
  payload["sequence"] = Json::number(static_cast<std::int64_t>(word.sequence));
  payload["previous"] = Json::number(static_cast<std::int64_t>(word.previous));
  payload["written"] = Json::number(ToUnixMs(word.written));
  payload["expires"] = Json::number(ToUnixMs(word.expires));
  payload["kind"] = Json::string(word.kind);
  payload["topic"] = Json::string(word.topic);
  payload["body"] = *body;
  const std::string text = payload.serialize();
  return Read(TextOf(text, writer.public_key(), SignIn(kFeedContext, text, writer), membership));
}

Result<FeedMessage> FeedMessage::Read(std::string_view text) {
  auto json = ParseJson(text, kFeedMessageBytesMax);
  if (!json) return json.error().In("a message of the feed");
  auto message = [&]() -> Result<FeedMessage> {
    FeedMessage read;
    if (!json->is_object()) return Error{Code::kInvalid, "it must be a JSON object"};
    auto payload = GetBase64(*json, "payload", kFeedMessageBytesMax);
    if (!payload) return payload.error();
    auto key = GetPublicKey(*json, "key");
    if (!key) return key.error();
    auto signature = GetSignature(*json, "signature");
    if (!signature) return signature.error();
    if (json->has_field("membership")) {
      auto membership = GetString(*json, "membership", kMembershipBytesMax);
      if (!membership) return membership.error();
      read.membership_ = *std::move(membership);
    }
    auto word = ReadWord(*payload);
    if (!word) return word.error();
    read.word_ = *std::move(word);
    read.key_ = *key;
    read.writer_ = PeerIdOf(*key);
    read.signature_ = *signature;
    read.payload_ = *std::move(payload);
    read.text_ = TextOf(read.payload_, read.key_, read.signature_, read.membership_);
    // Written out anew it may be longer than it came.
    if (read.text_.size() > kFeedMessageBytesMax) {
      return Error{Code::kExhausted, "it is longer than 4096 bytes"};
    }
    return read;
  }();
  if (!message) return message.error().In("a message of the feed");
  return message;
}

bool FeedMessage::IsSigned() const { return VerifyIn(kFeedContext, payload_, key_, signature_); }

}  // namespace shoal::index
