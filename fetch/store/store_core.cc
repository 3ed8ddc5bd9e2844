#include "fetch/store/store_core.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/units.h"
#include "fetch/store/files.h"

namespace shoal::fetch {
namespace {

// Last uses are written together, in the next commit or after this many or this long: a use lost
// in a crash only makes eviction a little less right.
constexpr std::size_t kUsesMax = 256;
constexpr Duration kUsesAge = std::chrono::minutes(1);

}  // namespace

StoreCore::~StoreCore() {
  if (Status flushed = FlushUses(); !flushed) {
    spdlog::warn("store: last uses are lost: {}", flushed.error().text);
  }
}

std::string StoreCore::BlobPath(const Digest& digest) const {
  return options_.dir + "/blobs/sha256/" + digest.Hex();
}
std::string StoreCore::DataPath(const Digest& digest) const {
  return options_.dir + "/partial/" + digest.Hex() + ".data";
}
std::string StoreCore::MapPath(const Digest& digest) const {
  return options_.dir + "/partial/" + digest.Hex() + ".map";
}

std::optional<StoredBlob> StoreCore::Find(const Digest& digest) const {
  const std::lock_guard lock(tables_);
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return std::nullopt;
  return found->second.blob;
}

std::vector<StoredBlob> StoreCore::List() const {
  const std::lock_guard lock(tables_);
  std::vector<StoredBlob> out;
  out.reserve(blobs_.size());
  for (const auto& [digest, whole] : blobs_) out.push_back(whole.blob);
  return out;
}

std::vector<std::pair<Digest, Bytes>> StoreCore::ListPartials() const {
  const std::lock_guard lock(tables_);
  std::vector<std::pair<Digest, Bytes>> partials;
  partials.reserve(parts_.size());
  for (const auto& [digest, part] : parts_) partials.emplace_back(digest, part.size);
  return partials;
}

StoreUsage StoreCore::usage() const {
  const std::lock_guard lock(tables_);
  return {static_cast<std::int64_t>(blobs_.size()), bytes_, options_.max};
}

// A time later than every use before it, so that uses are in order.
WallTime StoreCore::Use() {
  last_use_ = std::max(WallNow(), last_use_ + Duration(1));
  return last_use_;
}

Status StoreCore::FlushUses() {
  std::vector<StoredBlob> blobs;
  {
    const std::lock_guard lock(tables_);
    for (const Digest& digest : used_) {
      if (const auto found = blobs_.find(digest); found != blobs_.end()) {
        blobs.push_back(found->second.blob);
      }
    }
    used_.clear();
    last_flush_ = WallNow();
  }
  return table_.Save(blobs, {});
}

Result<SharedFile> StoreCore::OpenBlob(const Digest& digest) {
  SharedFile file;
  bool flush = false;
  {
    // The folder is read under this lock, which is quick, so that no eviction comes in between.
    const std::lock_guard lock(tables_);
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) {
      return Error{Code::kNotFound, "blob " + ToString(digest) + " is not in the store"};
    }
    Whole& whole = found->second;
    file = whole.open.lock();
    if (!file) {
      auto opened = OpenForRead(BlobPath(digest));
      if (!opened) return opened.error();
      file = std::move(*opened);
      whole.open = file;
    }
    whole.blob.last_used = Use();
    used_.insert(digest);
    flush = used_.size() >= kUsesMax || whole.blob.last_used - last_flush_ > kUsesAge;
  }
  if (flush) {
    if (Status flushed = FlushUses(); !flushed) {
      spdlog::warn("store: last uses are lost: {}", flushed.error().text);
    }
  }
  return file;
}

void StoreCore::AddBlob(const StoredBlob& blob, const SharedFile& open) {
  const std::lock_guard lock(tables_);
  if (const auto old = blobs_.find(blob.digest); old != blobs_.end())
    bytes_ -= old->second.blob.size;
  blobs_[blob.digest] = {blob, open};
  bytes_ += blob.size;
  last_use_ = std::max(last_use_, blob.last_used);
}

std::shared_ptr<PartialBlob> StoreCore::FindPartial(const Digest& digest) {
  {
    // A partial blob that is being fetched is found without waiting for the disk.
    const std::lock_guard lock(tables_);
    const auto found = parts_.find(digest);
    if (found == parts_.end()) return nullptr;
    if (auto open = found->second.open.lock()) return open;
  }
  const DiskTurn turn(*this);
  return OpenFromDisk(digest);
}

