#include "agent/blob_rooms.h"

#include <fnmatch.h>

#include <algorithm>
#include <utility>

namespace shoal::agent {

std::string RepositoryOf(std::string_view image_name) {
  image_name = image_name.substr(0, image_name.find('@'));
  const auto slash = image_name.rfind('/');
  const auto colon = image_name.rfind(':');
  const bool has_tag =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return std::string(has_tag ? image_name.substr(0, colon) : image_name);
}

index::RoomMask BlobRooms::ByRules(const std::string& repository) const {
  index::RoomMask rooms = index::kNoRooms;
  for (const auto& share : shares_) {
    const bool named = std::ranges::any_of(share.repositories, [&](const std::string& pattern) {
      return fnmatch(pattern.c_str(), repository.c_str(), 0) == 0;
    });
    if (named) rooms |= bit_of_(share.room);
  }
  return rooms;
}

BlobRooms::News BlobRooms::Note(const Digest& digest, const std::string& repository) {
  // Not under our own lock: the rules look at the rooms.
  const index::RoomMask rooms = ByRules(repository);
  const std::lock_guard lock(mutex_);
  auto& entry = repositories_[repository];
  if (!entry) entry = std::make_unique<Repository>(Repository{repository, rooms});
  entry->rooms = rooms;
  auto& known = blobs_[digest];
  if (std::ranges::find(known, entry.get()) != known.end()) return News::kNone;
  if (known.size() >= kRepositoriesOfBlobMax) return News::kNone;
  index::RoomMask before = index::kNoRooms;
  for (const auto* other : known) before |= other->rooms;
  known.push_back(entry.get());
  return (rooms & ~before) != index::kNoRooms ? News::kSeen : News::kKnown;
}

index::RoomMask BlobRooms::OfBlob(const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  index::RoomMask rooms = index::kNoRooms;
  const auto it = blobs_.find(digest);
  if (it == blobs_.end()) return rooms;
  for (const auto* repository : it->second) rooms |= repository->rooms;
  return rooms;
}

index::RoomMask BlobRooms::OfRepository(const std::string& repository) const {
  return ByRules(repository);
}

void BlobRooms::OnRoomsChanged() {
  std::vector<std::string> names;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, repository] : repositories_) names.push_back(name);
  }
  for (const auto& name : names) {
    const index::RoomMask rooms = ByRules(name);
    const std::lock_guard lock(mutex_);
    repositories_.at(name)->rooms = rooms;
  }
}

}  // namespace shoal::agent
