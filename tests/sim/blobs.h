// Blobs: what is pulled, without its bytes.
//
// A piece's bytes are told by a version: kTrue, a forgery (which has a chain of its own that its
// bytes lead along), or kGarbage, which leads nowhere. What hashing gives is reckoned from the
// state before the piece and the version of its bytes, so that a lie is found where SHA-256 would
// find it, and 15,000 hosts need no byte of payload.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/digest.h"
#include "base/rng.h"
#include "fetch/download.h"

namespace shoal::sim {

using BlobId = std::uint32_t;
using ImageId = std::uint32_t;
using Version = std::int16_t;

inline constexpr Version kTrue = 0;
inline constexpr Version kGarbage = -1;

// A blob in pieces of one size.
struct Cut {
  explicit Cut(fetch::Geometry g) : geometry(g) {}

  struct Make {
    std::vector<fetch::ChainState> states;  // before each piece
    // What a holder of all of it says.
    std::shared_ptr<const fetch::HolderMap> whole;
  };
  fetch::Geometry geometry;
  std::vector<Make> makes;  // by version
};

struct Image {
  std::vector<BlobId> blobs;  // the manifest first
  Bytes size;
};

class Blobs {
 public:
  explicit Blobs(std::uint64_t seed) : rng_(seed) {}

  BlobId AddBlob(Bytes size);
  ImageId AddImage(const std::vector<Bytes>& layers);
  // A second truth about a blob, that agrees with the first up to the byte `fork`.
  Version AddForgery(BlobId blob, Bytes fork);

  [[nodiscard]] const Digest& digest(BlobId id) const { return blobs_[id].digest; }
  [[nodiscard]] Bytes size(BlobId id) const { return blobs_[id].size; }
  [[nodiscard]] const Image& image(ImageId id) const { return images_[id]; }
  [[nodiscard]] std::size_t image_count() const { return images_.size(); }
  [[nodiscard]] std::size_t count() const { return blobs_.size(); }
  // All that the images weigh together.
  [[nodiscard]] Bytes bytes() const { return bytes_; }

  const Cut& CutBy(BlobId id, const fetch::Geometry& geometry);

  // Whether bytes of this version are what the blob has in this piece.
  [[nodiscard]] bool IsRight(BlobId id, const fetch::Geometry& geometry, fetch::PieceIndex piece,
                             Version version) const;
  // The state after hashing a piece's bytes of this version from `before`; for the last piece
  // digest_ok says whether the digest comes out.
  struct Hashed {
    fetch::ChainState after{};
    bool digest_ok = false;
  };
  Hashed Hash(BlobId id, const fetch::Geometry& geometry, fetch::PieceIndex piece, Version version,
              const fetch::ChainState& before);

 private:
  struct Forgery {
    Bytes fork;
    std::uint64_t salt = 0;
  };
  struct Blob {
    Digest digest;
    Bytes size;
    std::vector<Forgery> versions;  // the truth first
    std::vector<std::unique_ptr<Cut>> cuts;
  };

  static fetch::ChainState Mix(const fetch::ChainState& before, std::uint64_t with);
  static Cut::Make MakeChain(const Blob& blob, const Cut& cut, const Forgery& version);

  Rng rng_;
  std::vector<Blob> blobs_;
  std::vector<Image> images_;
  Bytes bytes_;
};

}  // namespace shoal::sim
