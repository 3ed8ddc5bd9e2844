// How the store finds itself after a start, or a crash at any step.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "fetch/store/files.h"
#include "fetch/store/store_core.h"

namespace shoal::fetch {
namespace {

constexpr std::string_view kLayout = "shoal store 1\n";
constexpr std::string_view kData = ".data";
constexpr std::string_view kMap = ".map";

// The digest of "<hex><suffix>".
std::optional<Digest> DigestOf(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return std::nullopt;
  name.remove_suffix(suffix.size());
  const auto digest = ParseDigest("sha256:" + std::string(name));
  if (!digest) return std::nullopt;
  return *digest;
}

void Drop(const std::string& path, std::string_view why) {
  spdlog::warn("store: dropped {}: {}", path, why);
  if (Status removed = RemoveFile(path); !removed) {
    spdlog::warn("store: {}", removed.error().text);
  }
}

}  // namespace

Status StoreCore::Load() {
  for (const char* folder : {"", "/blobs/sha256", "/partial"}) {
    if (Status made = MakeFolder(options_.dir + folder); !made) return made;
  }
  if (Status layout = CheckLayout(); !layout) return layout;
  const DiskTurn turn(*this);
  if (Status loaded = LoadBlobs(); !loaded) return loaded;
  if (Status loaded = LoadPartials(); !loaded) return loaded;
  return MakeRoom(Bytes(0));  // store.max may be lower than last time
}

// Also finds out whether the folder may be written to.
Status StoreCore::CheckLayout() {
  const std::string path = options_.dir + "/layout";
  if (const auto file = OpenForRead(path)) {
    std::string text(kLayout.size(), '\0');
    const auto size = (*file)->Size();
    if (!size || *size != Bytes(static_cast<std::int64_t>(text.size())) ||
        !(*file)->ReadAt(Bytes(0), std::as_writable_bytes(std::span(text))) || text != kLayout) {
      return Error{Code::kCorrupt, options_.dir + " was written by a later version of shoal; " +
                                       "run that one, or point agent.data_dir elsewhere"};
    }
  } else if (file.error().code != Code::kNotFound) {
    return file.error();
  }
  const std::string draft = path + ".new";
  const auto file = CreateFile(draft);
  if (!file) return file.error();
  if (Status written = (*file)->WriteAt(Bytes(0), AsBytes(kLayout)); !written) return written;
  return RenameFile(draft, path);
}

Status StoreCore::LoadBlobs() {
  const std::string folder = options_.dir + "/blobs/sha256";
  std::map<Digest, StoredBlob> known = table_.Load();
  std::vector<StoredBlob> unknown;
  const Status listed = ListFolder(folder, [&](const FolderEntry& entry) {
    const std::string path = folder + "/" + entry.name;
    const auto digest = DigestOf(entry.name, "");
    if (!entry.regular) {
      spdlog::warn("store: {} is no blob; remove it", path);
      return;
    }
    if (!digest) {
      Drop(path, "it is no blob");
      return;
    }
    const auto found = known.find(*digest);
    StoredBlob blob{*digest, entry.size, entry.modified};
    if (found != known.end()) {
      blob = found->second;
      known.erase(found);
    } else {
      // Only a proved blob is ever renamed to here: a crash came before its metadata.
      unknown.push_back(blob);
    }
    if (blob.size != entry.size) {
      Drop(path, "its size is not what it was");
      known.emplace(*digest, blob);
      return;
    }
    AddBlob(blob, nullptr);
  });
  if (!listed) return listed;
  std::vector<Digest> gone;
  gone.reserve(known.size());
  for (const auto& [digest, blob] : known) gone.push_back(digest);
  return table_.Save(unknown, gone);
}

Status StoreCore::LoadPartials() {
  const std::string folder = options_.dir + "/partial";
  std::map<Digest, FolderEntry> data;
  std::set<Digest> maps;
  const Status listed = ListFolder(folder, [&](const FolderEntry& entry) {
    const auto data_of = DigestOf(entry.name, kData);
    const auto map_of = DigestOf(entry.name, kMap);
    if (!entry.regular) {
      spdlog::warn("store: {}/{} is no partial blob; remove it", folder, entry.name);
    } else if (data_of) {
      data.emplace(*data_of, entry);
    } else if (map_of) {
      maps.insert(*map_of);
    } else {
      Drop(folder + "/" + entry.name, "it was never finished");
    }
  });
  if (!listed) return listed;
  for (const Digest& digest : maps) {
    const auto found = data.find(digest);
    if (found == data.end()) {
      // A commit was cut off after its rename; the blob is whole, and its chain is here.
      if (Status salvaged = SalvageChain(digest); !salvaged) return salvaged;
      continue;
    }
    const auto geometry = MapFile::LoadGeometry(MapPath(digest), digest);
    if (geometry && found->second.size == geometry->blob()) {
      const std::lock_guard lock(tables_);
      parts_[digest] = {geometry->blob(), found->second.modified, {}};
      bytes_ += geometry->blob();
      data.erase(found);
    } else {
      Drop(MapPath(digest), "it is damaged, or not of its data");
    }
  }
  for (const auto& [digest, entry] : data) Drop(DataPath(digest), "it has no map");
  return Ok();
}

Status StoreCore::SalvageChain(const Digest& digest) {
  const auto contents = MapFile::Load(MapPath(digest), digest);
  if (contents && contents->chain.complete() && contents->this_boot && blobs_.contains(digest) &&
      !table_.FindChain(digest)) {
    if (Status saved = table_.SaveChain(digest, contents->chain); !saved) return saved;
  }
  return RemoveFile(MapPath(digest));
}

// After another boot the page cache vouches for nothing: only what hashes right is believed.
Result<MapContents> StoreCore::Reverify(const Digest& digest, const File& data,
                                        const MapContents& found) {
  const Geometry& geometry = found.chain.geometry();
  MapContents proved{Chain(geometry), PieceMap(geometry.count()), true};
  std::vector<std::byte> buffer(256 << 10);
  for (PieceIndex i; i.value < geometry.count(); ++i) {
    if (!found.have.Has(i) || !CanVerify(found.chain, i)) continue;
    ChainHasher hasher(*found.chain.Before(i), geometry.OffsetOf(i));
    const Bytes end = geometry.OffsetOf(i) + geometry.LengthOf(i);
    while (hasher.position() < end) {
      const auto step = static_cast<std::size_t>(std::min<std::int64_t>(
          (end - hasher.position()).count(), static_cast<std::int64_t>(buffer.size())));
      const std::span part = std::span(buffer).first(step);
      if (Status read = data.ReadAt(hasher.position(), part); !read) return read.error();
      hasher.Update(part);
    }
    if (!VerifyPiece(found.chain, digest, i, hasher)) continue;
    proved.have.Set(i);
    if (i.value > 0) proved.chain.Set(i, *found.chain.Before(i));
    if (i < geometry.last()) proved.chain.Set(i + 1, *found.chain.Before(i + 1));
  }
  spdlog::warn("store: after another boot {} of {} pieces of {} hold", proved.have.count(),
               found.have.count(), ToString(digest));
  return proved;
}

}  // namespace shoal::fetch
