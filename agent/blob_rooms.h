// BlobRooms: which rooms may see what this host holds, by the repositories that it came from.
//
// Rules
// - Each [[share]] of the configuration gives repositories to one room. A repository may be in
//   several; one that no rule names is in none.
// - A blob is in the rooms of all repositories under which this host has asked for it, or under
//   which containerd says that it came. A blob of which that is not known is in none.
// - What is known of a blob is never taken back while the agent runs.
// Any thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/digest.h"
#include "index/room_key.h"

namespace shoal::agent {

struct ShareEntry {
  std::vector<std::string> repositories;  // "reg.example/team-a/*"
  std::string room;                       // by its name or id, or "open"
};

// More repositories of one blob than that are not remembered: a base layer in a hundred of them.
inline constexpr std::size_t kRepositoriesOfBlobMax = 64;

// "reg.example/team-a/app" of "reg.example/team-a/app:v1" and "...@sha256:...".
std::string RepositoryOf(std::string_view image_name);

class BlobRooms {
 public:
  // bit_of  the bit of a room by its name; kNoRooms when we are not in it (yet).
  BlobRooms(std::vector<ShareEntry> shares,
            std::function<index::RoomMask(const std::string&)> bit_of)
      : shares_(std::move(shares)), bit_of_(std::move(bit_of)) {}

  // Without rules everything is left to whoever asks.
  [[nodiscard]] bool has_rules() const { return !shares_.empty(); }

  enum class News { kNone, kKnown, kSeen };
  // The blob is of this repository ("registry/repository"). Returns kKnown when that is new, and
  // kSeen when rooms may see the blob for that that did not before.
  News Note(const Digest& digest, const std::string& repository);
  [[nodiscard]] index::RoomMask OfBlob(const Digest& digest) const;
  [[nodiscard]] index::RoomMask OfRepository(const std::string& repository) const;
  // We are in other rooms than before.
  void OnRoomsChanged();

 private:
  struct Repository {
    std::string name;
    index::RoomMask rooms = index::kNoRooms;
  };

  [[nodiscard]] index::RoomMask ByRules(const std::string& repository) const;

  const std::vector<ShareEntry> shares_;
  const std::function<index::RoomMask(const std::string&)> bit_of_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::unique_ptr<Repository>> repositories_;
  std::unordered_map<Digest, std::vector<const Repository*>> blobs_;  // into repositories_
};

}  // namespace shoal::agent
