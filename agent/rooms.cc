#include "agent/rooms.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <set>
#include <utility>

#include "index/keyfile/room_files.h"
#include "index/record.h"

namespace shoal::agent {
namespace {

Error NoMember() { return {Code::kDenied, "you share no room with this peer"}; }

}  // namespace

Rooms::Rooms(std::string dir, const PeerId& self, bool open, Ports ports)
    : dir_(std::move(dir)),
      open_(open),
      ports_(std::move(ports)),
      members_(index::MembersLimits{}, self, open),
      blobs_(ports_.shares, [this](const std::string& room) {
        const std::lock_guard lock(mutex_);
        return members_.BitOf(room);
      }) {}

Result<std::unique_ptr<Rooms>> Rooms::Open(const std::string& dir, const PeerId& self, bool open,
                                           Ports ports) {
  std::unique_ptr<Rooms> rooms(new Rooms(dir, self, open, std::move(ports)));
  auto loaded = rooms->Reload();
  if (!loaded) return loaded.error();
  return rooms;
}

Result<bool> Rooms::Reload() {
  auto changed = JoinThoseOnDisk();
  if (changed && *changed) blobs_.OnRoomsChanged();
  return changed;
}

Result<bool> Rooms::JoinThoseOnDisk() {
  auto joined = index::LoadRooms(dir_);
  if (!joined) return joined.error();
  const std::lock_guard lock(mutex_);
  bool changed = false;
  std::vector<index::RoomId> left;
  for (const auto& room : members_.rooms()) {
    const index::RoomId id = room.joined.membership.room();
    const bool is_there = std::ranges::any_of(
        *joined, [&](const index::JoinedRoom& each) { return each.membership.room() == id; });
    if (!is_there) left.push_back(id);
  }
  for (const auto& id : left) changed = members_.Leave(id) || changed;
  for (const auto& room : *joined) {
    const index::RoomId id = room.membership.room();
    const auto* known = members_.Find(id);
    if (known != nullptr && known->joined.membership.text() == room.membership.text()) continue;
    const bool is_new = known == nullptr;
    // Before the room is used: who was taken out stays out.
    auto revocations = index::LoadRevocations(dir_, id);
    if (!revocations) return revocations.error();
    index::Revocations check(room.facts.key);
    for (const auto& text : *revocations) {
      if (auto taken = check.Add(text); !taken) {
        return Error{Code::kCorrupt, dir_ + "/" + id.Hex() + "/revocations is damaged (" +
                                         taken.error().text +
                                         "); get it from another member of the room"};
      }
    }
    if (Status in = members_.Join(room); !in) return in.error();
    changed = true;
    if (!is_new) continue;
    for (const auto& text : *revocations) {
      if (auto taken = members_.OnRevocation(id, text); !taken) return taken.error();
    }
  }
  return changed;
}

index::RoomMask Rooms::RoomsOf(const PeerId& peer) const {
  const std::lock_guard lock(mutex_);
  return members_.RoomsOf(ports_.wall(), peer);
}

index::RoomMask Rooms::Ours() const {
  const std::lock_guard lock(mutex_);
  return members_.Ours(ports_.wall());
}

index::RoomMask Rooms::RoomsOfAll() const {
  const std::lock_guard lock(mutex_);
  // Those that were joined count, in force or not: a membership that ends must not show to one
  // room what was kept from it while this host was in two.
  if (members_.joined_count() + (open_ ? 1U : 0U) != 1) return index::kNoRooms;
  return members_.Ours(ports_.wall());
}

std::vector<std::string> Rooms::RecordRooms() const {
  const std::lock_guard lock(mutex_);
  return members_.RecordRooms(ports_.wall());
}

std::vector<std::string> Rooms::Names(index::RoomMask mask) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (; mask != index::kNoRooms; mask &= mask - 1) {
    names.push_back(members_.NameOf(mask & ~(mask - 1)));
  }
  return names;
}

std::string Rooms::SwarmRoom(const Digest& digest) const {
  const index::RoomMask first = SwarmBit(digest);
  if (first == index::kNoRooms) return "";
  if (first == index::kOpenRoomBit) return std::string(index::kOpenRoom);
  const std::lock_guard lock(mutex_);
  const auto it = std::ranges::find(members_.rooms(), first, &index::Members::Room::bit);
  return it == members_.rooms().end() ? "" : it->joined.membership.room().Hex();
}

