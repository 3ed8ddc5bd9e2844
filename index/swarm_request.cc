#include "index/swarm_request.h"

#include <cstring>

#include "index/envelope.h"
#include "index/swarm_messages.h"

namespace shoal::index {
namespace {

constexpr std::string_view kVerb = "swarm";
constexpr std::int64_t kSlotNumberMax = 1'000'000;

Json ToJson(const SwarmAsk& ask) {
  auto json = Json::object();
  json["digest"] = Json::string(shoal::ToString(ask.digest));
  if (ask.wants_lead) json["wants_lead"] = Json::boolean(true);
  if (ask.whole) json["whole"] = Json::boolean(true);
  if (ask.leaving) json["leaving"] = Json::boolean(true);
  if (ask.progress != 0) json["progress"] = Json::number(ask.progress);
  if (ask.waiting) json["waiting"] = Json::boolean(true);
  if (ask.misses_lead) json["misses_lead"] = Json::boolean(true);
  if (ask.slots) {
    auto& slots = json["slots"] = Json::object();
    slots["want"] = Json::number(ask.slots->want);
    slots["held"] = Json::number(ask.slots->held);
    slots["of"] = Json::number(ask.slots->most);
  }
  return json;
}

// Absent is false. Errors: kInvalid for anything but true and false.
Status ReadFlag(const Json& json, const std::string& member, bool& out) {
  if (!json.has_field(member)) return Ok();
  const auto flag = GetBool(json, member);
  if (!flag) return flag.error();
  out = *flag;
  return Ok();
}

// What is absurd is brought to the limits by RegistrySlots.
Result<SlotAsk> ReadSlots(const Json& json) {
  const auto want = GetInt(json, "want", 0, kSlotNumberMax);
  const auto held = GetInt(json, "held", 0, kSlotNumberMax);
  const auto most = GetInt(json, "of", 1, kSlotNumberMax);
  if (!want || !held || !most) return Error{Code::kInvalid, "slots: want, held and of are numbers"};
  return SlotAsk{static_cast<int>(*want), static_cast<int>(*held), static_cast<int>(*most)};
}

Result<SwarmAsk> ReadAsk(const Json& json, const PeerId& peer) {
  SwarmAsk ask;
  ask.peer = peer;
  const auto text = GetString(json, "digest", 80);
  if (!text) return text.error();
  const auto digest = ParseDigest(*text);
  if (!digest) return digest.error();
  ask.digest = *digest;
  for (const auto& [member, flag] :
       {std::pair("wants_lead", &ask.wants_lead), std::pair("whole", &ask.whole),
        std::pair("leaving", &ask.leaving), std::pair("waiting", &ask.waiting),
        std::pair("misses_lead", &ask.misses_lead)}) {
    if (auto read = ReadFlag(json, member, *flag); !read) return read.error();
  }
  if (json.has_field("progress")) {
    const auto progress = GetInt(json, "progress", 0, kJsonIntMax);
    if (!progress) return progress.error();
    ask.progress = *progress;
  }
  if (json.has_field("slots")) {
    if (!json.at("slots").is_object()) return Error{Code::kInvalid, "slots is an object"};
    auto slots = ReadSlots(json.at("slots"));
    if (!slots) return slots.error();
    ask.slots = *slots;
  }
  return ask;
}

Status ReadPayload(const Json& payload, SwarmRequest& out) {
  const auto asks = GetArray(payload, "asks", kSwarmAsksMax);
  if (!asks) return asks.error();
  for (const auto& item : asks->as_array()) {
    auto ask = ReadAsk(item, out.record->id());
    if (!ask) return ask.error();
    out.asks.push_back(*ask);
  }
  if (out.asks.empty()) return Error{Code::kInvalid, "no swarm is asked about"};
  if (!payload.has_field("known")) return Ok();
  const auto known = GetBase64(payload, "known", kSwarmKnownMax * sizeof(PeerPrefix));
  if (!known) return known.error();
  out.known.resize(known->size() / sizeof(PeerPrefix));
  std::memcpy(out.known.data(), known->data(), out.known.size() * sizeof(PeerPrefix));
  return Ok();
}

Result<std::pair<Digest, SwarmAnswer>> ReadSwarm(const Json& json) {
  const auto text = GetString(json, "digest", 80);
  if (!text) return text.error();
  const auto digest = ParseDigest(*text);
  if (!digest) return digest.error();
  auto answer = ReadSwarmAnswer(json);
  if (!answer) return answer.error();
  return std::pair(*digest, *std::move(answer));
}

}  // namespace

PeerPrefix PrefixOf(const PeerId& peer) {
  PeerPrefix prefix = 0;
  std::memcpy(&prefix, peer.bytes.data(), sizeof prefix);
  return prefix;
}

std::string EncodeSwarmRequest(const SwarmRequest& request, const PeerId& server,
                               const SigningKey& key) {
  auto asks = Json::array(request.asks.size());
  for (std::size_t i = 0; i < request.asks.size(); ++i) asks[i] = ToJson(request.asks[i]);
  auto payload = Json::object();
  payload["asks"] = std::move(asks);
  if (!request.known.empty()) {
    payload["known"] = Json::string(ToBase64Url(std::as_bytes(std::span(request.known))));
  }
  return EncodeSigned(kVerb, std::move(payload), request.sent_ms, server, *request.record, key);
}

SwarmRequestOrError DecodeSwarmRequest(std::string_view text, const PeerId& server,
                                       const ReadRecord& read, const std::optional<PeerId>& shown) {
  auto decoded = DecodeSigned(text, kVerb, server, read, shown);
  if (!decoded.error.ok()) return {std::move(decoded.error), {}};
  SwarmRequest request{decoded.request->record, decoded.request->sent_ms, {}, {}};
  if (auto payload = ReadPayload(decoded.request->payload, request); !payload) {
    return {{RendezvousStatus::kInvalidNamespace, payload.error().text}, {}};
  }
  return {{}, {std::move(request)}};
}

std::string EncodeSwarmReply(const SwarmReply& reply) {
  std::string out = R"({"status":"OK","swarms":[)";
  for (const auto& [digest, answer] : reply.swarms) {
    if (out.back() != '[') out += ',';
    // The members of the answer, in the same object.
    out +=
        R"({"digest":")" + shoal::ToString(digest) + R"(",)" + EncodeSwarmAnswer(answer).substr(1);
  }
  out += R"(],"records":[)";
  for (const auto& record : reply.records) {
    if (out.back() != '[') out += ',';
    out += R"({"record":)" + record->envelope() + "}";
  }
  return out + "]}";
}

Result<std::vector<std::pair<Digest, SwarmAnswer>>> ReadSwarms(const Json& answer) {
  const auto swarms = GetArray(answer, "swarms", kSwarmAsksMax);
  if (!swarms) return swarms.error();
  std::vector<std::pair<Digest, SwarmAnswer>> out;
  for (const auto& item : swarms->as_array()) {
    auto swarm = ReadSwarm(item);
    if (!swarm) return swarm.error();
    out.push_back(*std::move(swarm));
  }
  return out;
}

}  // namespace shoal::index
