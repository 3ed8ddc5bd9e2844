// UploadDesk: decides what we give to whom. Owns no socket: it is asked when a peer asks for a
// piece, and told when an answer is over.
//
// Rules
// - An asker names the pieces that would do, best for it first. It gets the one that we have sent
//   least often (an answer under way counts as sent, one that ended early does not), the earliest
//   named among equals: so each piece leaves a holder once before any leaves it twice.
//   Source: Bharambe et al., "Analyzing and Improving a BitTorrent Network's Performance
//   Mechanisms", INFOCOM 2006 (smartseed).
// - Of a blob that we read from the upstream, as its swarm's lead, each piece that came from there
//   goes out once before any piece goes out twice: while one of them was sent to nobody, and half
//   of the slots are taken, who asks only for what we have sent is told "busy", and whom it may ask
//   instead, for up to kPutOffMax a piece.
// - At most limits.slots answers are under way. An answer that takes more than kSlowAnswerFactor
//   times as long as answers of its size lately did keeps going without a slot (at most slots *
//   kSlowAnswerFactor of those; the others keep theirs), so that slow readers cannot shut us.
//   Nobody has more than limits.slots answers under way, slow ones among them.
// - While others were refused within kRefusedLately and got nothing since, an asker has at most its
//   fair share of the slots: slots over the askers seen within kAskedLately, at least one.
// - Answers up to kSmallAnswer bytes need no slot: they cost less than asking again.
// - No slot: "busy", with a wait after which asking is worth while (kBusyRetryMin to
//   kBusyRetryMax). Those that are refused get turns one after the other, about kTriesPerEnd of
//   them each time an answer ends. And up to kTryMax peers that were given pieces of the blob
//   lately, latest first.
// - Counts of a blob are forgotten kCountLife after its last answer began or ended; a full table
//   forgets the blob of longest ago.
// - Every call costs O(wanted), and amortized O(log(answers)); O(pieces) of a blob that we lead.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/time.h"
#include "fetch/piece.h"
#include "fetch/recent_peers.h"

namespace shoal::fetch {

struct UploadLimits {
  int slots = 6;  // limits.upload_slots; as many as a fetcher's requests to one holder
  // Blobs, and pieces of all of them, whose counts are kept: 8 MiB.
  std::size_t blobs_max = 256;
  std::size_t counts_max = 4 << 20;
};

inline constexpr int kSlowAnswerFactor = 4;
// Until an answer's pace is known, and at least: a hiccup on a fast link is no slow reader.
inline constexpr Duration kSlowAnswerUnknown = std::chrono::seconds(5);
inline constexpr Duration kSlowAnswerMin = std::chrono::milliseconds(100);
inline constexpr Bytes kSmallAnswer{64 << 10};
inline constexpr Duration kBusyRetryMin = std::chrono::milliseconds(10);
inline constexpr Duration kBusyRetryMax = std::chrono::seconds(1);
inline constexpr Duration kBusyRetryUnknown = std::chrono::milliseconds(50);
// A slot that ends stays empty for a quarter of the time between two ends on average.
inline constexpr int kTriesPerEnd = 4;
// Twice the longest wait: who was told to come back within it is still wanting.
inline constexpr Duration kRefusedLately = 2 * kBusyRetryMax;
inline constexpr Duration kAskedLately = 2 * kBusyRetryMax;
inline constexpr std::size_t kRecentAskersMax = 4096;  // 0.5 MiB
inline constexpr std::size_t kTryMax = 4;
inline constexpr Duration kPutOffMax = std::chrono::milliseconds(500);
inline constexpr std::size_t kPutOffsMax = 1024;  // of a blob: who asks for more is not put off
inline constexpr Duration kCountLife = std::chrono::minutes(5);

using UploadId = std::uint64_t;  // never 0

struct UploadGrant {
  UploadId id = 0;  // give it back with OnSent; 0 for small answers, which take no slot
  PieceIndex first;
  std::int32_t count = 1;
  bool operator==(const UploadGrant&) const = default;
};
struct UploadBusy {
  Duration retry{0};
  std::vector<PeerId> others;
  bool operator==(const UploadBusy&) const = default;
};

class UploadDesk {
 public:
  // limits.slots, blobs_max and counts_max are at least 1.
  explicit UploadDesk(UploadLimits limits);

