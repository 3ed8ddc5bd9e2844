// StoreCore: what BlobStore and its partial blobs share. Private to the store.
//
// Two locks, always taken in this order: `disk` serialises changes of folders and metadata and may
// be held over slow calls; `tables` guards the tables in memory and is never held over a slow call,
// so that Find and List suit the loop thread.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "fetch/store/blob_store.h"
#include "fetch/store/blob_table.h"
#include "fetch/store/map_file.h"

namespace shoal::fetch {

class StoreCore : public std::enable_shared_from_this<StoreCore> {
 public:
  StoreCore(BlobStore::Options options, BlobTable table)
      : options_(std::move(options)), table_(table) {}
  ~StoreCore();

  // Makes the folders, and brings folders and tables together.
  Status Load();

  [[nodiscard]] std::optional<StoredBlob> Find(const Digest& digest) const;
  [[nodiscard]] std::vector<StoredBlob> List() const;
  [[nodiscard]] std::vector<std::pair<Digest, Bytes>> ListPartials() const;
  [[nodiscard]] StoreUsage usage() const;
  Result<SharedFile> OpenBlob(const Digest& digest);
  std::shared_ptr<PartialBlob> FindPartial(const Digest& digest);
  Result<std::shared_ptr<PartialBlob>> OpenPartial(const Digest& digest, const Geometry& geometry);
  Status Commit(const PartialBlob& partial);
  Status DropPartial(const Digest& digest);
  Status Remove(const Digest& digest);
  Status Put(const Digest& digest, ByteSpan bytes);
  BlobTable& table() { return table_; }

  // The disk is full: evicts the least recently used blob. False when there is none to evict.
  bool EvictOne();

 private:
  struct Whole {
    StoredBlob blob;
    std::weak_ptr<const File> open;  // held by whoever serves it
  };
  struct Part {
    Bytes size;  // of the whole blob: what it will take
    WallTime last_used;
    std::weak_ptr<PartialBlob> open;
  };
  struct Victim {
    Digest digest;
    bool partial = false;
  };

  Status LoadBlobs();
  Status LoadPartials();
  Status CheckLayout();
  Status SalvageChain(const Digest& digest);

  std::shared_ptr<PartialBlob> OpenFromDisk(const Digest& digest);
  Result<MapContents> Reverify(const Digest& digest, const File& data, const MapContents& found);
  Result<std::shared_ptr<PartialBlob>> MakePartial(const Digest& digest, const Geometry& geometry);
  std::shared_ptr<PartialBlob> Wrap(const Digest& digest, SharedFile data, MapFile map,
                                    MapContents contents);
  Status DropPartialLocked(const Digest& digest);
  Status RemovePartialFiles(const Digest& digest);
  Status RemoveBlobFile(const Digest& digest);
  // Evicts until `size` more fit.
  Status MakeRoom(Bytes size);
  // Evicts the least recently used of what nobody holds. False when all is held.
  Result<bool> Evict();
  std::optional<Victim> TakeVictim();
  void AddBlob(const StoredBlob& blob, const SharedFile& open);
  WallTime Use();
  Status FlushUses();

  [[nodiscard]] std::string BlobPath(const Digest& digest) const;
  [[nodiscard]] std::string DataPath(const Digest& digest) const;
  [[nodiscard]] std::string MapPath(const Digest& digest) const;

  // Holds `disk`; when it ends it tells of what was evicted, with no lock held.
  class DiskTurn {
   public:
    explicit DiskTurn(StoreCore& core) : core_(core), lock_(core.disk_) {}
    ~DiskTurn();
    DiskTurn(const DiskTurn&) = delete;
    DiskTurn& operator=(const DiskTurn&) = delete;

   private:
    StoreCore& core_;
    std::unique_lock<std::mutex> lock_;
  };

  BlobStore::Options options_;
  BlobTable table_;
  std::mutex disk_;
  std::vector<Digest> evicted_;  // in this turn
  mutable std::mutex tables_;
  std::unordered_map<Digest, Whole> blobs_;
  std::unordered_map<Digest, Part> parts_;
  std::set<Digest> used_;  // since the last flush
  Bytes bytes_;            // of both
  WallTime last_use_;
  WallTime last_flush_;
};

struct PartialBlob::Parts {
  Digest digest;
  Geometry geometry;
  SharedFile file;
  std::weak_ptr<StoreCore> store;
  MapFile map;
  Chain chain;
  PieceMap have;
  std::mutex mutex;  // guards the three above
};

}  // namespace shoal::fetch
