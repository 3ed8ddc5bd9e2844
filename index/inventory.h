// Inventory: what this host holds, as a log that peers can follow.
//
// Each holding has the sequence number of its last change; the log is the holdings in that order,
// so it never grows beyond what is held plus the tombstones of what is not any more. A peer that
// knows all up to sequence S asks for what came after S. When the tombstones it would need are
// gone, or it speaks of another epoch (we restarted), it gets everything anew (`reset`).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"

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

inline constexpr int kKeysPageMax = 2000;           // holdings; about 200 KiB of JSON
inline constexpr std::size_t kTombstonesMax = 10000;
inline constexpr std::size_t kKeysPageBytesMax = 1 << 20;

class Inventory {
 public:
  // epoch  random at each start.
  explicit Inventory(std::uint64_t epoch);

  // Adds or changes. Returns whether anything changed.
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

  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] std::uint64_t head() const { return next_ - 1; }

  // What changed after `cursor` of `epoch`. limit: 1 to kKeysPageMax.
  [[nodiscard]] KeysPage Page(std::uint64_t epoch, std::uint64_t cursor, int limit) const;

  void CheckInvariants() const;

 private:
  struct Entry {
    Holding holding;
    bool gone = false;
  };

  void Append(Entry entry);
  void Drop(std::uint64_t sequence);

  std::uint64_t epoch_;
  std::uint64_t next_ = 1;
  std::uint64_t forgotten_ = 0;  // tombstones up to here are gone
  std::map<std::uint64_t, Entry> log_;
  std::map<std::uint64_t, int> tombstones_;
  std::map<Digest, std::uint64_t> blobs_;
  std::map<std::string, std::uint64_t, std::less<>> images_;
};

// The JSON of docs/PROTOCOL.md ("ServeKeys").
std::string EncodeKeysPage(const KeysPage& page);
// Errors: kExhausted over kKeysPageBytesMax or kKeysPageMax, kInvalid for a wrong form.
Result<KeysPage> DecodeKeysPage(std::string_view json);

}  // namespace shoal::index
