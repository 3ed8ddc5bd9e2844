#include "index/membership.h"

#include "base/check.h"
#include "base/json.h"
#include "index/envelope.h"
#include "index/record.h"

namespace shoal::index {
namespace {

constexpr std::string_view kDelegationContext = "shoal-delegation-v1\n";
constexpr std::string_view kMembershipContext = "shoal-membership-v1\n";
constexpr std::size_t kMembershipPayloadBytesMax = 512;
constexpr int kMembershipVersion = 1;

// {"payload": "...", "signature": "..."} without its closing brace.
std::string SignedText(std::string_view payload, const Signature& signature) {
  return R"({"payload":")" + ToBase64Url(AsBytes(payload)) + R"(","signature":")" +
         ToBase64Url(signature) + '"';
}

Json Payload(const RoomId& room, std::uint64_t sequence, WallTime from, WallTime until) {
  SHOAL_CHECK(sequence >= 1 && sequence <= static_cast<std::uint64_t>(kJsonIntMax));
  auto payload = Json::object(true);
  payload["version"] = Json::number(kMembershipVersion);
  payload["room"] = Json::string(room.Hex());
  payload["sequence"] = Json::number(static_cast<std::int64_t>(sequence));
  payload["from"] = Json::number(ToUnixMs(from));
  payload["until"] = Json::number(ToUnixMs(until));
  return payload;
}

// What both kinds of payload have.
struct Common {
  RoomId room;
  std::uint64_t sequence = 0;
  WallTime from;
  WallTime until;
};

Result<Common> ReadCommon(const Json& json, const RoomId& room) {
  Common common;
  if (auto version = GetInt(json, "version", kMembershipVersion, kMembershipVersion); !version)
    return version.error();
  auto id = GetString(json, "room", 64);
  if (!id) return id.error();
  auto parsed = ParseRoomId(*id);
  if (!parsed) return parsed.error();
  if (*parsed != room) return Error{Code::kDenied, "it is of another room"};
  common.room = *parsed;
  auto sequence = GetInt(json, "sequence", 1, kJsonIntMax);
  if (!sequence) return sequence.error();
  common.sequence = static_cast<std::uint64_t>(*sequence);
  auto from = GetInt(json, "from", 0, kRoomTimeMsMax);
  if (!from) return from.error();
  auto until = GetInt(json, "until", 0, kRoomTimeMsMax);
  if (!until) return until.error();
  common.from = FromUnixMs(*from);
  common.until = FromUnixMs(*until);
  if (common.until < common.from) return Error{Code::kInvalid, "it ends before it begins"};
  return common;
}

struct MembershipParts {
  std::string payload;
  Signature signature;
};

Result<MembershipParts> ReadParts(const Json& json) {
  if (!json.is_object()) return Error{Code::kInvalid, "it must be a JSON object"};
  auto payload = GetBase64(json, "payload", kMembershipPayloadBytesMax);
  if (!payload) return payload.error();
  auto signature = GetSignature(json, "signature");
  if (!signature) return signature.error();
  return MembershipParts{*std::move(payload), *signature};
}

}  // namespace

SignedDelegation SignedDelegation::Sign(const Delegation& delegation, const SigningKey& room) {
  Json payload =
      Payload(RoomIdOf(room.public_key()), delegation.sequence, delegation.from, delegation.until);
  payload["key"] = Json::string(ToBase64Url(delegation.key.bytes));
  const std::string text = payload.serialize();
  SignedDelegation out;
  out.delegation_ = delegation;
  // What the reader will see: whole milliseconds.
  out.delegation_.from = FromUnixMs(ToUnixMs(delegation.from));
  out.delegation_.until = FromUnixMs(ToUnixMs(delegation.until));
  out.id_ = PeerIdOf(delegation.key);
  out.text_ = SignedText(text, SignIn(kDelegationContext, text, room)) + "}";
  return out;
}

Result<SignedDelegation> SignedDelegation::Parse(std::string_view text, const PublicKey& room) {
  auto json = ParseJson(text, kMembershipBytesMax);
  if (!json) return json.error().In("delegation");
  auto parts = ReadParts(*json);
  if (!parts) return parts.error().In("delegation");
  if (!VerifyIn(kDelegationContext, parts->payload, room, parts->signature)) {
    return Error{Code::kDenied, "delegation: the signature is not by the room's key"};
  }
  auto payload = ParseJson(parts->payload, kMembershipPayloadBytesMax);
  if (!payload) return payload.error().In("delegation");
  auto common = ReadCommon(*payload, RoomIdOf(room));
  if (!common) return common.error().In("delegation");
  auto key = GetPublicKey(*payload, "key");
  if (!key) return key.error().In("delegation");
  SignedDelegation out;
  out.delegation_ = {*key, common->sequence, common->from, common->until};
  out.id_ = PeerIdOf(*key);
  out.text_ = SignedText(parts->payload, parts->signature) + "}";
  return out;
}

