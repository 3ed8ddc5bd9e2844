#include "fetch/transport/piece_writer.h"

#include <utility>

namespace shoal::fetch {

PieceWriter::PieceWriter(std::shared_ptr<PartialBlob> partial, const PieceMap& have)
    : partial_(std::move(partial)),
      owners_(static_cast<std::size_t>(partial_->geometry().count()), kFree) {
  for (PieceIndex piece{0}; piece.value < have.size(); ++piece) {
    if (have.Has(piece)) OwnerOf(piece) = kLanded;
  }
}

bool PieceWriter::Claim(PieceIndex piece, RequestId request) {
  const std::lock_guard lock(StripeOf(piece));
  RequestId& owner = OwnerOf(piece);
  if (owner != kFree && owner != request) return false;
  owner = request;
  return true;
}

bool PieceWriter::Take(PieceIndex piece, RequestId request) {
  const std::lock_guard lock(StripeOf(piece));
  RequestId& owner = OwnerOf(piece);
  if (owner == kLanded) return false;
  owner = request;
  return true;
}

Status PieceWriter::Write(PieceIndex piece, RequestId request, Bytes offset, ByteSpan bytes) {
  const std::lock_guard lock(StripeOf(piece));
  if (OwnerOf(piece) != request) {
    return Error{Code::kCancelled, "another request writes this piece"};
  }
  return partial_->WriteAt(offset, bytes);
}

void PieceWriter::Release(PieceIndex piece, RequestId request) {
  const std::lock_guard lock(StripeOf(piece));
  if (OwnerOf(piece) == request) OwnerOf(piece) = kFree;
}

void PieceWriter::ReleaseAll(RequestId request) {
  for (PieceIndex piece{0}; piece.value < geometry().count(); ++piece) Release(piece, request);
}

void PieceWriter::Land(PieceIndex piece) {
  const std::lock_guard lock(StripeOf(piece));
  OwnerOf(piece) = kLanded;
}

void PieceWriter::Reopen(PieceIndex piece) {
  const std::lock_guard lock(StripeOf(piece));
  OwnerOf(piece) = kFree;
}

}  // namespace shoal::fetch
