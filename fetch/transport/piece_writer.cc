#include "fetch/transport/piece_writer.h"

#include <utility>

namespace shoal::fetch {

PieceWriter::PieceWriter(std::shared_ptr<PartialBlob> partial, const PieceMap& have)
    : partial_(std::move(partial)),
      owners_(static_cast<std::size_t>(partial_->geometry().count())) {
  for (PieceIndex piece{0}; piece.value < have.size(); ++piece) {
    if (have.Has(piece)) OwnerOf(piece) = {kLanded, true};
  }
}

bool PieceWriter::Claim(PieceIndex piece, RequestId request) {
  const std::lock_guard lock(StripeOf(piece));
  Owner& owner = OwnerOf(piece);
  if (owner.request != kFree && owner.request != request) return false;
  owner = {request, false};
  return true;
}

bool PieceWriter::Take(PieceIndex piece, RequestId request) {
  const std::lock_guard lock(StripeOf(piece));
  Owner& owner = OwnerOf(piece);
  if (owner.finished) return false;
  owner = {request, false};
  return true;
}

Status PieceWriter::Write(PieceIndex piece, RequestId request, Bytes offset, ByteSpan bytes) {
  const std::lock_guard lock(StripeOf(piece));
  if (OwnerOf(piece).request != request) {
    return Error{Code::kCancelled, "another request writes this piece"};
  }
  return partial_->WriteAt(offset, bytes);
}

bool PieceWriter::Finish(PieceIndex piece, RequestId request) {
  const std::lock_guard lock(StripeOf(piece));
  Owner& owner = OwnerOf(piece);
  if (owner.request != request) return false;
  owner.finished = true;
  return true;
}

void PieceWriter::Release(PieceIndex piece, RequestId request) {
  const std::lock_guard lock(StripeOf(piece));
  if (OwnerOf(piece).request == request) OwnerOf(piece) = {};
}

void PieceWriter::Land(PieceIndex piece) {
  const std::lock_guard lock(StripeOf(piece));
  OwnerOf(piece) = {kLanded, true};
}

void PieceWriter::Reopen(PieceIndex piece) {
  const std::lock_guard lock(StripeOf(piece));
  OwnerOf(piece) = {};
}

}  // namespace shoal::fetch
