// Containerd: what containerd holds, kept true by its events, and how we write into it.
//
// Optional: a host without containerd has none of this. When containerd is away (stopped,
// restarting) it is dialled again with backoff for ever; nothing else waits for it.
// Works with 1.6 (no content events: new blobs are learnt from image events by walking the
// manifests) and with 2.1 (content events as well).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/executor.h"
#include "base/result.h"
#include "base/time.h"
#include "fetch/store/file.h"

namespace shoal::fetch {

struct ContainerdBlob {
  Digest digest;
  Bytes size;
  std::vector<std::string> repositories;  // "reg.example/team/app", where containerd got it
};
struct ContainerdImage {
  std::string name;  // as containerd has it: "docker.io/library/nginx:latest"
  Digest digest;
};
// All that one containerd namespace can reach, told after each connect and at image changes.
struct ContainerdInventory {
  std::vector<ContainerdBlob> blobs;  // all of the content store that the namespace sees
  std::vector<ContainerdImage> images;
};

struct ContainerdStatus {
  bool connected = false;
  std::string version;       // "1.6.20~ds1"
  std::string content_root;  // "" until known
  std::string text;          // the last trouble
};

// A blob to ingest: its bytes lie in `file`, whole.
struct IngestBlob {
  Digest digest;
  Bytes size;
  std::string media_type;
  SharedFile file;
  // For manifests and indexes: labels "containerd.io/gc.ref.content.*" to what they refer to.
  std::vector<std::pair<std::string, std::string>> labels;
};
struct IngestImage {
  std::string name;
  std::string media_type;  // of the target
  Digest target;
  Bytes target_size;
  std::vector<IngestBlob> blobs;  // children before parents
};

class Containerd {
 public:
  struct Options {
    std::string socket = "/run/containerd/containerd.sock";  // absolute
    std::string name_space = "k8s.io";
    Duration retry_max = std::chrono::seconds(10);
    // How long changes are gathered before the inventory is told again.
    Duration settle = std::chrono::milliseconds(100);
  };
  // Told on `loop`, after connecting and after every settled burst of changes.
  using OnInventory = std::function<void(ContainerdInventory)>;

  // Starts its threads at once; never fails because containerd is away.
  static std::unique_ptr<Containerd> Start(Options options, Executor& loop,
                                           OnInventory on_inventory);
  ~Containerd();

  [[nodiscard]] ContainerdStatus status() const;
  // Opens a blob in containerd's content root directly. Any thread.
  // Errors: kNotFound, kDenied, kRetryLater when containerd's root is not known yet.
  Result<SharedFile> OpenBlob(const Digest& digest) const;

  // Writes an image: lease, blobs (existing ones are kept), labels, image record. Blocks; not for
  // the loop thread. Errors: kRetryLater when containerd is away or goes away in the middle,
  // kCorrupt, kExhausted, kCancelled by Stop; nothing half-made stays visible (the lease is given
  // up).
  Status Ingest(const IngestImage& image);

  // Ends threads and streams; at most a second.
  void Stop();

 private:
  class Impl;
  explicit Containerd(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::fetch