std::shared_ptr<PartialBlob> StoreCore::OpenFromDisk(const Digest& digest) {
  {
    const std::lock_guard lock(tables_);
    const auto found = parts_.find(digest);
    if (found == parts_.end()) return nullptr;
    if (auto open = found->second.open.lock()) return open;
  }
  const auto open = [&]() -> Result<std::shared_ptr<PartialBlob>> {
    auto data = OpenForWrite(DataPath(digest));
    if (!data) return data.error();
    auto contents = MapFile::Load(MapPath(digest), digest);
    if (!contents) return contents.error();
    const bool believed = contents->this_boot;
    if (!believed) {
      contents = Reverify(digest, **data, *contents);
      if (!contents) return contents.error();
    }
    auto map = believed ? MapFile::Open(MapPath(digest), *contents)
                        : MapFile::Create(MapPath(digest), digest, *contents);
    if (!map) return map.error();
    return Wrap(digest, std::move(*data), std::move(*map), std::move(*contents));
  };
  auto partial = open();
  if (!partial) {
    spdlog::warn("store: dropped a partial blob: {}", partial.error().text);
    static_cast<void>(DropPartialLocked(digest));
    return nullptr;
  }
  const std::lock_guard lock(tables_);
  Part& part = parts_[digest];
  part.open = *partial;
  part.last_used = Use();
  return *partial;
}

std::shared_ptr<PartialBlob> StoreCore::Wrap(const Digest& digest, SharedFile data, MapFile map,
                                             MapContents contents) {
  const Geometry geometry = contents.chain.geometry();
  std::unique_ptr<PartialBlob::Parts> parts(new PartialBlob::Parts{digest,
                                                                   geometry,
                                                                   std::move(data),
                                                                   weak_from_this(),
                                                                   std::move(map),
                                                                   std::move(contents.chain),
                                                                   std::move(contents.have),
                                                                   {}});
  return std::shared_ptr<PartialBlob>(new PartialBlob(std::move(parts)));
}

Result<std::shared_ptr<PartialBlob>> StoreCore::OpenPartial(const Digest& digest,
                                                            const Geometry& geometry) {
  const DiskTurn turn(*this);
  if (auto partial = OpenFromDisk(digest)) {
    if (partial->geometry() == geometry) return partial;
  }
  if (Status dropped = DropPartialLocked(digest); !dropped) return dropped.error();
  if (Status room = MakeRoom(geometry.blob()); !room) return room.error();
  auto made = MakePartial(digest, geometry);
  if (made || made.error().code != Code::kExhausted) return made;
  // The disk is fuller than store.max says.
  const auto evicted = Evict();
  if (!evicted || !*evicted) return made;
  return MakePartial(digest, geometry);
}

Result<std::shared_ptr<PartialBlob>> StoreCore::MakePartial(const Digest& digest,
                                                            const Geometry& geometry) {
  auto data = CreateFile(DataPath(digest));
  if (!data) return data.error();
  MapContents contents{Chain(geometry), PieceMap(geometry.count()), true};
  Status sized = SetFileSize(**data, geometry.blob(), DataPath(digest));
  auto map =
      sized ? MapFile::Create(MapPath(digest), digest, contents) : Result<MapFile>(sized.error());
  if (!map) {
    static_cast<void>(RemoveFile(DataPath(digest)));
    return map.error();
  }
  auto partial = Wrap(digest, std::move(*data), std::move(*map), std::move(contents));
  const std::lock_guard lock(tables_);
  parts_[digest] = {geometry.blob(), Use(), partial};
  bytes_ += geometry.blob();
  return partial;
}

Status StoreCore::Commit(const PartialBlob& partial) {
  const Digest digest = partial.digest();
  const std::string data = DataPath(digest);
  if (!partial.have().all()) {
    return Error{Code::kInvalid, "blob " + ToString(digest) + " has unverified pieces"};
  }
  // The slow part comes first and holds no lock.
  if (Status synced = SyncFile(*partial.file(), data); !synced) return synced;
  const DiskTurn turn(*this);
  {
    const std::lock_guard tables(tables_);
    const auto found = parts_.find(digest);
    if (found == parts_.end() || found->second.open.lock().get() != &partial) {
      return Error{Code::kCancelled, "blob " + ToString(digest) + " was dropped meanwhile"};
    }
  }
  if (Status renamed = RenameFile(data, BlobPath(digest)); !renamed) return renamed;
  if (Status synced = SyncFolder(options_.dir + "/blobs/sha256"); !synced) {
    static_cast<void>(RenameFile(BlobPath(digest), data));  // as if nothing had happened
    return synced;
  }
  StoredBlob blob{digest, partial.geometry().blob(), {}};
  {
    const std::lock_guard tables(tables_);
    blob.last_used = Use();
    bytes_ -= parts_.at(digest).size;
    parts_.erase(digest);
  }
  // Whole from here on: metadata that cannot be written now is made up for at the next start.
  AddBlob(blob, partial.file());
  if (Status saved = table_.SaveWithChain(blob, partial.chain()); !saved) {
    spdlog::warn("store: metadata of {} is not written: {}", ToString(digest), saved.error().text);
    return Ok();
  }
  if (Status removed = RemoveFile(MapPath(digest)); !removed) {
    spdlog::warn("store: {}", removed.error().text);
  }
  return Ok();
}

Status StoreCore::DropPartial(const Digest& digest) {
  const DiskTurn turn(*this);
  return DropPartialLocked(digest);
}

