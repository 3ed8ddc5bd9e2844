// PieceWriter: lets several data threads write the pieces of one partial blob, so that verified
// bytes are never overwritten.
//
// A piece is claimed by the first request that writes it; bytes of a second request for the same
// piece (end game) wait in that request's memory and land only if they proved right. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/encoding.h"
#include "fetch/download.h"
#include "fetch/piece.h"
#include "fetch/store/blob_store.h"

namespace shoal::fetch {

class PieceWriter {
 public:
  // have: pieces that are verified already.
  PieceWriter(std::shared_ptr<PartialBlob> partial, const PieceMap& have);

  [[nodiscard]] const Geometry& geometry() const { return partial_->geometry(); }
  [[nodiscard]] const std::shared_ptr<PartialBlob>& partial() const { return partial_; }

  // Whether `request` may write `piece` from now on.
  bool Claim(PieceIndex piece, RequestId request);
  // Takes the piece over from whoever writes it, unless all of it is written and waits to be
  // judged, or it has landed.
  bool Take(PieceIndex piece, RequestId request);
  // Writes if `request` holds the claim. Errors: kCancelled when it does not, else the disk's.
  Status Write(PieceIndex piece, RequestId request, Bytes offset, ByteSpan bytes);
  // All of the piece is written: nobody takes it over until it is judged. Returns false when
  // another request's bytes are there.
  bool Finish(PieceIndex piece, RequestId request);
  // The request is over, or its bytes were wrong: whoever comes next may write.
  void Release(PieceIndex piece, RequestId request);
  // The piece was verified: nobody writes it any more, until Reopen.
  void Land(PieceIndex piece);
  void Reopen(PieceIndex piece);

 private:
  static constexpr RequestId kFree = 0;
  static constexpr RequestId kLanded = ~RequestId{0};
  // Writers of different pieces seldom meet.
  static constexpr std::size_t kStripes = 8;

  std::mutex& StripeOf(PieceIndex piece) {
    return stripes_[static_cast<std::size_t>(piece.value) % kStripes];
  }
  struct Owner {
    RequestId request = kFree;
    bool finished = false;
  };
  Owner& OwnerOf(PieceIndex piece) { return owners_[static_cast<std::size_t>(piece.value)]; }

  std::shared_ptr<PartialBlob> partial_;
  std::array<std::mutex, kStripes> stripes_;
  std::vector<Owner> owners_;  // owners_[i] is guarded by the stripe of i
};

}  // namespace shoal::fetch
