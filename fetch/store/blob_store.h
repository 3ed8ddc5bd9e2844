// BlobStore: our own blobs on disk, whole and partial.
//
//   <dir>/blobs/sha256/<hex>    whole blobs, proved
//   <dir>/partial/<hex>.data    a blob being fetched, sparse
//   <dir>/partial/<hex>.map     its geometry, chain and bitmap, and the boot it was written in
//
// A piece is marked in the map only after its bytes were written. Within one boot the page cache
// keeps both orders, so a map survives kill -9 and is believed; after another boot (power loss) the
// pieces are hashed again before they are believed. A commit is fsync, rename, fsync of the folder,
// metadata: after a crash the store may know less than it has, never more.
//
// Bounded by `max`: least recently used first, never what is open, pinned or being fetched.
// Thread-safe. Calls may block on the disk: not for the loop thread unless said.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "fetch/chain.h"
#include "fetch/piece.h"
#include "fetch/store/file.h"

namespace shoal::index {
class LmdbEnv;
}

namespace shoal::fetch {

class StoreCore;

// A blob being fetched. Thread-safe: pieces may be written by several threads, each by one.
class PartialBlob {
 public:
  ~PartialBlob();

  [[nodiscard]] const Digest& digest() const;
  [[nodiscard]] const Geometry& geometry() const;
  [[nodiscard]] SharedFile file() const;

  Status WriteAt(Bytes offset, ByteSpan bytes);
  // The piece's bytes are written and verified.
  Status MarkPiece(PieceIndex piece);
  Status ForgetPiece(PieceIndex piece);
  // states[piece] of the chain.
  Status SetState(PieceIndex piece, const ChainState& state);
  Status ClearState(PieceIndex piece);

  // What was here when it was opened.
  [[nodiscard]] Chain chain() const;
  [[nodiscard]] PieceMap have() const;

 private:
  friend class StoreCore;
  struct Parts;
  explicit PartialBlob(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

struct StoredBlob {
  Digest digest;
  Bytes size;
  WallTime last_used;
};

struct StoreUsage {
  std::int64_t blobs = 0;
  Bytes bytes;
  Bytes max;
};

class BlobStore {
 public:
  struct Options {
    std::string dir;
    Bytes max{std::int64_t{20} << 30};
    // Evicted blobs are told here, on the thread whose call evicted them.
    std::function<void(const Digest&)> on_evicted;
  };

  // Opens or makes the folders, loads the metadata, drops what does not belong.
  //
  // env      where the metadata is kept; must outlive the store.
  // Errors   kDenied when the folder is not writable, kCorrupt when its layout is a later version.
  static Result<std::unique_ptr<BlobStore>> Open(Options options, index::LmdbEnv& env);
  ~BlobStore();

  // From memory, without touching the disk: fit for the loop thread.
  [[nodiscard]] std::optional<StoredBlob> Find(const Digest& digest) const;
  [[nodiscard]] std::vector<StoredBlob> List() const;
  // Blobs of which some pieces are here, by the size of the whole.
  [[nodiscard]] std::vector<std::pair<Digest, Bytes>> ListPartials() const;
  [[nodiscard]] StoreUsage usage() const;

  // Opens a whole blob and marks it used. While the file is held it is not evicted.
  Result<SharedFile> OpenBlob(const Digest& digest);

  // Opens the partial blob of an earlier run, if there is one.
  std::optional<std::shared_ptr<PartialBlob>> FindPartial(const Digest& digest);
  // Opens or makes it with this geometry; one of another geometry is dropped first. One object a
  // digest: a second call returns the first one's.
  // Errors  kExhausted when it cannot fit even after eviction; kDenied, kRetryLater.
  Result<std::shared_ptr<PartialBlob>> OpenPartial(const Digest& digest, Geometry geometry);
  // All pieces are verified: makes it whole. Blocks on fsync. Readers of its file() go on.
  Status Commit(const std::shared_ptr<PartialBlob>& partial);
  // Removes files and marks; readers go on with the descriptor they hold.
  Status DropPartial(const Digest& digest);
  Status Remove(const Digest& digest);

  // A small blob that is here in memory (a manifest). Errors: kCorrupt when it is not `digest`.
  Status Put(const Digest& digest, ByteSpan bytes);

  // A blob's chain, once somebody hashed it: ours, or one that lies in containerd.
  std::optional<Chain> FindChain(const Digest& digest) const;
  Status SaveChain(const Digest& digest, const Chain& chain);

 private:
  struct Parts;
  explicit BlobStore(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace shoal::fetch
