#include "index/registrations.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/check.h"

namespace shoal::index {
namespace {

std::string ToCookie(std::uint64_t epoch, std::uint64_t number) {
  return std::to_string(epoch) + "-" + std::to_string(number);
}

// The number in a cookie of this epoch.
std::optional<std::uint64_t> FromCookie(std::string_view cookie, std::uint64_t epoch) {
  const std::string prefix = std::to_string(epoch) + "-";
  if (cookie.size() > kCookieBytesMax || !cookie.starts_with(prefix)) return std::nullopt;
  cookie.remove_prefix(prefix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(cookie.data(), cookie.data() + cookie.size(), number);
  if (error != std::errc() || end != cookie.data() + cookie.size()) return std::nullopt;
  return number;
}

}  // namespace

std::string_view ToString(RendezvousStatus status) {
  switch (status) {
    case RendezvousStatus::kOk:
      return "OK";
    case RendezvousStatus::kInvalidNamespace:
      return "E_INVALID_NAMESPACE";
    case RendezvousStatus::kInvalidRecord:
      return "E_INVALID_SIGNED_PEER_RECORD";
    case RendezvousStatus::kInvalidTtl:
      return "E_INVALID_TTL";
    case RendezvousStatus::kInvalidCookie:
      return "E_INVALID_COOKIE";
    case RendezvousStatus::kNotAuthorized:
      return "E_NOT_AUTHORIZED";
    case RendezvousStatus::kInternalError:
      return "E_INTERNAL_ERROR";
    case RendezvousStatus::kUnavailable:
      return "E_UNAVAILABLE";
  }
  return "E_INTERNAL_ERROR";
}

bool IsNamespace(std::string_view name) {
  return !name.empty() && name.size() <= kNamespaceBytesMax &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

Registrations::Registrations(RegistrationLimits limits, std::uint64_t epoch)
    : limits_(limits), epoch_(epoch) {}

RendezvousError Registrations::Check(const Request& request) const {
  if (request.namespaces.empty() || !std::ranges::all_of(request.namespaces, IsNamespace)) {
    return {RendezvousStatus::kInvalidNamespace,
            "a namespace must be 1 to 255 bytes of printable ASCII"};
  }
  const auto it = peers_.find(request.record.id());
  if (it == peers_.end()) return {};
  if (request.sent_ms <= it->second.sent_ms) {
    return {RendezvousStatus::kNotAuthorized, "the request is not newer than the last one"};
  }
  if (request.record.record().sequence < it->second.record.record().sequence) {
    return {RendezvousStatus::kNotAuthorized, "the record is older than the last one"};
  }
  return {};
}

RendezvousError Registrations::Register(Time now, WallTime wall, const Request& request,
                                        Duration& ttl) {
  OnDeadline(now);
  if (auto error = Check(request); !error.ok()) return error;
  if (request.record.record().expires <= wall) {
    return {RendezvousStatus::kInvalidRecord,
            "the record has expired; check the clocks of the host and the server"};
  }
  ttl = std::clamp(request.ttl, kTtlMin, kTtlMax);
  const PeerId& id = request.record.id();
  const auto known = peers_.find(id);
  if (known == peers_.end() && peers_.size() >= limits_.peers_max) {
    return {RendezvousStatus::kUnavailable, "the server knows as many peers as it will"};
  }
  std::set<std::string_view> fresh;
  for (const auto& name : request.namespaces) {
    const auto space = namespaces_.find(name);
    if (space == namespaces_.end() || !space->second.by_peer.contains(id)) fresh.insert(name);
  }
  const std::size_t held = known == peers_.end() ? 0 : known->second.registrations;
  if (held + fresh.size() > limits_.per_peer_max || size() + fresh.size() > limits_.total_max) {
    return {RendezvousStatus::kUnavailable, "the server holds as many registrations as it will"};
  }

  const bool is_record_new =
      known == peers_.end() || known->second.record.envelope() != request.record.envelope();
  peers_.insert_or_assign(id, Peer{request.record, request.sent_ms, held});
  for (const auto& name : request.namespaces) {
    Put(namespaces_.try_emplace(name).first, id, is_record_new, now + ttl);
  }
  return {};
}

void Registrations::Put(Namespaces::iterator space, const PeerId& peer, bool is_record_new,
                        Time expires) {
  auto& [name, entries] = *space;
  const auto [it, is_new] = entries.by_peer.try_emplace(peer);
  Registration& registration = it->second;
  if (is_new) {
    ++peers_.at(peer).registrations;
  } else {
    expiries_.erase({registration.expires, name, peer});
  }
  if (is_new || is_record_new) {
    if (!is_new) entries.by_number.erase(registration.number);
    registration.number = next_number_++;
    entries.by_number[registration.number] = peer;
  }
  registration.expires = expires;
  expiries_.insert({expires, name, peer});
}

void Registrations::Remove(Namespaces::iterator space, const PeerId& peer) {
  auto& [name, entries] = *space;
  const auto it = entries.by_peer.find(peer);
  if (it == entries.by_peer.end()) return;
  expiries_.erase({it->second.expires, name, peer});
  entries.by_number.erase(it->second.number);
  entries.by_peer.erase(it);
  if (entries.by_peer.empty()) namespaces_.erase(space);
  const auto owner = peers_.find(peer);
  if (--owner->second.registrations == 0) peers_.erase(owner);
}

RendezvousError Registrations::Unregister(Time now, const Request& request) {
  OnDeadline(now);
  if (auto error = Check(request); !error.ok()) return error;
  const PeerId id = request.record.id();
  if (const auto it = peers_.find(id); it != peers_.end()) it->second.sent_ms = request.sent_ms;
  for (const auto& name : request.namespaces) {
    if (const auto space = namespaces_.find(name); space != namespaces_.end()) Remove(space, id);
  }
  return {};
}

Registrations::Answer Registrations::Discover(Time now, WallTime wall, const std::string& name,
                                              int limit, std::string_view cookie) const {
  Answer answer;
  if (!IsNamespace(name)) {
    answer.error = {RendezvousStatus::kInvalidNamespace,
                    "a namespace must be 1 to 255 bytes of printable ASCII"};
    return answer;
  }
  std::uint64_t after = 0;
  if (!cookie.empty()) {
    const auto number = FromCookie(cookie, epoch_);
    if (!number || *number >= next_number_) {
      answer.error = {RendezvousStatus::kInvalidCookie,
                      "the cookie is not of this server's present life; begin without one"};
      return answer;
    }
    after = *number;
  }
  limit = std::clamp(limit, 1, limits_.discover_max);
  const auto space = namespaces_.find(name);
  if (space != namespaces_.end()) {
    const auto& entries = space->second;
    for (auto it = entries.by_number.upper_bound(after); it != entries.by_number.end(); ++it) {
      if (static_cast<int>(answer.found.size()) == limit) break;
      after = it->first;
      const auto& record = peers_.at(it->second).record;
      const Time expires = entries.by_peer.at(it->second).expires;
      if (expires <= now || record.record().expires <= wall) continue;
      answer.found.push_back({record, expires - now});
    }
  }
  answer.cookie = ToCookie(epoch_, after);
  return answer;
}

void Registrations::OnDeadline(Time now) {
  while (!expiries_.empty() && std::get<Time>(*expiries_.begin()) <= now) {
    const auto [expires, name, peer] = *expiries_.begin();
    Remove(namespaces_.find(name), peer);
  }
}

Time Registrations::NextDeadline() const {
  return expiries_.empty() ? kNever : std::get<Time>(*expiries_.begin());
}

void Registrations::CheckInvariants() const {
  SHOAL_CHECK(peers_.size() <= limits_.peers_max);
  SHOAL_CHECK(expiries_.size() <= limits_.total_max);
  std::size_t total = 0;
  std::unordered_map<PeerId, std::size_t> counts;
  for (const auto& [name, entries] : namespaces_) {
    SHOAL_CHECK(IsNamespace(name) && !entries.by_peer.empty());
    SHOAL_CHECK(entries.by_peer.size() == entries.by_number.size());
    for (const auto& [peer, registration] : entries.by_peer) {
      SHOAL_CHECK(entries.by_number.at(registration.number) == peer);
      SHOAL_CHECK(registration.number < next_number_);
      SHOAL_CHECK(expiries_.contains({registration.expires, name, peer}));
      ++counts[peer];
      ++total;
    }
  }
  SHOAL_CHECK(total == expiries_.size());
  SHOAL_CHECK(counts.size() == peers_.size());
  for (const auto& [peer, entry] : peers_) {
    SHOAL_CHECK(entry.registrations == counts.at(peer));
    SHOAL_CHECK(entry.registrations <= limits_.per_peer_max);
  }
}

}  // namespace shoal::index
