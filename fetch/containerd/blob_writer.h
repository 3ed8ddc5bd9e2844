// BlobWriter: puts single blobs into containerd's content store, under a lease.
#pragma once

#include <string>

#include "base/result.h"
#include "fetch/containerd/containerd.h"
#include "fetch/containerd/session.h"

namespace shoal::fetch {

// For one thread at a time.
class BlobWriter {
 public:
  // session  must outlive the writer.
  // lease    id of the lease that keeps what is written.
  BlobWriter(Session& session, std::string lease);

  // Afterwards containerd has the blob, with its labels. One that is there already is kept; a
  // write that was broken off is taken up where it was.
  //
  // Errors  kCorrupt when the bytes are not the digest's; kRetryLater when containerd goes away
  //         or somebody else writes the same blob for long; kExhausted when its disk is full.
  Status Put(const IngestBlob& blob);

 private:
  enum class Outcome { kDone, kExists, kLocked, kSpoiled };

  Result<Outcome> TryWrite(const IngestBlob& blob, const std::string& ref);
  Status UpdateLabels(const IngestBlob& blob);
  void Abort(const std::string& ref);

  Session& session_;
  std::string lease_;
};

}  // namespace shoal::fetch
