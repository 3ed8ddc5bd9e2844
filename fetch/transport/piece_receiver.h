// PieceReceiver: takes a run of a blob's bytes as they arrive, hashes them piece by piece, writes
// them, and tells the loop what each piece came to. Decides nothing: the Download does.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fetch/chain.h"
#include "fetch/download.h"
#include "fetch/transport/http_client.h"
#include "fetch/transport/piece_writer.h"
#include "fetch/upstream_port.h"

namespace shoal::fetch {

// What happened to one piece, for Download::OnPieceHashed.
struct HashedPiece {
  PieceIndex piece;
  ChainState after{};
  bool digest_ok = false;
  // Nothing speaks against these bytes, but another request's are on the disk.
  bool displaced = false;
  std::shared_ptr<PieceWriter> writer;  // the one that was written to
};

// A holder that has no slot for us: when to ask again, and whom instead.
struct HolderBusy {
  Duration retry{0};
  std::vector<PeerId> others;
};

// All called on a data thread; on_done or on_busy is the last.
struct ReceiverEvents {
  // The upstream's size is known. Returns the writer to use, or why not (OnDone follows).
  std::function<Result<std::shared_ptr<PieceWriter>>(Bytes size)> on_size;
  std::function<void(HashedPiece)> on_piece;
  std::function<void(PieceIndex)> on_chosen;
  std::function<void(HolderBusy)> on_busy;
  std::function<void(std::string)> on_news;  // the map that a holder's answer brought along
  std::function<void(Status)> on_done;
  std::function<void(std::int64_t)> on_bytes;
};

class PieceReceiver final : public HttpSink, public ByteSink {
 public:
  struct Run {
    RequestId request = 0;
    Digest digest;
    PieceIndex first;
    std::optional<std::int32_t> count;  // to the end when absent
    // The chain when the run was asked; absent only for an upstream run from the start.
    std::optional<Chain> chain;
    std::shared_ptr<PieceWriter> writer;  // absent until on_size for such a run
    std::vector<PieceIndex> options{};    // a peer may send one of these instead; with count 1
  };

  PieceReceiver(Run run, ReceiverEvents events);
  ~PieceReceiver() override;

  // Bytes received so far. Any thread.
  [[nodiscard]] std::int64_t received() const { return received_.load(std::memory_order_relaxed); }

  // Whether the request still waits for its turn, behind others of ours. Any thread.
  [[nodiscard]] bool waiting() const { return waiting_.load(std::memory_order_relaxed); }

  // HttpSink: a peer's answer.
  bool OnHead(const HttpHead& head) override;
  // Both.
  void OnTurn() override { waiting_.store(false, std::memory_order_relaxed); }
  bool OnBytes(ByteSpan bytes) override;
  void OnDone(Status status) override;
  // ByteSink: the upstream's.
  bool OnStart(Bytes blob, Bytes offset) override;

 private:
  bool Begin();
  bool TakeSome(ByteSpan bytes);
  // Errors: false once stopped. A claim that was lost is none.
  bool WriteKept();
  bool EndPiece();
  bool Stop(Error error);

  Run run_;
  ReceiverEvents events_;
  std::atomic<std::int64_t> received_{0};
  std::atomic<bool> waiting_{true};

  void TellNews(std::string_view map);
  bool Choose(std::int64_t start);

  std::optional<Error> stopped_;
  std::optional<HolderBusy> busy_;
  std::size_t dropped_ = 0;
  bool begun_ = false;
  PieceIndex piece_;
  PieceIndex end_;  // one past the run's last piece
  Bytes position_;
  std::optional<ChainHasher> hasher_;
  enum class Way {
    kDirect,  // we hold the piece's claim and write as bytes come, kWriteBytes at a time
    kAside,   // another does: the piece's bytes wait in kept_
    kLost,    // it was taken over while we wrote; only hashed from there on
  };
  Way way_ = Way::kAside;
  std::vector<std::byte> kept_;  // the piece's last bytes, not written yet
  bool finished_ = false;
};

}  // namespace shoal::fetch
