#include "index/swarm_desk.h"

#include <unordered_set>

#include "base/check.h"

namespace shoal::index {

RendezvousError SwarmDesk::Admit(WallTime wall, const SwarmRequest& request) {
  const SignedRecord& record = *request.record;
  if (record.record().expires <= wall) {
    return {RendezvousStatus::kInvalidRecord,
            "the record has expired; check the clocks of the host and the server"};
  }
  auto it = peers_.find(record.id());
  if (it == peers_.end()) {
    const std::int64_t apart =
        std::chrono::duration_cast<std::chrono::milliseconds>(kClockApart).count();
    const std::int64_t now_ms = ToUnixMs(wall);
    if (request.sent_ms < now_ms - apart || request.sent_ms > now_ms + apart) {
      return {RendezvousStatus::kNotAuthorized,
              "the request is of another time; check the clocks of the host and the server"};
    }
    if (peers_.size() >= limits_.peers_max) {
      peers_.erase(order_.front());
      order_.pop_front();
    }
    order_.push_back(record.id());
    it = peers_.emplace(record.id(), Peer{request.record, {}, std::prev(order_.end())}).first;
  } else {
    order_.splice(order_.end(), order_, it->second.place);
  }
  Peer& peer = it->second;
  if (!peer.sent.Take(request.sent_ms)) {
    return {RendezvousStatus::kNotAuthorized, "the request was heard before, or is too old"};
  }
  // Requests may overtake each other, so an older record is no fault.
  if (record.record().sequence > peer.record->record().sequence) peer.record = request.record;
  return {};
}

RendezvousError SwarmDesk::OnRequest(Time now, WallTime wall, const SwarmRequest& request,
                                     SwarmReply& reply) {
  if (auto error = Admit(wall, request); !error.ok()) return error;
  if (table_.NextDeadline() <= now) table_.OnDeadline(now);
  for (const auto& ask : request.asks) {
    reply.swarms.emplace_back(ask.digest, table_.OnAsk(now, ask));
  }
  GiveRecords(wall, request, reply);
  return {};
}

void SwarmDesk::GiveRecords(WallTime wall, const SwarmRequest& request, SwarmReply& reply) const {
  std::unordered_set<PeerPrefix> told(request.known.begin(), request.known.end());
  told.insert(PrefixOf(request.record->id()));
  const auto give = [&](const PeerId& member) {
    if (reply.records.size() == limits_.records_max || !told.insert(PrefixOf(member)).second) {
      return;
    }
    const auto it = peers_.find(member);
    if (it == peers_.end() || it->second.record->record().expires <= wall) return;
    reply.records.push_back(it->second.record);
  };
  for (const auto& [digest, answer] : reply.swarms) {
    if (answer.lead) give(*answer.lead);
    for (const auto& member : answer.members) give(member);
  }
}

void SwarmDesk::CheckInvariants() const {
  SHOAL_CHECK(peers_.size() == order_.size());
  SHOAL_CHECK(peers_.size() <= limits_.peers_max);
  for (const auto& id : order_) {
    SHOAL_CHECK(peers_.contains(id));
    SHOAL_CHECK(peers_.at(id).record->id() == id);
  }
  table_.CheckInvariants();
}

}  // namespace shoal::index
