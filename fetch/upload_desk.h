// UploadDesk: decides what we give to whom. Owns no socket: it is asked when a peer asks for a
// piece, and told when an answer is over.
//
// Rules
// - An asker names the pieces that would do, best for it first. It gets the one that we have sent
//   least often (an answer under way counts as sent), the earliest named among equals: so each
//   piece leaves a holder once before any leaves it twice. Source: Bharambe et al., "Analyzing and
//   Improving a BitTorrent Network's Performance Mechanisms", INFOCOM 2006 (smartseed).
// - At most limits.slots answers are under way. An answer that takes more than kSlowFactor times as
//   long as answers of its size lately did keeps going without a slot (at most slots * kSlowFactor
//   of those), so that slow readers cannot shut us.
// - While others were refused within kRefusedLately, an asker has at most its fair share of the
//   slots: slots over the askers seen lately, at least one.
// - Answers up to kSmall bytes need no slot: they cost less than asking again.
// - No slot: "busy", with a wait after which a slot should be free (kRetryMin to kRetryMax, from
// what
//   answers lately took), and up to kTryMax peers that were given pieces of the blob lately, latest
//   first.
// - Counts of a blob are forgotten kCountLife after its last answer; a full table forgets the blob
//   that was asked for longest ago.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/time.h"
#include "fetch/piece.h"

namespace shoal::fetch {

struct UploadLimits {
  int slots = 4;  // limits.upload_slots; see architecture, figures to design by
  std::size_t blobs_max = 256;
};

using UploadId = std::uint64_t;  // never 0

struct UploadGrant {
  UploadId id = 0;  // give it back with OnSent; 0 for small answers, which are not counted
  PieceIndex first;
  std::int32_t count = 1;
};
struct UploadBusy {
  Duration retry{0};
  std::vector<PeerId> others;
};

class UploadDesk {
 public:
  explicit UploadDesk(UploadLimits limits) : limits_(limits) {}

  // `peer` asks for one of `wanted`, runs of pieces that we have, best first; `piece` is the piece
  // size. wanted: not empty, all within `count` pieces of the blob.
  std::variant<UploadGrant, UploadBusy> OnAsk(Time now, const PeerId& peer, const Digest& digest,
                                              const Geometry& geometry,
                                              const std::vector<PieceIndex>& wanted);
  // The answer is over. `sent` bytes of it left us.
  void OnSent(Time now, UploadId id, Bytes sent);

  [[nodiscard]] int busy_slots(Time now) const;
  void CheckInvariants() const;

 private:
  struct Answer {
    PeerId peer;
    Digest digest;
    PieceIndex piece;
    Bytes length;
    Time since;
  };
  struct Blob {
    std::vector<std::uint16_t> sent;  // by piece
    std::map<PeerId, Time> given;     // to whom, lately
    Time used{};
  };

  [[nodiscard]] bool IsSlow(Time now, const Answer& answer) const;
  [[nodiscard]] int ShareOf(Time now, const PeerId& peer) const;
  [[nodiscard]] UploadBusy Refuse(Time now, const PeerId& peer, const Digest& digest);
  Blob& Touch(Time now, const Digest& digest, std::int32_t count);

  UploadLimits limits_;
  UploadId next_ = 1;
  std::map<UploadId, Answer> answers_;
  std::unordered_map<Digest, Blob> blobs_;
  std::map<PeerId, Time> refused_;
  std::map<PeerId, Time> askers_;
  // Seconds a mebibyte takes, smoothed; nullopt until an answer of more than kSmall ended.
  std::optional<double> pace_;
};

}  // namespace shoal::fetch
