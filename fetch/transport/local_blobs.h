// LocalBlobs: the whole blobs of this host, in our store or in containerd's, as LiveBlobs.
//
// A file is believed only after this process has hashed it: the first opening starts a hash job,
// and readers follow it piece by piece through the gate (SHA-256 runs faster than any network or
// runtime reads, so nobody notices). A file that proves corrupt is never served to its end: it is
// removed from our store, or left alone and no longer offered where it is containerd's.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/executor.h"
#include "fetch/store/blob_store.h"
#include "fetch/transport/live_blob.h"

namespace shoal::fetch {

class LocalBlobs {
 public:
  struct Ports {
    // Opens a blob that lies in the runtime's content store. Empty without a runtime.
    std::function<Result<SharedFile>(const Digest&)> open_in_runtime;
    // A local file is not what its name says. Any thread.
    std::function<void(const Digest&)> on_corrupt;
  };

  // piece  of blobs whose chain is not known yet.
  LocalBlobs(BlobStore& store, Executor& pool, Bytes piece, Ports ports);

  // The blob, proved or being hashed; nullptr when it is not here. Opens a file: any thread but
  // the loop.
  std::shared_ptr<LiveBlob> Open(const Digest& digest);
  // Whether Open would find it, without opening our own.
  [[nodiscard]] bool Has(const Digest& digest) const;

  // Somebody else has just proved the file in our store.
  void MarkProved(const Digest& digest);
  // Hashes in the background, unless done: so that a peer's first question meets a whole chain.
  void Prepare(const Digest& digest) { Open(digest); }

 private:
  // Which file was proved: a changed one is hashed again.
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    std::int64_t modified_ns = 0;
    bool operator==(const Identity&) const = default;
  };
  struct HashJob;

  static constexpr std::size_t kProvedMax = 100'000;

  std::shared_ptr<LiveBlob> OpenFile(const Digest& digest, const SharedFile& file, bool in_store);
  [[nodiscard]] bool IsProved(const Digest& digest, const Identity& identity) const;
  void Step(const std::shared_ptr<HashJob>& job);
  void Finish(HashJob& job);

  BlobStore& store_;
  Executor& pool_;
  const Bytes piece_;
  const Ports ports_;

  mutable std::mutex mutex_;
  std::unordered_map<Digest, std::weak_ptr<LiveBlob>> open_;
  std::unordered_map<Digest, Identity> proved_;
  std::unordered_map<Digest, Identity> corrupt_;
};

}  // namespace shoal::fetch
