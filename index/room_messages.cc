#include "index/room_messages.h"

#include "base/json.h"

namespace shoal::index {

std::string EncodeMeeting(const Meeting& meeting) {
  auto revocations = Json::array(meeting.revocations.size());
  for (std::size_t i = 0; i < meeting.revocations.size(); ++i) {
    revocations[i] = Json::string(meeting.revocations[i]);
  }
  auto json = Json::object(true);
  json["membership"] = Json::string(meeting.membership);
  json["hash"] = Json::string(meeting.hash);
  json["revocations"] = std::move(revocations);
  return json.serialize();
}

Result<Meeting> DecodeMeeting(std::string_view text, std::size_t bytes_max) {
  auto json = ParseJson(text, bytes_max);
  if (!json) return json.error().In("meeting");
  Meeting meeting;
  auto membership = GetString(*json, "membership", kMembershipBytesMax);
  if (!membership) return membership.error().In("meeting");
  meeting.membership = *std::move(membership);
  auto hash = GetString(*json, "hash", 64);
  if (!hash) return hash.error().In("meeting");
  meeting.hash = *std::move(hash);
  auto revocations = GetArray(*json, "revocations", kRevocationsMax);
  if (!revocations) return revocations.error().In("meeting");
  meeting.revocations.reserve(revocations->size());
  for (const auto& item : revocations->as_array()) {
    if (!item.is_string() || item.as_string().size() > kRevocationBytesMax) {
      return Error{Code::kInvalid, "meeting: a revocation must be a short string"};
    }
    meeting.revocations.push_back(item.as_string());
  }
  return meeting;
}

}  // namespace shoal::index
