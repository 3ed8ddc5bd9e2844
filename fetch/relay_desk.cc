#include "fetch/relay_desk.h"

#include <algorithm>
#include <string>

namespace shoal::fetch {
namespace {

void Decrement(std::map<PeerId, int>& counts, const PeerId& peer) {
  const auto it = counts.find(peer);
  SHOAL_CHECK(it != counts.end() && it->second > 0);
  if (--it->second == 0) counts.erase(it);
}

int CountOf(const std::map<PeerId, int>& counts, const PeerId& peer) {
  const auto it = counts.find(peer);
  return it == counts.end() ? 0 : it->second;
}

}  // namespace

Status RelayDesk::OnReserve(Time now, const PeerId& peer) {
  const auto it = reservations_.find(peer);
  if (it == reservations_.end() && std::ssize(reservations_) >= limits_.slots) {
    return Error{Code::kExhausted, "all " + std::to_string(limits_.slots) +
                                       " places at this relay are taken; ask another peer"};
  }
  reservations_[peer] = now + limits_.reservation;
  return Ok();
}

void RelayDesk::OnRelease(const PeerId& peer, std::vector<CircuitId>& ended) {
  if (reservations_.erase(peer) > 0) EndCalls(peer, ended);
}

void RelayDesk::EndCalls(const PeerId& callee, std::vector<CircuitId>& ended) {
  for (auto it = circuits_.begin(); it != circuits_.end();) {
    if (it->second.callee != callee || it->second.taken) {
      ++it;
      continue;
    }
    ended.push_back(it->first);
    it = Remove(it);
  }
}

Result<RelayDesk::CircuitId> RelayDesk::OnCall(Time now, const PeerId& caller,
                                               const PeerId& callee) {
  const auto place = reservations_.find(callee);
  if (place == reservations_.end() || place->second <= now) {
    return Error{Code::kNotFound, "that peer holds no place at this relay"};
  }
  if (std::ssize(circuits_) >= limits_.circuits_max ||
      CountOf(of_caller_, caller) >= limits_.circuits_per_peer_max ||
      CountOf(to_callee_, callee) >= limits_.circuits_per_peer_max) {
    return Error{Code::kExhausted,
                 "this relay carries as many circuits as it may; try again later"};
  }
  const CircuitId id = next_++;
  circuits_.emplace(id, Circuit{caller, callee, now + limits_.accept, false, false});
  ++of_caller_[caller];
  ++to_callee_[callee];
  return id;
}

std::vector<RelayDesk::CircuitId> RelayDesk::TakeCalls(const PeerId& callee) {
  std::vector<CircuitId> calls;
  for (auto& [id, circuit] : circuits_) {
    if (circuit.callee != callee || circuit.taken || circuit.told) continue;
    circuit.told = true;
    calls.push_back(id);
  }
  return calls;
}

Status RelayDesk::OnTake(Time now, const PeerId& callee, CircuitId id) {
  const auto it = circuits_.find(id);
  if (it == circuits_.end() || it->second.callee != callee || it->second.taken ||
      it->second.until <= now) {
    return Error{Code::kNotFound, "there is no such call to you"};
  }
  it->second.taken = true;
  it->second.until = now + limits_.life;
  ++circuits_running_;
  return Ok();
}

void RelayDesk::OnEnd(CircuitId id) {
  if (const auto it = circuits_.find(id); it != circuits_.end()) Remove(it);
}

RelayDesk::Circuits::iterator RelayDesk::Remove(Circuits::iterator it) {
  Decrement(of_caller_, it->second.caller);
  Decrement(to_callee_, it->second.callee);
  if (it->second.taken) --circuits_running_;
  return circuits_.erase(it);
}

void RelayDesk::OnDeadline(Time now, std::vector<CircuitId>& ended) {
  for (auto it = reservations_.begin(); it != reservations_.end();) {
    if (it->second > now) {
      ++it;
      continue;
    }
    EndCalls(it->first, ended);
    it = reservations_.erase(it);
  }
  for (auto it = circuits_.begin(); it != circuits_.end();) {
    if (it->second.until > now) {
      ++it;
      continue;
    }
    ended.push_back(it->first);
    it = Remove(it);
  }
}

Time RelayDesk::NextDeadline() const {
  Time next = kNever;
  for (const auto& [peer, until] : reservations_) next = std::min(next, until);
  for (const auto& [id, circuit] : circuits_) next = std::min(next, circuit.until);
  return next;
}

std::vector<RelayDesk::Reservation> RelayDesk::Reservations() const {
  std::vector<Reservation> all;
  for (const auto& [peer, until] : reservations_) all.push_back({peer, until});
  return all;
}

void RelayDesk::CheckInvariants() const {
  SHOAL_CHECK(std::ssize(reservations_) <= limits_.slots);
  SHOAL_CHECK(std::ssize(circuits_) <= limits_.circuits_max);
  int running = 0;
  std::map<PeerId, int> callers;
  std::map<PeerId, int> callees;
  for (const auto& [id, circuit] : circuits_) {
    SHOAL_CHECK(id < next_);
    running += circuit.taken ? 1 : 0;
    ++callers[circuit.caller];
    ++callees[circuit.callee];
  }
  SHOAL_CHECK(running == circuits_running_);
  SHOAL_CHECK(callers == of_caller_ && callees == to_callee_);
  const auto in_bound = [this](const auto& entry) {
    return entry.second <= limits_.circuits_per_peer_max;
  };
  SHOAL_CHECK(std::ranges::all_of(of_caller_, in_bound));
  SHOAL_CHECK(std::ranges::all_of(to_callee_, in_bound));
}

}  // namespace shoal::fetch