Result<Digest> Rooms::SwarmDigest(const std::string& room, const Digest& digest) const {
  if (room == index::kOpenRoom) return open_ ? Result<Digest>(digest) : NoMember();
  auto id = index::ParseRoomId(room);
  if (!id) return id.error();
  const std::lock_guard lock(mutex_);
  const auto* known = members_.Find(*id);
  if (known == nullptr) return NoMember();
  return index::BlindDigest(known->joined.facts.key, digest);
}

bool Rooms::IsInRoom(const PeerId& peer, const std::string& room) const {
  const std::lock_guard lock(mutex_);
  index::RoomMask bit = index::kNoRooms;
  if (room == index::kOpenRoom) {
    bit = index::kOpenRoomBit;
  } else if (auto id = index::ParseRoomId(room)) {
    const auto* known = members_.Find(*id);
    if (known != nullptr) bit = known->bit;
  }
  return (members_.RoomsOf(ports_.wall(), peer) & bit) != index::kNoRooms;
}

std::string Rooms::RecordName(index::RoomMask bit) const {
  if (bit == index::kOpenRoomBit) return std::string(index::kOpenRoom);
  const std::lock_guard lock(mutex_);
  const auto it = std::ranges::find(members_.rooms(), bit, &index::Members::Room::bit);
  return it == members_.rooms().end() ? "" : it->joined.membership.room().Hex();
}

index::RoomMask Rooms::BitOf(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  return members_.BitOf(name);
}

Result<WallTime> Rooms::MayWrite(const std::string& room, const PeerId& writer,
                                 std::string_view membership) const {
  if (room == index::kOpenRoom) {
    if (open_) return WallTime::max();
    return NoMember();
  }
  auto id = index::ParseRoomId(room);
  if (!id) return id.error();
  std::unique_lock lock(mutex_);
  const WallTime now = ports_.wall();
  const auto* known = members_.Find(*id);
  if (known == nullptr || members_.OursIn(now, *id) == nullptr) return NoMember();
  const index::PublicKey key = known->joined.facts.key;
  // Those that serve bytes must not wait for signatures.
  lock.unlock();
  auto shown = index::Membership::Parse(membership, key);
  if (!shown) return Error{Code::kCorrupt, shown.error().text};
  lock.lock();
  known = members_.Find(*id);
  if (auto holds = shown->Holds(writer, now); !holds) return holds.error();
  if (known->revocations.Covers(*shown)) {
    return Error{Code::kDenied, "the membership of peer " + writer.Short() + " is revoked"};
  }
  return shown->until() + index::kClockSkew;
}

std::optional<std::string> Rooms::OwnMembership(const std::string& room) const {
  if (room == index::kOpenRoom) return open_ ? std::optional<std::string>("") : std::nullopt;
  auto id = index::ParseRoomId(room);
  if (!id) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto* ours = members_.OursIn(ports_.wall(), *id);
  if (ours == nullptr) return std::nullopt;
  return ours->text();
}

std::optional<std::string> Rooms::Question(const index::RoomId& room) const {
  const std::lock_guard lock(mutex_);
  const auto* ours = members_.OursIn(ports_.wall(), room);
  if (ours == nullptr) return std::nullopt;
  const auto& revocations = members_.Find(room)->revocations;
  return index::EncodeMeeting(
      {ours->text(), revocations.hash(), revocations.Newest(index::kRevocationsPushed)});
}

// The lock is let go of before anybody is told.
Status Rooms::Shown(std::unique_lock<std::mutex>& lock, const PeerId& peer,
                    const index::RoomId& room, const index::Meeting& meeting) {
  const WallTime now = ports_.wall();
  if (!members_.HasShown(now, room, peer, meeting.membership)) {
    // Strangers, too, make us verify: those that serve bytes must not wait for that.
    const auto* known = members_.Find(room);
    if (known == nullptr) return NoMember();
    const index::PublicKey key = known->joined.facts.key;
    lock.unlock();
    auto membership = index::Membership::Parse(meeting.membership, key);
    if (!membership) return membership.error();
    lock.lock();
    const bool was_out = members_.RoomsOf(now, peer) == index::kNoRooms;
    if (Status in = members_.OnVerified(now, room, peer, *membership); !in) return in;
    return Welcome(lock, now, peer, room, meeting, was_out);
  }
  return Welcome(lock, now, peer, room, meeting, members_.RoomsOf(now, peer) == index::kNoRooms);
}

