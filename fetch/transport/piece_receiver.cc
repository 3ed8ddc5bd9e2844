#include "fetch/transport/piece_receiver.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>

#include "fetch/transport/map_codec.h"

namespace shoal::fetch {
namespace {

Error FromPeerStatus(int status) {
  const std::string text = "the peer answered " + std::to_string(status);
  switch (status) {
    case 403:
      return {Code::kDenied, text};
    case 404:
      return {Code::kNotFound, text};
    case 416:
      return {Code::kCorrupt, text + ": it has not what its map said"};
    default:
      return {Code::kRetryLater, text};
  }
}

// The first byte's offset in "bytes 0-99/1000", or -1.
std::int64_t RangeStart(std::string_view value) {
  constexpr std::string_view kUnit = "bytes ";
  if (!value.starts_with(kUnit)) return -1;
  value.remove_prefix(kUnit.size());
  std::int64_t start = -1;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), start);
  return error == std::errc() && start >= 0 ? start : -1;
}

// The headers that a busy holder sends with its 503; see docs/PROTOCOL.md, "Bytes".
constexpr std::string_view kBusyHeader = "shoal-busy-ms";
constexpr std::string_view kTryHeader = "shoal-try";
constexpr std::string_view kMapHeader = "shoal-map";
constexpr std::size_t kTryMax = 16;
constexpr std::size_t kBusyBytesMax = 4096;
// TLS hands out 16 KiB at a time. What is written at once lies in the page cache in fewer and
// larger folios: cheaper to write, and to send again.
constexpr std::size_t kWriteBytes = std::size_t{256} << 10;

