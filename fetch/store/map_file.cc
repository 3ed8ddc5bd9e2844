#include "fetch/store/map_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>

#include "fetch/store/files.h"

namespace shoal::fetch {
namespace {

constexpr std::string_view kMagic = "shoalmap";
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kBootIdBytes = 36;
constexpr std::byte kHere{1};
constexpr std::byte kStateKnown{2};
constexpr std::int64_t kStateBytes = 32;

static_assert(std::endian::native == std::endian::little, "the numbers are written as they lie");

template <class T>
void Store(std::vector<std::byte>& out, std::size_t at, T value) {
  std::memcpy(out.data() + at, &value, sizeof value);
}

template <class T>
T Take(ByteSpan bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::int64_t FileBytes(const Geometry& geometry) {
  return kMapHeaderBytes + geometry.count() * (1 + kStateBytes);
}

Error Damaged(const std::string& path) {
  return {Code::kCorrupt, path + " is damaged or not a map of this blob"};
}

std::vector<std::byte> Header(const Digest& digest, const Geometry& geometry) {
  std::vector<std::byte> out(kMapHeaderBytes);
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  Store(out, 8, kVersion);
  const std::string& boot = BootId();
  std::memcpy(out.data() + kMapBootIdOffset, boot.data(), std::min(boot.size(), kBootIdBytes));
  Store(out, 56, geometry.blob().count());
  Store(out, 64, geometry.piece().count());
  std::memcpy(out.data() + 72, digest.bytes.data(), digest.bytes.size());
  return out;
}

struct ParsedHeader {
  Geometry geometry;
  bool this_boot;
};

Result<ParsedHeader> ReadHeader(const std::string& path, const File& file, const Digest& digest) {
  std::vector<std::byte> header(kMapHeaderBytes);
  if (!file.ReadAt(Bytes(0), header).ok()) return Damaged(path);
  const std::string_view text = AsText(header);
  if (!text.starts_with(kMagic) || Take<std::uint32_t>(header, 8) != kVersion ||
      std::memcmp(header.data() + 72, digest.bytes.data(), digest.bytes.size()) != 0) {
    return Damaged(path);
  }
  auto geometry =
      Geometry::Make(Bytes(Take<std::int64_t>(header, 56)), Bytes(Take<std::int64_t>(header, 64)));
  const auto size = file.Size();
  if (!geometry || !size || size->count() != FileBytes(*geometry)) return Damaged(path);
  const bool this_boot =
      !BootId().empty() && text.substr(kMapBootIdOffset, kBootIdBytes) == BootId();
  return ParsedHeader{*geometry, this_boot};
}

Bytes FlagOffset(PieceIndex piece) { return Bytes(kMapHeaderBytes + piece.value); }

Bytes StateOffset(std::size_t count, PieceIndex piece) {
  return Bytes(kMapHeaderBytes + static_cast<std::int64_t>(count) + kStateBytes * piece.value);
}

std::vector<std::byte> FlagsOf(const MapContents& contents) {
  const std::int32_t count = contents.chain.geometry().count();
  std::vector<std::byte> flags(static_cast<std::size_t>(count));
  for (PieceIndex i; i.value < count; ++i) {
    std::byte& flag = flags[static_cast<std::size_t>(i.value)];
    if (contents.have.Has(i)) flag |= kHere;
    if (contents.chain.Before(i) != nullptr) flag |= kStateKnown;
  }
  return flags;
}

}  // namespace

const std::string& BootId() {
  static const std::string id = [] {
    std::string text;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> text;
    return text.size() == kBootIdBytes ? text : std::string();
  }();
  return id;
}

Result<Geometry> MapFile::LoadGeometry(const std::string& path, const Digest& digest) {
  const auto file = OpenForRead(path);
  if (!file) return file.error();
  const auto header = ReadHeader(path, **file, digest);
  if (!header) return header.error();
  return header->geometry;
}

Result<MapContents> MapFile::Load(const std::string& path, const Digest& digest) {
  const auto file = OpenForRead(path);
  if (!file) return file.error();
  const auto header = ReadHeader(path, **file, digest);
  if (!header) return header.error();
  const std::int32_t count = header->geometry.count();
  std::vector<std::byte> body(
      static_cast<std::size_t>(FileBytes(header->geometry) - kMapHeaderBytes));
  if (!(*file)->ReadAt(Bytes(kMapHeaderBytes), body).ok()) return Damaged(path);
  MapContents contents{Chain(header->geometry), PieceMap(count), header->this_boot};
  for (PieceIndex i; i.value < count; ++i) {
    const std::byte flag = body[static_cast<std::size_t>(i.value)];
    if ((flag & ~(kHere | kStateKnown)) != std::byte{0}) return Damaged(path);
    if ((flag & kHere) != std::byte{0}) contents.have.Set(i);
    if (i.value == 0 || (flag & kStateKnown) == std::byte{0}) continue;
    ChainState state;
    std::memcpy(state.data(), body.data() + count + kStateBytes * i.value, state.size());
    contents.chain.Set(i, state);
  }
  return contents;
}

Result<MapFile> MapFile::Create(const std::string& path, const Digest& digest,
                                const MapContents& contents) {
  const Geometry& geometry = contents.chain.geometry();
  std::vector<std::byte> bytes = Header(digest, geometry);
  std::vector<std::byte> flags = FlagsOf(contents);
  bytes.insert(bytes.end(), flags.begin(), flags.end());
  for (PieceIndex i; i.value < geometry.count(); ++i) {
    const ChainState* known = contents.chain.Before(i);
    const ChainState state = known != nullptr ? *known : ChainState{};
    bytes.insert(bytes.end(), state.begin(), state.end());
  }
  const std::string draft = path + ".new";
  auto file = CreateFile(draft);
  if (!file) return file.error();
  if (Status written = (*file)->WriteAt(Bytes(0), bytes); !written) {
    static_cast<void>(RemoveFile(draft));
    return written.error().In(draft);
  }
  if (Status renamed = RenameFile(draft, path); !renamed) return renamed.error();
  return MapFile(std::move(*file), std::move(flags));
}

Result<MapFile> MapFile::Open(const std::string& path, const MapContents& contents) {
  auto file = OpenForWrite(path);
  if (!file) return file.error();
  return MapFile(std::move(*file), FlagsOf(contents));
}

Status MapFile::WriteFlag(PieceIndex piece, std::byte flag) {
  std::byte& now = flags_[static_cast<std::size_t>(piece.value)];
  if (now == flag) return Ok();
  if (Status written = file_->WriteAt(FlagOffset(piece), {&flag, 1}); !written) return written;
  now = flag;
  return Ok();
}

Status MapFile::SetPiece(PieceIndex piece, bool here) {
  const std::byte now = flags_[static_cast<std::size_t>(piece.value)];
  return WriteFlag(piece, here ? now | kHere : now & ~kHere);
}

Status MapFile::SetState(PieceIndex piece, const ChainState& state) {
  // A state that is replaced is unknown while it is.
  if (Status cleared = ClearState(piece); !cleared) return cleared;
  if (Status written = file_->WriteAt(StateOffset(flags_.size(), piece), state); !written) {
    return written;
  }
  return WriteFlag(piece, flags_[static_cast<std::size_t>(piece.value)] | kStateKnown);
}

Status MapFile::ClearState(PieceIndex piece) {
  return WriteFlag(piece, flags_[static_cast<std::size_t>(piece.value)] & ~kStateKnown);
}

}  // namespace shoal::fetch
