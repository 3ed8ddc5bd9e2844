#include "index/members.h"

#include <algorithm>

#include "base/check.h"
#include "index/record.h"

namespace shoal::index {
namespace {

Error NoSuchRoom() { return {Code::kDenied, "you share no room with this peer"}; }

}  // namespace

Members::Members(MembersLimits limits, const PeerId& self, bool open)
    : limits_(limits), self_(self), open_(open) {}

const Members::Room* Members::FindAny(const RoomId& room) const {
  const auto it = std::ranges::find_if(
      rooms_, [&](const Room& each) { return each.joined.membership.room() == room; });
  return it == rooms_.end() ? nullptr : &*it;
}

const Members::Room* Members::Find(const RoomId& room) const {
  const Room* found = FindAny(room);
  return found == nullptr || found->is_left ? nullptr : found;
}

Members::Room* Members::FindRoom(const RoomId& room) {
  const Room* found = Find(room);
  return found == nullptr ? nullptr : &rooms_[static_cast<std::size_t>(found - rooms_.data())];
}

std::size_t Members::joined_count() const {
  return static_cast<std::size_t>(std::ranges::count(rooms_, false, &Room::is_left));
}

Status Members::Join(const JoinedRoom& room) {
  if (room.membership.peer() != self_) {
    return Error{Code::kDenied, "the membership of room " + room.facts.name +
                                    " is that of another host; join it on this host"};
  }
  if (Room* known = FindRoom(room.membership.room())) {
    known->joined = room;
    return Ok();
  }
  if (joined_count() == kJoinedRoomsMax) {
    return Error{Code::kExhausted, "a host is in at most " + std::to_string(kJoinedRoomsMax) +
                                       " rooms; leave one first (shoal room leave)"};
  }
  if (const Room* left = FindAny(room.membership.room())) {
    Room& again = rooms_[static_cast<std::size_t>(left - rooms_.data())];
    again.joined = room;
    again.is_left = false;
    return Ok();
  }
  if (rooms_.size() == kRoomsOfALifeMax) {
    return Error{Code::kExhausted, "this agent has been in " + std::to_string(kRoomsOfALifeMax) +
                                       " rooms since it started; start it again"};
  }
  const RoomMask bit = kOpenRoomBit << (rooms_.size() + 1);
  rooms_.push_back({room, Revocations(room.facts.key), bit});
  proofs_.emplace_back();
  return Ok();
}

bool Members::Leave(const RoomId& room) {
  Room* known = FindRoom(room);
  if (known == nullptr) return false;
  known->is_left = true;
  proofs_[static_cast<std::size_t>(known - rooms_.data())].clear();
  return true;
}

Result<bool> Members::OnRevocation(const RoomId& room, std::string_view text) {
  Room* known = FindRoom(room);
  if (known == nullptr) return Error{Code::kNotFound, "this host is not in room " + room.Short()};
  auto added = known->revocations.Add(text);
  if (!added) return added.error();
  if (*added) {
    std::erase_if(proofs_[static_cast<std::size_t>(known - rooms_.data())],
                  [&](const auto& proof) { return known->revocations.Covers(proof.second); });
  }
  return *added;
}

bool Members::InForce(WallTime now, const Room& room) const {
  const Membership& ours = room.joined.membership;
  return !room.is_left && ours.Holds(self_, now).ok() && !room.revocations.Covers(ours);
}

bool Members::HasShown(WallTime now, const RoomId& room, const PeerId& peer,
                       std::string_view text) const {
  const Room* known = Find(room);
  if (known == nullptr || !InForce(now, *known)) return false;
  const Proofs& proofs = proofs_[static_cast<std::size_t>(known - rooms_.data())];
  const auto it = proofs.find(peer);
  return it != proofs.end() && it->second.text() == text && it->second.Holds(peer, now).ok();
}

Status Members::OnShown(WallTime now, const RoomId& room, const PeerId& peer,
                        std::string_view text) {
  const Room* known = Find(room);
  if (known == nullptr) return NoSuchRoom();
  // What was verified is not verified twice.
  if (HasShown(now, room, peer, text)) return Ok();
  auto shown = Membership::Parse(text, known->joined.facts.key);
  if (!shown) return shown.error();
  return OnVerified(now, room, peer, *shown);
}

Status Members::OnVerified(WallTime now, const RoomId& room, const PeerId& peer,
                           const Membership& membership) {
  Room* known = FindRoom(room);
  if (known == nullptr || !InForce(now, *known) || peer == self_ || membership.room() != room) {
    return NoSuchRoom();
  }
  if (auto holds = membership.Holds(peer, now); !holds) return holds;
  if (known->revocations.Covers(membership)) {
    return Error{Code::kDenied, "the membership of peer " + peer.Short() + " is revoked"};
  }
  Proofs& proofs = proofs_[static_cast<std::size_t>(known - rooms_.data())];
  if (const auto it = proofs.find(peer); it != proofs.end()) {
    if (it->second.until() < membership.until()) it->second = membership;
    return Ok();
  }
  if (proofs.size() >= limits_.peers_max) {
    DropDead(now, static_cast<std::size_t>(known - rooms_.data()));
    if (proofs.size() >= limits_.peers_max) {
      return Error{Code::kExhausted,
                   "we know " + std::to_string(limits_.peers_max) + " members of the room already"};
    }
  }
  proofs.emplace(peer, membership);
  return Ok();
}

void Members::DropDead(WallTime now, std::size_t place) {
  std::erase_if(proofs_[place],
                [&](const auto& proof) { return !proof.second.Holds(proof.first, now).ok(); });
}

RoomMask Members::RoomsOf(WallTime now, const PeerId& peer) const {
  RoomMask mask = open_ ? kOpenRoomBit : kNoRooms;
  for (std::size_t i = 0; i < rooms_.size(); ++i) {
    const auto proof = proofs_[i].find(peer);
    if (proof == proofs_[i].end() || !InForce(now, rooms_[i])) continue;
    if (proof->second.Holds(peer, now).ok()) mask |= rooms_[i].bit;
  }
  return mask;
}

RoomMask Members::Ours(WallTime now) const {
  RoomMask mask = open_ ? kOpenRoomBit : kNoRooms;
  for (const auto& room : rooms_) {
    if (InForce(now, room)) mask |= room.bit;
  }
  return mask;
}

const Membership* Members::OursIn(WallTime now, const RoomId& room) const {
  const Room* known = Find(room);
  return known != nullptr && InForce(now, *known) ? &known->joined.membership : nullptr;
}

std::vector<std::string> Members::RecordRooms(WallTime now) const {
  std::vector<std::string> names;
  if (open_) names.emplace_back(kOpenRoom);
  for (const auto& room : rooms_) {
    if (InForce(now, room)) names.push_back(room.joined.membership.room().Hex());
  }
  return names;
}

std::string Members::NameOf(RoomMask bit) const {
  if (bit == kOpenRoomBit) return std::string(kOpenRoom);
  const auto it = std::ranges::find(rooms_, bit, &Room::bit);
  return it == rooms_.end() ? "" : it->joined.facts.name;
}

RoomMask Members::BitOf(std::string_view name) const {
  if (name == kOpenRoom) return open_ ? kOpenRoomBit : kNoRooms;
  RoomMask found = kNoRooms;
  for (const auto& room : rooms_) {
    if (room.is_left) continue;
    if (room.joined.membership.room().Hex() == name) return room.bit;
    if (room.joined.facts.name != name) continue;
    if (found != kNoRooms) return kNoRooms;
    found = room.bit;
  }
  return found;
}

std::size_t Members::MemberCount(WallTime now, const RoomId& room) const {
  const Room* known = Find(room);
  if (known == nullptr || !InForce(now, *known)) return 0;
  const Proofs& proofs = proofs_[static_cast<std::size_t>(known - rooms_.data())];
  return static_cast<std::size_t>(std::ranges::count_if(
      proofs, [&](const auto& proof) { return proof.second.Holds(proof.first, now).ok(); }));
}

void Members::CheckInvariants() const {
  SHOAL_CHECK(rooms_.size() == proofs_.size());
  SHOAL_CHECK(joined_count() <= kJoinedRoomsMax && rooms_.size() <= kRoomsOfALifeMax);
  RoomMask seen = kOpenRoomBit;
  for (std::size_t i = 0; i < rooms_.size(); ++i) {
    SHOAL_CHECK((seen & rooms_[i].bit) == 0);
    seen |= rooms_[i].bit;
    SHOAL_CHECK(rooms_[i].joined.facts.id() == rooms_[i].joined.membership.room());
    SHOAL_CHECK(proofs_[i].size() <= limits_.peers_max);
    SHOAL_CHECK(!rooms_[i].is_left || proofs_[i].empty());
    for (const auto& [peer, proof] : proofs_[i]) {
      SHOAL_CHECK(peer != self_ && proof.peer() == peer);
      SHOAL_CHECK(proof.room() == rooms_[i].joined.membership.room());
      SHOAL_CHECK(!rooms_[i].revocations.Covers(proof));
    }
  }
}

}  // namespace shoal::index