Status StoreCore::DropPartialLocked(const Digest& digest) {
  {
    const std::lock_guard lock(tables_);
    const auto found = parts_.find(digest);
    if (found == parts_.end()) return Ok();
    bytes_ -= found->second.size;
    parts_.erase(found);
  }
  return RemovePartialFiles(digest);
}

Status StoreCore::RemovePartialFiles(const Digest& digest) {
  // The map first: data without a map is nothing.
  if (Status removed = RemoveFile(MapPath(digest)); !removed) return removed;
  return RemoveFile(DataPath(digest));
}

Status StoreCore::Remove(const Digest& digest) {
  const DiskTurn turn(*this);
  if (Status removed = RemoveBlobFile(digest); !removed) return removed;
  return table_.RemoveWithChain(digest);
}

Status StoreCore::RemoveBlobFile(const Digest& digest) {
  {
    const std::lock_guard lock(tables_);
    const auto found = blobs_.find(digest);
    if (found == blobs_.end()) return Ok();
    bytes_ -= found->second.blob.size;
    blobs_.erase(found);
    used_.erase(digest);
  }
  return RemoveFile(BlobPath(digest));
}

Status StoreCore::Put(const Digest& digest, ByteSpan bytes) {
  ChainHasher hasher;
  hasher.Update(bytes);
  if (hasher.Finish() != digest) {
    return Error{Code::kCorrupt, "these bytes are not " + ToString(digest)};
  }
  const DiskTurn turn(*this);
  if (Find(digest)) return Ok();
  const Bytes size(static_cast<std::int64_t>(bytes.size()));
  if (Status room = MakeRoom(size); !room) return room;
  const std::string draft = options_.dir + "/partial/" + digest.Hex() + ".put";
  auto file = CreateFile(draft);
  if (!file) return file.error();
  Status done = (*file)->WriteAt(Bytes(0), bytes);
  if (done) done = SyncFile(**file, draft);
  if (done) done = RenameFile(draft, BlobPath(digest));
  if (!done) {
    static_cast<void>(RemoveFile(draft));
    return done;
  }
  if (Status synced = SyncFolder(options_.dir + "/blobs/sha256"); !synced) return synced;
  StoredBlob blob{digest, size, {}};
  {
    const std::lock_guard tables(tables_);
    blob.last_used = Use();
  }
  AddBlob(blob, *file);
  return table_.Save({blob}, {});
}

Status StoreCore::MakeRoom(Bytes size) {
  while (true) {
    const StoreUsage now = usage();
    if (now.bytes + size <= now.max) return Ok();
    const auto evicted = size <= now.max ? Evict() : false;
    if (!evicted) return evicted.error();
    if (!*evicted) {
      if (size == Bytes(0)) return Ok();  // what is in use stays
      return Error{Code::kExhausted, "the store has no room for " + HumanSize(size) + ": " +
                                         HumanSize(now.bytes) + " of " + HumanSize(now.max) +
                                         " are taken and nothing more may be evicted; raise "
                                         "store.max"};
    }
  }
}

// Found and struck from the tables under one lock, so that nobody opens it in between.
std::optional<StoreCore::Victim> StoreCore::TakeVictim() {
  const std::lock_guard lock(tables_);
  std::optional<Victim> victim;
  WallTime oldest = WallTime::max();
  for (const auto& [digest, whole] : blobs_) {
    if (whole.blob.last_used >= oldest || !whole.open.expired()) continue;
    oldest = whole.blob.last_used;
    victim = Victim{digest, false};
  }
  for (const auto& [digest, part] : parts_) {
    if (part.last_used >= oldest || !part.open.expired()) continue;
    oldest = part.last_used;
    victim = Victim{digest, true};
  }
  if (!victim) return std::nullopt;
  if (victim->partial) {
    bytes_ -= parts_.at(victim->digest).size;
    parts_.erase(victim->digest);
  } else {
    bytes_ -= blobs_.at(victim->digest).blob.size;
    blobs_.erase(victim->digest);
    used_.erase(victim->digest);
  }
  return victim;
}

Result<bool> StoreCore::Evict() {
  const auto victim = TakeVictim();
  if (!victim) return false;
  if (victim->partial) {
    if (Status removed = RemovePartialFiles(victim->digest); !removed) return removed.error();
    return true;
  }
  evicted_.push_back(victim->digest);
  if (Status removed = RemoveFile(BlobPath(victim->digest)); !removed) return removed.error();
  if (Status saved = table_.Save({}, {victim->digest}); !saved) return saved.error();
  return true;
}

bool StoreCore::EvictOne() {
  const DiskTurn turn(*this);
  const auto evicted = Evict();
  return evicted && *evicted;
}

StoreCore::DiskTurn::~DiskTurn() {
  const std::vector<Digest> evicted = std::exchange(core_.evicted_, {});
  lock_.unlock();
  if (!core_.options_.on_evicted) return;
  for (const Digest& digest : evicted) core_.options_.on_evicted(digest);
}

}  // namespace shoal::fetch
