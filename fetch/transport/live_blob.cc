#include "fetch/transport/live_blob.h"

#include <random>
#include <utility>

namespace shoal::fetch {
namespace {

// Unlike any other of this process or of the one before it.
std::uint64_t FreshEpoch() {
  std::random_device random;
  return (static_cast<std::uint64_t>(random()) << 21 ^ random()) & ((std::uint64_t{1} << 53) - 1);
}

}  // namespace

std::string BlobOrigin::ToString() const {
  std::string text;
  const auto add = [&text](bool present, std::string_view word) {
    if (!present) return;
    if (!text.empty()) text += ", ";
    text += word;
  };
  add(local, "local");
  add(peers, "peers");
  add(upstream, "upstream");
  return text.empty() ? "local" : text;
}

LiveBlob::LiveBlob(Digest digest, Geometry geometry, SharedFile file, StreamMode mode,
                   OnReader on_reader)
    : digest_(digest),
      geometry_(geometry),
      file_(std::move(file)),
      mode_(mode),
      on_reader_(std::move(on_reader)),
      chain_(geometry),
      chain_epoch_(FreshEpoch()),
      have_(geometry.count()),
      let_(geometry.count()) {}

Chain LiveBlob::chain() const {
  const std::lock_guard lock(mutex_);
  return chain_;
}

PieceMap LiveBlob::have() const {
  const std::lock_guard lock(mutex_);
  return have_;
}

bool LiveBlob::Has(PieceIndex piece) const {
  const std::lock_guard lock(mutex_);
  return have_.Has(piece);
}

bool LiveBlob::proved() const {
  const std::lock_guard lock(mutex_);
  return proved_;
}

BlobOrigin LiveBlob::origin() const {
  const std::lock_guard lock(mutex_);
  return origin_;
}

bool LiveBlob::Covers(Bytes begin, Bytes end) {
  const std::lock_guard lock(mutex_);
  if (begin >= end) return begin == end;
  for (PieceIndex piece = geometry_.At(begin); geometry_.OffsetOf(piece) < end; ++piece) {
    if (!have_.Has(piece)) return false;
    if (piece == geometry_.last()) break;
  }
  return true;
}

std::uint64_t LiveBlob::chain_epoch() const {
  const std::lock_guard lock(mutex_);
  return chain_epoch_;
}

void LiveBlob::SetState(PieceIndex piece, const ChainState& state) {
  const std::lock_guard lock(mutex_);
  chain_.Set(piece, state);
}

void LiveBlob::AddPiece(PieceIndex piece) {
  {
    const std::lock_guard lock(mutex_);
    if (!have_.Set(piece)) return;
  }
  WakeDue();
}

bool LiveBlob::Forget(const std::vector<PieceIndex>& pieces,
                      const std::vector<PieceIndex>& states) {
  {
    const std::lock_guard lock(mutex_);
    for (const PieceIndex piece : states) chain_.Clear(piece);
    chain_epoch_ = FreshEpoch();
    for (const PieceIndex piece : pieces) {
      have_.Clear(piece);
      spoiled_ |= let_.Has(piece);
    }
    if (!spoiled_) return false;
  }
  Fail({Code::kCorrupt, "bytes that were sent already proved wrong"});
  return true;
}

void LiveBlob::Hold(bool held) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(held_, held) == held) return;
  }
  if (!held) WakeDue();
}

void LiveBlob::Prove() {
  std::vector<std::function<void(bool)>> enders;
  {
    const std::lock_guard lock(mutex_);
    proved_ = true;
    enders.swap(enders_);
  }
  WakeDue();
  for (auto& done : enders) done(true);
}

void LiveBlob::Fail(Error error) {
  std::vector<std::function<void(bool)>> enders;
  {
    const std::lock_guard lock(mutex_);
    if (proved_ || failure_) return;
    failure_ = std::move(error);
    enders.swap(enders_);
  }
  WakeDue();
  for (auto& done : enders) done(false);
}

void LiveBlob::AddOrigin(const BlobOrigin& origin) {
  const std::lock_guard lock(mutex_);
  origin_.local |= origin.local;
  origin_.peers |= origin.peers;
  origin_.upstream |= origin.upstream;
}

void LiveBlob::SettleOrigin() {
  const std::lock_guard lock(mutex_);
  origin_ = {.local = true};
}

Bytes LiveBlob::ReadableEndLocked(Bytes offset) const {
  if (spoiled_) return offset;
  if (proved_) return geometry_.blob();
  if (mode_ == StreamMode::kProved || held_) return offset;
  PieceIndex piece = geometry_.At(offset);
  Bytes end = offset;
  while (piece < geometry_.last() && have_.Has(piece)) {
    end = geometry_.OffsetOf(piece) + geometry_.LengthOf(piece);
    ++piece;
  }
  return end;
}

Bytes LiveBlob::ReadableEnd(Bytes offset) {
  const std::lock_guard lock(mutex_);
  const Bytes end = ReadableEndLocked(offset);
  if (!proved_) {
    for (PieceIndex piece = geometry_.At(offset); geometry_.OffsetOf(piece) < end; ++piece) {
      let_.Set(piece);
    }
  }
  return end;
}

std::optional<Error> LiveBlob::Failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

bool LiveBlob::IsDue(const Waiter& waiter) const {
  if (proved_ || failure_) return true;
  if (waiter.offset && ReadableEndLocked(*waiter.offset) > *waiter.offset) return true;
  return waiter.pieces && have_.count() > *waiter.pieces;
}

// Wakes outside the lock: a waker may come straight back with Await.
void LiveBlob::WakeDue() {
  std::vector<std::function<void()>> due;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = waiters_.begin(); it != waiters_.end();) {
      if (IsDue(it->second)) {
        due.push_back(std::move(it->second.wake));
        it = waiters_.erase(it);
      } else {
        ++it;
      }
    }
  }
  for (auto& wake : due) wake();
}

void LiveBlob::Await(int reader, Bytes offset, std::function<void()> wake) {
  if (on_reader_) on_reader_(reader, geometry_.At(offset));
  {
    const std::lock_guard lock(mutex_);
    Waiter waiter{offset, std::nullopt, std::move(wake)};
    if (!IsDue(waiter)) {
      waiters_[reader] = std::move(waiter);
      return;
    }
    wake = std::move(waiter.wake);
  }
  wake();
}

bool LiveBlob::AwaitPieces(int reader, std::int32_t pieces, std::function<void()> wake) {
  {
    const std::lock_guard lock(mutex_);
    Waiter waiter{std::nullopt, pieces, std::move(wake)};
    if (!IsDue(waiter)) {
      waiters_[reader] = std::move(waiter);
      return true;
    }
    wake = std::move(waiter.wake);
  }
  wake();
  return false;
}

void LiveBlob::AwaitEnd(std::function<void(bool)> done) {
  bool proved = false;
  {
    const std::lock_guard lock(mutex_);
    if (!proved_ && !failure_) {
      enders_.push_back(std::move(done));
      return;
    }
    proved = proved_;
  }
  done(proved);
}

void LiveBlob::Leave(int reader) {
  {
    const std::lock_guard lock(mutex_);
    waiters_.erase(reader);
  }
  if (on_reader_) on_reader_(reader, {geometry_.count()});
}

int LiveBlob::Join() {
  const std::lock_guard lock(mutex_);
  return next_reader_++;
}

}  // namespace shoal::fetch
