// What Registrations answers: DISCOVER.

#include <algorithm>

#include "base/check.h"
#include "index/registrations.h"

namespace shoal::index {

Registrations::Answer Registrations::Discover(Time now, WallTime wall, const std::string& name,
                                              int limit, std::string_view cookie) const {
  Answer answer;
  if (!name.empty() && !IsNamespace(name)) {
    answer.error = {RendezvousStatus::kInvalidNamespace,
                    "a namespace must be 1 to 255 bytes of printable ASCII"};
    return answer;
  }
  Cookie seen;
  if (!cookie.empty()) {
    const auto opened = OpenCookie(cookie, name, secret_);
    if (!opened) {
      answer.error = {RendezvousStatus::kInvalidCookie,
                      "the cookie is not this server's for this namespace; begin without one"};
      return answer;
    }
    seen = *opened;
  }
  limit = std::clamp(limit, 1, limits_.discover_max);
  if (name.empty()) {
    DiscoverPeers(wall, limit, seen, answer);
  } else {
    DiscoverSpace(now, wall, PackName(name), limit, seen, answer);
  }
  answer.cookie = SealCookie(seen, name, secret_);
  return answer;
}

void Registrations::DiscoverPeers(WallTime wall, int limit, Cookie& cookie, Answer& answer) const {
  for (auto it = by_number_.upper_bound(cookie.number); it != by_number_.end(); ++it) {
    if (static_cast<int>(answer.found.size()) == limit) break;
    cookie.number = it->first;
    const Peer& peer = peers_[it->second];
    if (peer.expires > wall) answer.found.push_back({peer.envelope, peer.expires - wall});
  }
}

// The first registration of the space with a higher number than the cookie's.
Handle Registrations::After(const Namespaces::Space& space, Handle handle,
                            const Cookie& cookie) const {
  if (cookie.number == 0 || entries_[space.first].number > cookie.number) return space.first;
  if (cookie.hint < entries_.made()) {
    const Entry& hinted = entries_[cookie.hint];
    if (hinted.space == handle && hinted.number == cookie.number) return hinted.next;
  }
  // It has moved or gone. What is new lies at the end.
  Handle after = kNoHandle;
  for (Handle at = space.last; at != kNoHandle && entries_[at].number > cookie.number;
       at = entries_[at].previous) {
    after = at;
  }
  return after;
}

void Registrations::DiscoverSpace(Time now, WallTime wall, const std::string& packed, int limit,
                                  Cookie& cookie, Answer& answer) const {
  const Handle handle = spaces_.Find(packed);
  if (handle == kNoHandle) return;
  Handle at = After(spaces_[handle], handle, cookie);
  for (; at != kNoHandle && static_cast<int>(answer.found.size()) < limit; at = entries_[at].next) {
    const Entry& entry = entries_[at];
    cookie = {entry.number, at};
    const Peer& peer = peers_[entry.peer];
    const Duration left = Time(std::chrono::seconds(entry.expires)) - now;
    if (left > Duration(0) && peer.expires > wall) answer.found.push_back({peer.envelope, left});
  }
}

void Registrations::CheckLog() const {
  std::uint64_t number = 0;
  std::size_t logged = 0;
  Handle previous = kNoHandle;
  for (Handle at = log_first_; at != kNoHandle; at = entries_[at].log_next) {
    const Entry& entry = entries_[at];
    SHOAL_CHECK(entry.logged > number && entry.logged < next_number_);
    SHOAL_CHECK(entry.log_previous == previous && FindClaim(at, kOurOwner).has_value());
    number = entry.logged;
    previous = at;
    ++logged;
  }
  SHOAL_CHECK(log_last_ == previous && number <= log_end_ && log_end_ < next_number_);
  SHOAL_CHECK(tombstones_.size() <= limits_.tombstones_max + 1);
  std::vector<std::size_t> claims(copies_.size());
  std::size_t shared = 0;
  for (Handle at = 0; at < entries_.made(); ++at) {
    if (entries_[at].peer == kNoHandle) continue;
    const auto held = ClaimsOf(at);
    shared += entries_[at].is_shared ? 1 : 0;
    for (const auto& claim : held) {
      ++claims[claim.owner];
      SHOAL_CHECK(claim.expires <= entries_[at].expires);
      if (claim.owner == kOurOwner) SHOAL_CHECK(entries_[at].logged != 0);
    }
    SHOAL_CHECK(entries_[at].is_shared == (held.size() > 1));
  }
  SHOAL_CHECK(shared == claims_.size() && claims[kOurOwner] == logged);
  for (std::size_t i = 0; i < claims.size(); ++i) SHOAL_CHECK(claims[i] == copies_[i].count);
}

void Registrations::CheckInvariants() const {
  SHOAL_CHECK(peers_.size() == by_id_.size() && by_number_.size() == by_id_.size());
  SHOAL_CHECK(by_id_.size() <= limits_.peers_max);
  SHOAL_CHECK(entries_.size() <= limits_.total_max);
  CheckLog();
  std::unordered_map<Handle, std::size_t> of_peer;
  std::size_t total = 0;
  std::size_t spaces = 0;
  for (Handle handle = 0; handle < spaces_.made(); ++handle) {
    const auto& space = spaces_[handle];
    if (space.length == 0) continue;
    ++spaces;
    SHOAL_CHECK(space.count > 0 && spaces_.Find(spaces_.Packed(handle)) == handle);
    std::size_t count = 0;
    std::uint64_t number = 0;
    Handle previous = kNoHandle;
    for (Handle at = space.first; at != kNoHandle; at = entries_[at].next) {
      const Entry& entry = entries_[at];
      SHOAL_CHECK(entry.space == handle && entry.previous == previous);
      SHOAL_CHECK(entry.number > number && entry.number < next_number_);
      SHOAL_CHECK(Find(entry.peer, handle) == at);
      SHOAL_CHECK(entry.expires > turned_);
      ++of_peer[entry.peer];
      ++count;
      number = entry.number;
      previous = at;
    }
    SHOAL_CHECK(space.last == previous && space.count == count);
    total += count;
  }
  SHOAL_CHECK(spaces == spaces_.size() && total == entries_.size());
  SHOAL_CHECK(of_peer.size() == by_id_.size());
  for (const auto& [handle, count] : of_peer) {
    const Peer& peer = peers_[handle];
    SHOAL_CHECK(peer.count == count && count <= limits_.per_peer_max);
    SHOAL_CHECK(by_id_.at(peer.id) == handle && by_number_.at(peer.number) == handle);
  }
  std::size_t wound = 0;
  for (std::size_t slot = 0; slot < wheel_.size(); ++slot) {
    for (Handle at = wheel_[slot]; at != kNoHandle; at = entries_[at].slot_next) {
      SHOAL_CHECK(entries_[at].expires % wheel_.size() == slot);
      ++wound;
    }
  }
  SHOAL_CHECK(wound == entries_.size());
}

}  // namespace shoal::index
