// LiveBlob: a blob as its readers see it while its pieces become readable.
//
// One producer (a Transfer that fetches it, or a HashJob that verifies a file that is already here)
// tells it of states and pieces; any number of readers (mirror and peer server) read the file as
// far as the gate lets them. The last piece is readable only once the digest is proved, so no
// response ends before that. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "base/digest.h"
#include "fetch/chain.h"
#include "fetch/piece.h"
#include "fetch/store/file.h"
#include "fetch/transport/read_gate.h"

namespace shoal::fetch {

// Where readers may get unproved, but verified bytes from.
enum class StreamMode {
  kVerified,  // pieces are readable once verified; the last one once the digest is proved
  kProved,    // nothing is readable before the digest is proved
};

struct BlobOrigin {
  bool local = false;
  bool peers = false;
  bool upstream = false;
  // "local", "peers", "upstream", or a mix, comma separated: the value of `Shoal-Source`.
  [[nodiscard]] std::string ToString() const;
};

class LiveBlob final : public ReadGate {
 public:
  // Told where a reader waits; called on the reader's thread.
  using OnReader = std::function<void(int reader, PieceIndex piece)>;

  LiveBlob(Digest digest, Geometry geometry, SharedFile file, StreamMode mode, OnReader on_reader);

  [[nodiscard]] const Digest& digest() const { return digest_; }
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }
  [[nodiscard]] const SharedFile& file() const { return file_; }
  [[nodiscard]] Chain chain() const;
  // Which life of the chain this is: another one whenever states were taken back.
  [[nodiscard]] std::uint64_t chain_epoch() const;
  [[nodiscard]] PieceMap have() const;
  [[nodiscard]] bool Has(PieceIndex piece) const;
  [[nodiscard]] bool proved() const;
  [[nodiscard]] BlobOrigin origin() const;
  // Whether [begin, end) lies in readable pieces.
  [[nodiscard]] bool Covers(Bytes begin, Bytes end);

  // Producer's side.
  void SetState(PieceIndex piece, const ChainState& state);
  void AddPiece(PieceIndex piece);
  // Returns true when a reader was let at one of them: then this LiveBlob has failed for good, as
  // nothing that began with those bytes may be completed, and a new one must take its place.
  bool Forget(const std::vector<PieceIndex>& pieces, const std::vector<PieceIndex>& states);
  // While held, nothing more is readable: what is here may turn out false. Peers, which verify what
  // they get, go on from it all the same.
  void Hold(bool held);
  void Prove();
  void Fail(Error error);
  void AddOrigin(const BlobOrigin& origin);
  // Whoever asks from now on gets it from this host.
  void SettleOrigin();

  // ReadGate.
  Bytes ReadableEnd(Bytes offset) override;
  std::optional<Error> Failure() override;
  void Await(int reader, Bytes offset, std::function<void()> wake) override;
  void Leave(int reader) override;
  int Join() override;

  // Calls `wake` once when more than `pieces` pieces are there, or it failed; at once if so
  // already, and returns false then. Leave(reader) takes it back.
  bool AwaitPieces(int reader, std::int32_t pieces, std::function<void()> wake);
  // Calls `done` once when the digest is proved (true) or it failed (false).
  void AwaitEnd(std::function<void(bool)> done);

 private:
  struct Waiter {
    std::optional<Bytes> offset;         // waits for this byte
    std::optional<std::int32_t> pieces;  // or for more than these pieces
    std::function<void()> wake;
  };

  Bytes ReadableEndLocked(Bytes offset) const;
  [[nodiscard]] bool IsDue(const Waiter& waiter) const;
  void WakeDue();

  const Digest digest_;
  const Geometry geometry_;
  const SharedFile file_;
  const StreamMode mode_;
  const OnReader on_reader_;

  mutable std::mutex mutex_;
  Chain chain_;
  std::uint64_t chain_epoch_;
  PieceMap have_;
  PieceMap let_;  // pieces that readers were let at
  bool held_ = false;
  bool spoiled_ = false;
  bool proved_ = false;
  std::optional<Error> failure_;
  BlobOrigin origin_;
  int next_reader_ = 1;
  std::map<int, Waiter> waiters_;
  std::vector<std::function<void(bool)>> enders_;
};

}  // namespace shoal::fetch