std::optional<HolderBusy> ReadBusy(const HttpHead& head) {
  const std::string_view wait = FindHeader(head.headers, kBusyHeader);
  std::int64_t ms = 0;
  const auto [end, error] = std::from_chars(wait.data(), wait.data() + wait.size(), ms);
  if (wait.empty() || error != std::errc() || end != wait.data() + wait.size() || ms < 0) {
    return std::nullopt;
  }
  HolderBusy busy{std::chrono::milliseconds(std::min<std::int64_t>(ms, 60'000)), {}};
  std::string_view ids = FindHeader(head.headers, kTryHeader);
  while (!ids.empty() && busy.others.size() < kTryMax) {
    const std::size_t comma = std::min(ids.find(','), ids.size());
    if (const auto id = ParsePeerId(ids.substr(0, comma))) busy.others.push_back(*id);
    ids.remove_prefix(std::min(comma + 1, ids.size()));
  }
  return busy;
}

}  // namespace

PieceReceiver::PieceReceiver(Run run, ReceiverEvents events)
    : run_(std::move(run)), events_(std::move(events)), piece_(run_.first) {}

PieceReceiver::~PieceReceiver() = default;

bool PieceReceiver::Stop(Error error) {
  if (!stopped_) stopped_ = std::move(error);
  return false;
}

bool PieceReceiver::OnHead(const HttpHead& head) {
  if (head.status == 503) busy_ = ReadBusy(head);
  if (busy_ || head.status == 206) TellNews(FindHeader(head.headers, kMapHeader));
  if (busy_) return true;  // its words for people are read and dropped: the connection is kept
  if (head.status != 206) return Stop(FromPeerStatus(head.status));
  if (!Choose(RangeStart(FindHeader(head.headers, "content-range")))) {
    return Stop({Code::kCorrupt, "the peer answered with another range"});
  }
  return Begin();
}

void PieceReceiver::TellNews(std::string_view map) {
  if (!map.empty() && map.size() <= kNewsBytesMax && events_.on_news) {
    events_.on_news(std::string(map));
  }
}

// The holder sends what begins at `start`: the run, or one of its options.
bool PieceReceiver::Choose(std::int64_t start) {
  const Geometry& geometry = run_.writer->geometry();
  if (start == geometry.OffsetOf(run_.first).count()) {
    if (!run_.options.empty()) events_.on_chosen(run_.first);
    return true;
  }
  const auto option = std::ranges::find_if(
      run_.options, [&](PieceIndex piece) { return geometry.OffsetOf(piece).count() == start; });
  if (option == run_.options.end()) return false;
  run_.first = piece_ = *option;
  events_.on_chosen(*option);
  return true;
}

bool PieceReceiver::OnStart(Bytes blob, Bytes offset) {
  auto writer = events_.on_size(blob);
  if (!writer) return Stop(writer.error());
  if (run_.writer == nullptr) run_.writer = std::move(*writer);
  const Geometry& geometry = run_.writer->geometry();
  if (blob != geometry.blob()) {
    // The core was told the size and decides whom to believe; this run is of no use either way.
    return Stop({Code::kRetryLater, "the upstream says " + std::to_string(blob.count()) +
                                        " bytes, others said " +
                                        std::to_string(geometry.blob().count())});
  }
  if (offset != geometry.OffsetOf(run_.first)) {
    return Stop({Code::kCorrupt, "the upstream answered with another range"});
  }
  return Begin();
}

bool PieceReceiver::Begin() {
  const Geometry& geometry = run_.writer->geometry();
  begun_ = true;
  end_ = run_.count ? run_.first + *run_.count : PieceIndex{geometry.count()};
  position_ = geometry.OffsetOf(run_.first);
  // An empty blob's only piece needs no bytes.
  if (geometry.blob() == Bytes(0)) return TakeSome({}) && EndPiece();
  return true;
}

bool PieceReceiver::OnBytes(ByteSpan bytes) {
  if (stopped_) return false;
  if (busy_) {
    dropped_ += bytes.size();
    return dropped_ <= kBusyBytesMax;
  }
  received_.fetch_add(static_cast<std::int64_t>(bytes.size()), std::memory_order_relaxed);
  events_.on_bytes(static_cast<std::int64_t>(bytes.size()));
  const Geometry& geometry = run_.writer->geometry();
  while (!bytes.empty()) {
    if (!(piece_ < end_)) return Stop({Code::kCorrupt, "more bytes came than were asked for"});
    const Bytes piece_end = geometry.OffsetOf(piece_) + geometry.LengthOf(piece_);
    const auto count =
        std::min(bytes.size(), static_cast<std::size_t>((piece_end - position_).count()));
    if (!TakeSome(bytes.first(count))) return false;
    bytes = bytes.subspan(count);
    if (position_ == piece_end && !EndPiece()) return false;
  }
  return true;
}

bool PieceReceiver::TakeSome(ByteSpan bytes) {
  const Geometry& geometry = run_.writer->geometry();
  const Bytes start = geometry.OffsetOf(piece_);
  if (position_ == start) {
    // From the chain where it is known; else from where our own hashing led (an upstream's run).
    const ChainState* before = run_.chain ? run_.chain->Before(piece_) : nullptr;
    if (before != nullptr) {
      hasher_.emplace(*before, start);
    } else if (piece_.value == 0) {
      hasher_.emplace();
    } else if (!hasher_ || hasher_->position() != start) {
      return Stop({Code::kInvalid, "the state before this piece is not known"});
    }
    way_ = run_.writer->Claim(piece_, run_.request) ? Way::kDirect : Way::kAside;
    kept_.clear();
  }
  hasher_->Update(bytes);
  position_ += Bytes(static_cast<std::int64_t>(bytes.size()));
  if (way_ == Way::kLost) return true;
  if (kept_.empty()) kept_.reserve(kWriteBytes);
  kept_.insert(kept_.end(), bytes.begin(), bytes.end());
  return way_ == Way::kAside || kept_.size() < kWriteBytes || WriteKept();
}

bool PieceReceiver::WriteKept() {
  if (kept_.empty()) return true;
  const Bytes start = position_ - Bytes(static_cast<std::int64_t>(kept_.size()));
  const auto written = run_.writer->Write(piece_, run_.request, start, kept_);
  kept_.clear();
  if (written) return true;
  if (written.error().code != Code::kCancelled) return Stop(written.error());
  way_ = Way::kLost;
  return true;
}

bool PieceReceiver::EndPiece() {
  if (way_ == Way::kDirect && !WriteKept()) return false;
  const Geometry& geometry = run_.writer->geometry();
  HashedPiece hashed{piece_, {}, false, false, run_.writer};
  bool right = true;
  if (piece_ == geometry.last()) {
    hashed.digest_ok = hasher_->Finish() == run_.digest;
    right = hashed.digest_ok;
  } else {
    hashed.after = hasher_->State();
    const ChainState* next = run_.chain ? run_.chain->Before(piece_ + 1) : nullptr;
    right = next == nullptr || *next == hashed.after;
  }
  const bool taken = way_ == Way::kAside && right && run_.writer->Take(piece_, run_.request);
  if (taken && !WriteKept()) return false;
  if (right) {
    hashed.displaced = !run_.writer->Finish(piece_, run_.request);
  } else {
    run_.writer->Release(piece_, run_.request);
  }
  events_.on_piece(hashed);
  ++piece_;
  return true;
}

void PieceReceiver::OnDone(Status status) {
  if (finished_) return;
  finished_ = true;
  // Pieces that were hashed but not yet judged stay claimed: the loop lands or releases them.
  if (begun_ && piece_ < end_) run_.writer->Release(piece_, run_.request);
  if (busy_) {
    events_.on_busy(std::move(*busy_));
  } else if (stopped_) {
    events_.on_done(*stopped_);
  } else if (!status) {
    events_.on_done(status.error());
  } else if (!begun_ || piece_ < end_) {
    events_.on_done(Error{Code::kRetryLater, "the answer ended early"});
  } else {
    events_.on_done(Ok());
  }
}

}  // namespace shoal::fetch