  // `peer` asks for one of `wanted`, all of which we have, best first.
  //
  // wanted  not empty; each the first of a run of `count` pieces inside the blob.
  // count   at least 1: more for a plain range over several pieces.
  // firsthand  pieces of the blob that nobody else may have; nullptr where we are not its lead.
  std::variant<UploadGrant, UploadBusy> OnAsk(Time now, const PeerId& peer, const Digest& digest,
                                              const Geometry& geometry,
                                              const std::vector<PieceIndex>& wanted,
                                              std::int32_t count = 1,
                                              const PieceMap* firsthand = nullptr);
  // The answer is over; `sent` bytes of it left us. id: of a grant, once; 0 is ignored.
  void OnSent(Time now, UploadId id, Bytes sent);

  // Answers that hold a slot.
  [[nodiscard]] int busy_slots(Time now) const;
  void CheckInvariants() const;

 private:
  struct Blob {
    std::vector<std::uint16_t> sent;  // by piece; stays at its maximum
    std::vector<PeerId> given;        // to whom lately, latest first; one more than kTryMax
    std::uint64_t born = 0;           // counts of another life of it are not taken back
    // Who was put off, when it first asked for which piece.
    std::map<std::pair<PeerId, PieceIndex>, Time> put_off;
    Time used{};
    std::list<Digest>::iterator place;
  };
  struct Answer {
    PeerId peer;
    Digest digest;
    std::uint64_t born = 0;
    PieceIndex first;
    std::int32_t count = 1;
    Bytes length;
    Time since;
    Time slow_at;
    int crowd = 1;  // answers with a slot when it began, itself included
    bool slow = false;
  };

  [[nodiscard]] std::size_t SlowMax() const { return Slots() * kSlowAnswerFactor; }
  [[nodiscard]] std::size_t Slots() const { return static_cast<std::size_t>(limits_.slots); }
  void Advance(Time now);
  [[nodiscard]] bool HasSlotFor(const PeerId& peer) const;
  // Peers that were given pieces of it lately, but the asker.
  [[nodiscard]] static std::vector<PeerId> GivenTo(const Blob& blob, const PeerId& asker);
  // Whether the asker, who would have to get a piece that was sent before, is to ask others first.
  [[nodiscard]] static bool PutsOff(Time now, Blob& blob, const PeerId& peer, PieceIndex piece,
                                    const PieceMap& firsthand);
  [[nodiscard]] UploadBusy Refuse(Time now, const PeerId& peer, const Digest& digest, Bytes length);
  // What an answer of `length` should take while all slots are busy; nullopt when unknown.
  [[nodiscard]] std::optional<Duration> Expected(Bytes length) const;
  void Learn(Time now, const Answer& answer, Bytes sent);
  UploadId Begin(Time now, Answer answer);
  Blob& Touch(Time now, const Digest& digest, std::int32_t count);
  void Forget(const Digest& digest);

  UploadLimits limits_;
  UploadId next_ = 1;
  std::uint64_t births_ = 0;
  std::unordered_map<UploadId, Answer> answers_;
  std::set<std::pair<Time, UploadId>> due_;  // answers with a slot, by when they will be slow
  std::unordered_map<PeerId, std::size_t> under_way_;
  std::unordered_map<Digest, Blob> blobs_;
  std::list<Digest> order_;  // latest first
  std::size_t counts_ = 0;   // pieces of all blobs
  RecentPeers askers_{kAskedLately, kRecentAskersMax};
  RecentPeers refused_{kRefusedLately, kRecentAskersMax};
  // Seconds a mebibyte takes while all slots are busy, smoothed; nullopt until an answer that is
  // not small ended.
  std::optional<double> pace_;
  Time next_turn_{};  // until then those that were refused have their turns to ask again
};

}  // namespace shoal::fetch