Status Rooms::Welcome(std::unique_lock<std::mutex>& lock, WallTime now, const PeerId& peer,
                      const index::RoomId& room, const index::Meeting& meeting, bool was_out) {
  // Only members are listened to: others could make us verify for nothing.
  const bool news = TakeRevocations(room, meeting.revocations);
  const bool is_in = members_.RoomsOf(now, peer) != index::kNoRooms;
  lock.unlock();
  if (news) ports_.on_changed();
  if (!is_in) return NoMember();
  if (was_out) ports_.on_admitted(peer);
  lock.lock();
  return Ok();
}

Result<std::string> Rooms::Answer(const PeerId& peer, const index::RoomId& room,
                                  std::string_view body) {
  auto meeting = index::DecodeMeeting(body, index::kMeetingQuestionBytesMax);
  if (!meeting) return meeting.error();
  std::unique_lock lock(mutex_);
  if (Status shown = Shown(lock, peer, room, *meeting); !shown) {
    spdlog::debug("peer {} is not let in: {}", peer.Short(), shown.error().text);
    return NoMember();
  }
  const auto* ours = members_.OursIn(ports_.wall(), room);
  if (ours == nullptr) return NoMember();
  const auto& revocations = members_.Find(room)->revocations;
  const bool same = revocations.hash() == meeting->hash;
  return index::EncodeMeeting(
      {ours->text(), revocations.hash(), same ? std::vector<std::string>() : revocations.Texts()});
}

Status Rooms::OnAnswer(const PeerId& peer, const index::RoomId& room, std::string_view body) {
  auto meeting = index::DecodeMeeting(body, index::kMeetingAnswerBytesMax);
  if (!meeting) return meeting.error();
  std::unique_lock lock(mutex_);
  return Shown(lock, peer, room, *meeting);
}

bool Rooms::TakeRevocations(const index::RoomId& room, const std::vector<std::string>& texts) {
  bool news = false;
  for (const auto& text : texts) {
    auto taken = members_.OnRevocation(room, text);
    if (!taken) {
      spdlog::debug("a revocation was not taken: {}", taken.error().text);
      // Whoever sends one that is wrong is not asked to send us more.
      break;
    }
    news = news || *taken;
  }
  if (!news) return false;
  ++revision_;
  if (ports_.disk != nullptr) {
    ports_.disk->Post([this, room] {
      if (Status saved = Save(room); !saved) {
        spdlog::error("the revocations of room {} were not written: {}", room.Short(),
                      saved.error().text);
      }
    });
  }
  return true;
}

// One at a time, so that an older list never takes the place of a newer one.
Status Rooms::Save(const index::RoomId& room) {
  const std::lock_guard saving(save_mutex_);
  std::vector<std::string> texts;
  {
    const std::lock_guard lock(mutex_);
    const auto* known = members_.Find(room);
    if (known == nullptr) return Ok();
    texts = known->revocations.Texts();
  }
  return index::SaveRevocations(dir_, room, texts);
}

Status Rooms::Revoke(const index::RoomId& room, std::string_view text) {
  {
    const std::lock_guard lock(mutex_);
    auto taken = members_.OnRevocation(room, text);
    if (!taken) return taken.error();
    if (*taken) ++revision_;
  }
  ports_.on_changed();
  return Save(room);
}

std::vector<Rooms::View> Rooms::List() const {
  const std::lock_guard lock(mutex_);
  const WallTime now = ports_.wall();
  std::vector<View> views;
  for (const auto& room : members_.rooms()) {
    if (room.is_left) continue;
    const auto& id = room.joined.membership.room();
    views.push_back({room.joined.facts.name, id, members_.OursIn(now, id) != nullptr,
                     room.joined.membership.until(), members_.MemberCount(now, id),
                     room.revocations.size()});
  }
  return views;
}

index::RoomPlaces Rooms::Places() const {
  const std::lock_guard lock(mutex_);
  index::RoomPlaces all;
  std::set<std::string> servers;
  std::set<index::Endpoint> fixed;
  for (const auto& room : members_.rooms()) {
    if (room.is_left) continue;
    const auto& places = room.joined.facts.places;
    servers.insert(places.rendezvous.begin(), places.rendezvous.end());
    fixed.insert(places.fixed.begin(), places.fixed.end());
  }
  all.rendezvous.assign(servers.begin(), servers.end());
  all.fixed.assign(fixed.begin(), fixed.end());
  return all;
}

}  // namespace shoal::agent