Membership Membership::ByRoom(const SigningKey& room, const PeerId& peer, std::uint64_t sequence,
                              WallTime from, WallTime until) {
  Membership out;
  out.room_ = RoomIdOf(room.public_key());
  out.peer_ = peer;
  out.sequence_ = sequence;
  out.from_ = FromUnixMs(ToUnixMs(from));
  out.until_ = FromUnixMs(ToUnixMs(until));
  Json payload = Payload(out.room_, sequence, from, until);
  payload["peer"] = Json::string(peer.Hex());
  const std::string text = payload.serialize();
  out.text_ = SignedText(text, SignIn(kMembershipContext, text, room)) + "}";
  return out;
}

Membership Membership::ByToken(const PublicKey& room, const SignedDelegation& delegation,
                               const SigningKey& token, const PeerId& peer) {
  const Delegation& given = delegation.delegation();
  SHOAL_CHECK(given.key == token.public_key());
  Membership out;
  out.room_ = RoomIdOf(room);
  out.peer_ = peer;
  out.sequence_ = given.sequence;
  out.from_ = given.from;
  out.until_ = given.until;
  out.delegation_ = delegation;
  Json payload = Payload(out.room_, given.sequence, given.from, given.until);
  payload["peer"] = Json::string(peer.Hex());
  const std::string text = payload.serialize();
  out.text_ = SignedText(text, SignIn(kMembershipContext, text, token)) + R"(,"delegation":)" +
              delegation.text() + "}";
  return out;
}

Result<Membership> Membership::Parse(std::string_view text, const PublicKey& room) {
  auto json = ParseJson(text, kMembershipBytesMax);
  if (!json) return json.error().In("membership");
  auto parts = ReadParts(*json);
  if (!parts) return parts.error().In("membership");
  Membership out;
  PublicKey signer = room;
  if (json->has_field("delegation")) {
    // Only the room's key makes a delegation: the chain ends here.
    auto delegation = SignedDelegation::Parse(json->at("delegation").serialize(), room);
    if (!delegation) return delegation.error().In("membership");
    signer = delegation->delegation().key;
    out.delegation_ = *std::move(delegation);
  }
  if (!VerifyIn(kMembershipContext, parts->payload, signer, parts->signature)) {
    return Error{Code::kDenied,
                 "membership: the signature is neither by the room's key nor by a token of it"};
  }
  auto payload = ParseJson(parts->payload, kMembershipPayloadBytesMax);
  if (!payload) return payload.error().In("membership");
  auto common = ReadCommon(*payload, RoomIdOf(room));
  if (!common) return common.error().In("membership");
  auto peer = GetString(*payload, "peer", 64);
  if (!peer) return peer.error().In("membership");
  auto id = ParsePeerId(*peer);
  if (!id) return id.error().In("membership");
  if (out.delegation_ && (common->from < out.delegation_->delegation().from ||
                          common->until > out.delegation_->delegation().until)) {
    return Error{Code::kDenied, "membership: it reaches beyond the time of its token"};
  }
  out.room_ = common->room;
  out.peer_ = *id;
  out.sequence_ = common->sequence;
  out.from_ = common->from;
  out.until_ = common->until;
  out.text_ = SignedText(parts->payload, parts->signature);
  if (out.delegation_) out.text_ += R"(,"delegation":)" + out.delegation_->text();
  out.text_ += "}";
  return out;
}

Status Membership::Holds(const PeerId& peer, WallTime now) const {
  if (peer != peer_) {
    return Error{Code::kDenied,
                 "the membership is that of peer " + peer_.Short() + ", not of " + peer.Short()};
  }
  if (now < from_ - kClockSkew) {
    return Error{Code::kDenied, "the membership of peer " + peer_.Short() +
                                    " begins later; check both hosts' clocks"};
  }
  if (now > until_ + kClockSkew) {
    return Error{Code::kDenied,
                 "the membership of peer " + peer_.Short() + " is over; join with a new token"};
  }
  return Ok();
}

std::uint64_t Membership::sequence() const {
  return delegation_ ? delegation_->delegation().sequence : sequence_;
}

std::optional<PeerId> Membership::token() const {
  if (!delegation_) return std::nullopt;
  return delegation_->id();
}

}  // namespace shoal::index
