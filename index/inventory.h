// Inventory: what this host holds, as a log that peers can follow.
//
// Each holding has the sequence number of its last change; the log is the holdings in that order,
// so it never grows beyond what is held plus the tombstones of what is not any more. A peer that
// knows all up to sequence S asks for what came after S. When the tombstones it would need are
// gone, or it speaks of another epoch (we restarted), it gets everything anew (`reset`).
//
// Tombstones are dropped by halves of kTombstonesMax. Whatever is still held from before the last
// dropped one is then moved to the log's end: so a page after a reset always ends beyond it, and an
// asker that is still taking the first pages is not sent back to the start for ever. Those that
// were up to date see some holdings twice, at most once in kTombstonesMax / 2 removals.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/result.h"

namespace shoal::index {

struct BlobHolding {
  Digest digest;
  Bytes size;
  bool complete = true;  // false: some pieces; ask for the have-map
  auto operator<=>(const BlobHolding&) const = default;
};

struct ImageHolding {
  std::string name;  // fully qualified: "docker.io/library/nginx:latest"
  Digest digest;     // of its manifest or index
  // What the holder found in the manifests that it has; empty while it does not know.
  Bytes size{0};            // of the image's blobs, those of all platforms that are here
  std::string platforms{};  // "linux/amd64,linux/arm64": see IsPlatforms
  auto operator<=>(const ImageHolding&) const = default;
};

using Holding = std::variant<BlobHolding, ImageHolding>;

struct KeyChange {
  Holding holding;
  bool gone = false;
};

// One answer of ServeKeys.
struct KeysPage {
  std::uint64_t epoch = 0;   // changes when our log starts anew
  std::uint64_t cursor = 0;  // ask after this next time
  bool reset = false;        // forget what you knew of us before taking these
  bool more = false;         // ask again at once
  std::vector<KeyChange> changes;
};

inline constexpr int kKeysPageMax = 2000;    // holdings; about 200 KiB of JSON
inline constexpr int kKeysScanned = 20'000;  // about a millisecond
inline constexpr std::size_t kTombstonesMax = 10000;
inline constexpr std::size_t kKeysPageBytesMax = 1 << 20;
// A repository of 255 bytes, a tag of 128 and a digest of 71 fit; so do LMDB's keys of 511.
inline constexpr std::size_t kImageNameBytesMax = 470;
inline constexpr std::int64_t kBlobBytesMax = std::int64_t{1} << 50;
inline constexpr std::size_t kPlatformsBytesMax = 120;  // some eight platforms

// 1 to kImageNameBytesMax bytes of printable ASCII without spaces, quotes and backslashes.
bool IsImageName(std::string_view name);
// Nothing, or platforms parted by single commas, each of a-z 0-9 . _ - and slashes; at most
// kPlatformsBytesMax bytes.
bool IsPlatforms(std::string_view text);

class Inventory {
 public:
  // epoch  random at each start; kept to 53 bits, and never 0.
  explicit Inventory(std::uint64_t epoch);

  // Adds or changes. Returns whether anything changed: a name that is no IsImageName, platforms
  // that are no IsPlatforms, and a size outside 0 to kBlobBytesMax are not taken.
  bool SetBlob(const BlobHolding& blob);
  bool RemoveBlob(const Digest& digest);
  bool SetImage(const ImageHolding& image);
  bool RemoveImage(std::string_view name);

  [[nodiscard]] std::optional<BlobHolding> FindBlob(const Digest& digest) const;
  [[nodiscard]] std::optional<ImageHolding> FindImage(std::string_view name) const;
  [[nodiscard]] std::vector<ImageHolding> Images() const;
  // Blobs in digest order after `after`, at most `limit`.
  [[nodiscard]] std::vector<BlobHolding> Blobs(std::optional<Digest> after, int limit) const;
  [[nodiscard]] std::size_t blob_count() const { return blobs_.size(); }
  [[nodiscard]] std::size_t image_count() const { return images_.size(); }

  // Another epoch: whoever follows the log begins anew.
  void Restart(std::uint64_t epoch);

  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] std::uint64_t head() const { return next_ - 1; }

  // What changed after `cursor` of `epoch`. limit: 1 to kKeysPageMax.
  [[nodiscard]] KeysPage Page(std::uint64_t epoch, std::uint64_t cursor, int limit) const {
    return Page(epoch, cursor, limit, [](const Holding&) { return true; });
  }
  // The same as if only what is `visible` were here. At most kKeysScanned holdings are looked at:
  // a page may be short, or empty, and still say that there is more.
  [[nodiscard]] KeysPage Page(std::uint64_t epoch, std::uint64_t cursor, int limit,
                              const std::function<bool(const Holding&)>& visible) const;
  // It goes to the log's end, so that those who may see it only now hear of it.
  void Touch(const Digest& digest);

  void CheckInvariants() const;

 private:
  struct Entry {
    Holding holding;
    bool gone = false;
  };

  std::uint64_t Append(Entry entry);
  // Takes `sequence` out of the log.
  void Drop(std::uint64_t sequence);
  void Bury(std::uint64_t sequence);
  void ForgetOldTombstones();

  std::uint64_t epoch_;
  std::uint64_t next_ = 1;
  std::uint64_t forgotten_ = 0;  // tombstones up to here are gone
  std::map<std::uint64_t, Entry> log_;
  std::set<std::uint64_t> tombstones_;
  // To the sequence of the last change; tombstones are in the second pair of maps.
  std::map<Digest, std::uint64_t> blobs_;
  std::map<std::string, std::uint64_t, std::less<>> images_;
  std::map<Digest, std::uint64_t> gone_blobs_;
  std::map<std::string, std::uint64_t, std::less<>> gone_images_;
};

// The JSON of docs/PROTOCOL.md ("ServeKeys").
std::string EncodeKeysPage(const KeysPage& page);
// Errors: kExhausted over kKeysPageBytesMax or kKeysPageMax, kInvalid for a wrong form.
Result<KeysPage> DecodeKeysPage(std::string_view json);

}  // namespace shoal::index
