#include "index/swarm_messages.h"

#include <algorithm>

namespace shoal::index {

std::string EncodeSwarmAnswer(const SwarmAnswer& answer) {
  // Hex digits need no escaping: written out by hand, as it is asked for often.
  std::string text = "{";
  if (answer.lead) {
    const auto lease = std::chrono::duration_cast<std::chrono::milliseconds>(answer.lease);
    text += "\"lead\":\"" + answer.lead->Hex() +
            "\",\"lease_ms\":" + std::to_string(lease.count()) + ",";
    if (answer.lead_waits) text += "\"waiting\":true,";
  }
  if (answer.slots) text += "\"slots\":" + std::to_string(*answer.slots) + ",";
  text += "\"members\":[";
  for (const PeerId& member : answer.members) {
    if (text.back() != '[') text += ',';
    text += '"' + member.Hex() + '"';
  }
  text += ']';
  if (answer.pace != kSwarmPace) {
    const auto pace = std::chrono::duration_cast<std::chrono::milliseconds>(answer.pace);
    text += ",\"pace_ms\":" + std::to_string(pace.count());
  }
  return text + '}';
}

Result<SwarmAnswer> DecodeSwarmAnswer(std::string_view text) {
  auto object = ParseJson(text, kSwarmAnswerBytesMax);
  if (!object) return object.error().In("a swarm's answer");
  return ReadSwarmAnswer(*object);
}

Result<SwarmAnswer> ReadSwarmAnswer(const Json& object) {
  SwarmAnswer answer;
  if (object.has_field("lead")) {
    const auto lead = GetString(object, "lead", 64);
    if (!lead) return lead.error();
    const auto id = ParsePeerId(*lead);
    if (!id) return id.error();
    const auto lease = GetInt(object, "lease_ms", 0, 3'600'000);
    if (!lease) return lease.error();
    answer.lead = *id;
    answer.lease = std::chrono::milliseconds(*lease);
    if (object.has_field("waiting")) {
      const auto waiting = GetBool(object, "waiting");
      if (!waiting) return waiting.error();
      answer.lead_waits = *waiting;
    }
  }
  if (object.has_field("slots")) {
    const auto slots = GetInt(object, "slots", 0, kSlotsOfOne);
    if (!slots) return slots.error();
    answer.slots = static_cast<int>(*slots);
  }
  const auto members = GetArray(object, "members", kMembersTakenMax);
  if (!members) return members.error();
  for (const auto& item : members->as_array()) {
    if (!item.is_string()) return Error{Code::kInvalid, "a member is a peer id"};
    const auto id = ParsePeerId(item.as_string());
    if (!id) return id.error();
    answer.members.push_back(*id);
  }
  if (object.has_field("pace_ms")) {
    const auto pace = GetInt(object, "pace_ms", 0, 3'600'000);
    if (!pace) return pace.error();
    const Duration told = std::chrono::milliseconds(*pace);
    answer.pace = std::clamp(told, kSwarmPace, kSwarmPaceMax);
  }
  return answer;
}

}  // namespace shoal::index
