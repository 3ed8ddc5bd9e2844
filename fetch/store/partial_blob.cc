#include <utility>

#include "fetch/store/store_core.h"

namespace shoal::fetch {

PartialBlob::PartialBlob(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
PartialBlob::~PartialBlob() = default;

const Digest& PartialBlob::digest() const { return parts_->digest; }
const Geometry& PartialBlob::geometry() const { return parts_->geometry; }
SharedFile PartialBlob::file() const { return parts_->file; }

Status PartialBlob::WriteAt(Bytes offset, ByteSpan bytes) {
  const Bytes end = offset + Bytes(static_cast<std::int64_t>(bytes.size()));
  if (offset < Bytes(0) || end > parts_->geometry.blob()) {
    return Error{Code::kInvalid, "bytes beyond the end of blob " + ToString(parts_->digest)};
  }
  while (true) {
    Status written = parts_->file->WriteAt(offset, bytes);
    if (written || written.error().code != Code::kExhausted) return written;
    const auto store = parts_->store.lock();
    if (!store || !store->EvictOne()) return written;
  }
}

Status PartialBlob::MarkPiece(PieceIndex piece) {
  const std::lock_guard lock(parts_->mutex);
  if (Status written = parts_->map.SetPiece(piece, true); !written) return written;
  parts_->have.Set(piece);
  return Ok();
}

Status PartialBlob::ForgetPiece(PieceIndex piece) {
  const std::lock_guard lock(parts_->mutex);
  parts_->have.Clear(piece);
  return parts_->map.SetPiece(piece, false);
}

Status PartialBlob::SetState(PieceIndex piece, const ChainState& state) {
  if (piece.value == 0) return Ok();  // SHA-256's constant
  const std::lock_guard lock(parts_->mutex);
  const ChainState* known = parts_->chain.Before(piece);
  if (known != nullptr && *known == state) return Ok();
  if (Status written = parts_->map.SetState(piece, state); !written) return written;
  parts_->chain.Set(piece, state);
  return Ok();
}

Status PartialBlob::ClearState(PieceIndex piece) {
  if (piece.value == 0) return Ok();
  const std::lock_guard lock(parts_->mutex);
  parts_->chain.Clear(piece);
  return parts_->map.ClearState(piece);
}

Chain PartialBlob::chain() const {
  const std::lock_guard lock(parts_->mutex);
  return parts_->chain;
}

PieceMap PartialBlob::have() const {
  const std::lock_guard lock(parts_->mutex);
  return parts_->have;
}

}  // namespace shoal::fetch
