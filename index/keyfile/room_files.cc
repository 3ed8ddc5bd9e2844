#include "index/keyfile/room_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>

#include "index/keyfile/file_io.h"

namespace shoal::index {
namespace {

constexpr std::size_t kRoomFileBytesMax = kRoomTokenBytesMax;
constexpr std::size_t kRevocationsBytesMax = kRevocationsMax * (kRevocationBytesMax + 1);

std::string FolderOf(const std::string& dir, const RoomId& room) { return dir + "/" + room.Hex(); }

// nullopt when there is none.
Result<std::optional<std::string>> ReadFile(const std::string& path, std::size_t bytes_max) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (fd.get() < 0) {
    if (errno == ENOENT) return std::optional<std::string>();
    return ErrnoError(errno, "open " + path);
  }
  auto text = ReadAll(fd.get(), path, bytes_max);
  if (!text) return text.error();
  return std::optional(*std::move(text));
}

Status WriteFile(const std::string& folder, const std::string& name, const std::string& text) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return ErrnoError(error.value(), "make " + folder);
  auto written = WriteWhole(folder + "/" + name, text, IfThere::kReplace);
  if (!written) return written.error();
  return Ok();
}

}  // namespace

Result<std::vector<JoinedRoom>> LoadRooms(const std::string& dir) {
  std::vector<JoinedRoom> rooms;
  std::error_code error;
  std::filesystem::directory_iterator entries(dir, error);
  if (error) {
    if (error == std::errc::no_such_file_or_directory) return rooms;
    return ErrnoError(error.value(), "read " + dir);
  }
  for (const auto& entry : entries) {
    const std::string path = entry.path().string() + "/room";
    auto text = ReadFile(path, kRoomFileBytesMax);
    if (!text) return text.error();
    if (!text->has_value()) continue;
    auto room = DecodeJoinedRoom(**text);
    if (!room || room->membership.room().Hex() != entry.path().filename()) {
      return Error{Code::kCorrupt, path + " is damaged; remove " + entry.path().string() +
                                       "/room and join the room again"};
    }
    rooms.push_back(*std::move(room));
  }
  std::ranges::sort(rooms, {}, [](const JoinedRoom& room) { return room.membership.room(); });
  return rooms;
}

Status SaveRoom(const std::string& dir, const JoinedRoom& room) {
  return WriteFile(FolderOf(dir, room.membership.room()), "room", EncodeJoinedRoom(room));
}

Status RemoveRoom(const std::string& dir, const RoomId& room) {
  const std::string folder = FolderOf(dir, room);
  if (::unlink((folder + "/room").c_str()) != 0) {
    return ErrnoError(errno, "remove " + folder + "/room");
  }
  return SyncDir(folder);
}

Result<std::vector<std::string>> LoadRevocations(const std::string& dir, const RoomId& room) {
  auto text = ReadFile(FolderOf(dir, room) + "/revocations", kRevocationsBytesMax);
  if (!text) return text.error();
  std::vector<std::string> lines;
  if (!text->has_value()) return lines;
  for (std::string_view rest = **text; !rest.empty();) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (!line.empty()) lines.emplace_back(line);
  }
  return lines;
}

Status SaveRevocations(const std::string& dir, const RoomId& room,
                       const std::vector<std::string>& texts) {
  std::string all;
  for (const auto& text : texts) all += text + "\n";
  return WriteFile(FolderOf(dir, room), "revocations", all);
}

}  // namespace shoal::index
