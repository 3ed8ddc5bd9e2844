// The inside of Download. Its functions lie in download*.cc by matter: events (download.cc),
// holders and their maps (download_holders.cc), the swarm and its lead (download_swarm.cc), chains
// that contradict each other (download_chain.cc), pieces (download_pieces.cc), the upstream
// (download_upstream.cc), ends and deadlines (download_end.cc).
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fetch/answer_time.h"
#include "fetch/chain_choice.h"
#include "fetch/download.h"
#include "fetch/peer_score.h"
#include "fetch/piece_picker.h"
#include "fetch/pipeline.h"
#include "index/swarm_table.h"

namespace shoal::fetch {

// A long poll at a peer waits this long (docs/PROTOCOL.md, "Maps").
inline constexpr Duration kMapWait = std::chrono::seconds(10);
// Maps are asked again after so many times the time in which we get a piece, within these bounds:
// news of those that we get pieces from come with these, and each map costs both ends about as much
// as 100 KiB. What the lead has is nowhere else. Whoever could ask for more pieces than it knows of
// is hungry: news are what it lacks. After `longest` of others when the last brought nothing.
struct MapPace {
  int pieces;
  Duration shortest;
  Duration longest;
};
inline constexpr MapPace kLeadPace{3, std::chrono::milliseconds(10),
                                   std::chrono::milliseconds(450)};
inline constexpr MapPace kHungryPace{6, std::chrono::milliseconds(60),
                                     std::chrono::milliseconds(250)};
inline constexpr Duration kMapPauseIdle = std::chrono::seconds(1);
inline constexpr MapPace kOthersPace{24, std::chrono::milliseconds(60), kMapPauseIdle};
// A holder that has nothing yet may have its first piece soon.
inline constexpr Duration kMapPauseEmpty = std::chrono::milliseconds(100);
// How long a request may take from its last byte to its last hash: the disk may be slow.
inline constexpr Duration kHashWait = std::chrono::seconds(10);
// Holders are looked for again until the blob is here: this often, and while pieces come from peers
// half as often each time, down to kResolveSeldom. With kHoldersEnough of them that soon only after
// kResolveRare: on a LAN all neighbours hear the question and those who hold the blob answer it.
// Where the catalog lists as many they are looked for only when these have nothing, none answers
// for half a stall, or no piece comes.
inline constexpr Duration kResolveAgain = std::chrono::seconds(1);
inline constexpr Duration kResolveSeldom = std::chrono::seconds(8);
inline constexpr Duration kResolveRare = std::chrono::seconds(30);
inline constexpr std::size_t kHoldersEnough = 8;
inline constexpr Duration kUpstreamBackoff = std::chrono::milliseconds(100);
// Pieces in front of the upstream's position that peers leave to it.
inline constexpr std::int32_t kUpstreamAhead = 8;
// Peers that a download remembers, as a multiple of limits.holders_max.
inline constexpr std::size_t kHoldersKept = 8;
// Failures in a row after which a peer that never delivered is not asked again.
inline constexpr int kFailuresMax = 5;
// What contradictions may cost: switches of the chain, and runs of the upstream that replace
// what contradicts them.
inline constexpr int kSwitchesMax = 16;
inline constexpr int kContradictionsMax = 4;
// A chain without a claimed end is left for one with, if at most so many pieces are lost by it.
inline constexpr std::size_t kCheapLoss = 8;
// The upstream's own bytes may miss the digest once.
inline constexpr int kMissesMax = 2;
inline constexpr std::size_t kReadersMax = 1024;
// The lead said that it has nothing: it may not know yet that it leads.
inline constexpr Duration kLeadAgain = std::chrono::milliseconds(20);
// A member that has nothing yet was asked; it may be asked again at its next word.
inline constexpr Duration kMemberPause = std::chrono::milliseconds(50);
// A host asks so many peers for their first map, as a multiple of limits.holders_max, and then only
// as many as kFirstMapsTime brings anew, as long as they have nothing: a large swarm that begins
// has thousands of members and no piece, and whoever is asked asks back. The lead is asked all the
// same.
inline constexpr int kFirstMapsMax = 16;
inline constexpr int kFirstMapsAnew = 4;
inline constexpr Duration kFirstMapsTime = std::chrono::milliseconds(100);
// Of those that the catalog lists so many are asked for a first map at once, and as many more after
// each such pause: the first pieces do not wait for maps that they do not need.
inline constexpr int kListedAtOnce = 6;
inline constexpr Duration kListedPause = std::chrono::milliseconds(50);
// Where more peers are known than are asked, one that has nothing for us, or else the one that is
// busy for longest, gives its place to another after this; after twice that, and so on, if that one
// has nothing either.
inline constexpr Duration kRoomPause = std::chrono::milliseconds(20);
inline constexpr Duration kRoomPauseMax = std::chrono::seconds(1);
// A busy holder is asked again not before, and not later than.
inline constexpr Duration kBusyMin = std::chrono::milliseconds(5);
inline constexpr Duration kBusyMax = std::chrono::seconds(1);
// For so long words of being busy count as progress.
inline constexpr Duration kBusyPatience = std::chrono::seconds(10);
// A request may take so many times what another holder would need for its piece.
// Generous, as the other was measured while it had more of its link for us than it has now.
inline constexpr double kSlowFactor = 10;
// And so many times what pieces usually take from asking to their last byte: how fast another was
// says nothing about the queues of full links that its answer waits in.
inline constexpr int kSlowTimes = 4;
// Where links are full pieces take long. A stall is then as long as nearly all of them take. What
// they were found to take counts for up to so many times limits.stall.
inline constexpr int kStallTimesMax = 4;
inline constexpr Duration kSlowTime = std::chrono::seconds(2);
// So many answers are awaited at the usual pace while nothing is here.
inline constexpr int kSwarmAsksQuick = 8;
// Where nobody leads: a quarter of a member's life.
inline constexpr Duration kSwarmPaceCalm = index::kMemberLife / 4;
// After a lease's end, by which the arbiter's clock and ours may differ.
inline constexpr Duration kLeaseEnds = std::chrono::milliseconds(5);
// An arbiter's silence; the shell ends an asking earlier.
inline constexpr Duration kSwarmSilence = std::chrono::seconds(1);
// A request of which was said, so long ago, that it waits may still be waiting. The shell says so
// at every deadline.
inline constexpr Duration kWaitingFresh = std::chrono::milliseconds(500);

// A piece that did not match the states that its sender vouched for. An honest sender may have
// changed its mind meanwhile: its map, asked again, tells.
struct Dispute {
  PieceIndex piece;
  ChainState before;
  std::optional<ChainState> after;  // none for the last piece: the digest
};

// A peer that may hold pieces of the blob. What is looked at for each holder at nearly every event
// stands first, side by side: a host that takes part in many swarms has it out of the cache.
struct Holder {
  enum class State : std::uint8_t {
    kQueued,   // not asked for its map yet
    kAsking,   // its first map is asked
    kHolding,  // it has answered
    kNot,      // it has nothing, or does not answer; may be asked again at map_at
    kGone,     // vanished
    kOut,      // banned, or failed too often
  };

  Holder(PeerId peer, PeerScore s) : score(s), id(peer) {}

  State state = State::kQueued;
  bool counted = false;  // in the picker's availability
  bool claims_last = false;
  bool member = false;     // it fetches the blob too, as far as we heard
  bool excused = false;    // it had changed its mind once
  bool grew = false;       // its last map had more than the one before
  bool listed = false;     // by the catalog, at the start
  bool overtaken = false;  // the map that is being asked: news came meanwhile
  int asked_pieces = 0;
  std::int32_t useful = 0;   // of those that it can give, while counted, the ones that we lack
  std::int32_t known = 0;    // pieces its last map listed
  std::int32_t vouched = 0;  // it vouches for the first so many states of its candidate
  CandidateId candidate = 0;
  RequestId map_request = 0;
  Time map_at{};  // when the map may be asked again
  Time busy_until{};
  PeerScore score;
  Time slow_until{};
  Time map_sent{};
  Time first_asked{};
  PieceMap can;  // of the pieces known those whose states it vouches for
  PeerId id;
  std::optional<Dispute> dispute;
};

inline constexpr int kNoHolder = -1;  // the upstream, as a request's holder

struct Request {
  enum class Kind { kMap, kPieces, kUpstream };
  RequestId id = 0;
  Kind kind = Kind::kMap;
  int holder = kNoHolder;
  // Pieces of it that are marked asked: of a run those not hashed yet; of the upstream those it
  // comes to next. Ascending.
  std::vector<PieceIndex> marked;
  // Pieces that may come instead of the one marked; marked asked in the picker, until OnChosen.
  std::vector<PieceIndex> options;
  PieceIndex next;         // upstream: the piece it is at; of a run the first one
  PieceIndex end;          // where its run ends
  std::int32_t known = 0;  // of a map: what we knew of it
  bool sized = false;      // upstream: OnUpstreamSize came
  Time asked_at{};
  Time last_byte{};
  std::optional<Time> waited_at;  // it had not been sent yet
  Duration stall{};
  Bytes expected;  // 0: unknown
  Bytes received;
  Bytes judged;  // lengths of its pieces that were hashed
};

class Download::Impl {
 public:
  Impl(Digest digest, DownloadLimits limits, bool has_upstream, Rng rng);

  void Resume(const Chain& chain, const PieceMap& have);
  void Start(const std::vector<PeerId>& known);
  void OnHolders(const std::vector<PeerId>& peers);
  void OnResolved();
  void OnPeerGone(const PeerId& peer);
  void OnMember(const PeerId& peer);
  void OnSwarm(const SwarmView& view);
  void OnSwarmFailed();
  void OnChosen(RequestId id, PieceIndex piece);
  void OnBusy(RequestId id, Duration retry, const std::vector<PeerId>& others);
  void OnMap(RequestId id, const HolderMap& map);
  void OnNews(const PeerId& peer, const HolderMap& map);
  void OnUpstreamSize(RequestId id, Bytes size);
  void OnWaiting(RequestId id);
  // Returns whether there is something to decide after it.
  bool OnBytes(RequestId id, Bytes count);
  void OnPieceHashed(RequestId id, PieceIndex piece, const ChainState& after, bool digest_ok);
  void OnRequestDone(RequestId id);
  void OnRequestFailed(RequestId id, const Error& error);
  void OnReader(int reader, PieceIndex piece);
  void OnDeadline();
  [[nodiscard]] Time NextDeadline() const;
  void CheckInvariants() const;
  void CheckLists() const;

  // Every event runs inside this: it sets the clock and where actions go, and in the end decides
  // what to do next.
  template <class Event>
  void Run(Time now, DownloadActions& out, Event&& event) {
    if (finished_) return;
    now_ = now;
    out_ = &out;
    std::forward<Event>(event)();
    if (!finished_ && started_) Decide();
    out_ = nullptr;
  }
  // The same for events that come often and change little: `event` returns whether there is
  // something to decide. When not, what became due meanwhile stays so, for NextDeadline to tell.
  template <class Event>
  void RunQuietly(Time now, DownloadActions& out, Event&& event) {
    if (finished_) return;
    const Time decided = std::exchange(now_, now);
    out_ = &out;
    if (std::forward<Event>(event)()) {
      if (!finished_ && started_) Decide();
    } else {
      now_ = decided;
    }
    out_ = nullptr;
  }

  [[nodiscard]] const Chain* chain() const { return chain_ ? &*chain_ : nullptr; }
  [[nodiscard]] const PieceMap& have() const { return picker_.here(); }
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] const PieceMap* firsthand() const {
    return we_lead_ && chain_ ? &from_upstream_ : nullptr;
  }
  [[nodiscard]] bool leads() const { return we_lead_; }
  [[nodiscard]] const SourceBytes& sources() const { return sources_; }
  [[nodiscard]] const Digest& digest() const { return digest_; }
  [[nodiscard]] bool doubtful() const;

 private:
  void Emit(DownloadAction action) { out_->push_back(std::move(action)); }
  // After every event: maps, chains, pieces, upstream, end.
  void Decide();

  // Holders.
  void AddHolders(const std::vector<PeerId>& peers);
  int FindHolder(const PeerId& peer) const;
  // nullptr when nobody else leads, or the table is full.
  [[nodiscard]] const Holder* Lead() const {
    const bool known = lead_ && lead_at_ >= 0 && holders_[lead_at_].id == *lead_;
    return known ? &holders_[lead_at_] : nullptr;
  }
  // All changes of a holder's state go through here: it keeps the lists below.
  void SetState(int holder, Holder::State state);
  // Something is due at a holder then.
  void WakeAt(Time time) { holders_at_ = std::min(holders_at_, time); }
  // Works holders_at_ out anew.
  void LookAtHolders();
  void AskQueued();
  [[nodiscard]] int ListedLately();
  void AskMaps();
  // Asks a peer that was not asked yet in place of one that has nothing for us, or is busy, if we
  // could ask for more pieces than our holders give. Members meet those first that came when they
  // did: a large swarm would fall into groups whose members all have the same.
  void MakeRoom();
  void AskMap(int holder, std::int32_t known);
  // We could ask for more pieces than our holders are known to have: their maps are asked sooner.
  void HurryMaps();
  // known: pieces that we knew it had when it was asked.
  void TakeMap(int holder, const HolderMap& map, std::int32_t known);
  [[nodiscard]] Duration MapPause(const Holder& holder) const;
  [[nodiscard]] Duration PauseAt(const MapPace& pace) const;
  void OnMapFailed(const Request& request, const Error& error);
  void Penalize(int holder, const Error& error);
  void Ban(int holder, const std::string& reason);
  // A piece of it did not match. Bans it, or asks its map again first.
  void OnMismatch(int holder, PieceIndex piece);
  // Whether its fresh map still vouches for what it sent a false piece of.
  [[nodiscard]] static bool Stands(const Dispute& dispute, const HolderMap& map);
  // Takes a holder out of everything: requests, availability, candidate.
  void Withdraw(int holder, Holder::State state);
  void Count(Holder& holder);
  // It can give these pieces now.
  void Recount(Holder& holder, PieceMap can);
  void Uncount(Holder& holder);
  // Stands behind the present chain and may be asked, now or after its penalty.
  [[nodiscard]] bool Supports(const Holder& holder) const;
  [[nodiscard]] static bool CanHelp(const Holder& holder) {
    return holder.counted && holder.useful > 0;
  }
  [[nodiscard]] bool AnyFirstMapPending() const { return !asking_.empty(); }
  // Somebody may have what we want and has not answered yet. For a lead those that it asked before
  // it had the lead: in a large swarm that begins further ones, with nothing, ask it all the time.
  [[nodiscard]] bool AwaitsFirstMap() const;
  // A peer from which something may still come without the upstream; rule 3.
  [[nodiscard]] bool WorthWaiting() const;
  [[nodiscard]] bool PeersStuck() const { return now_ >= peer_progress_at_ + limits_.peer_budget; }
  // Neither brings anything: then another candidate is worth what it costs.
  [[nodiscard]] bool UpstreamStuck() const {
    return now_ >= progress_at_ + limits_.peer_budget * 3;
  }

  // The swarm.
  void AskArbiters();
  Duration AboutAs(Duration pace);
  // We have a first piece: members that had nothing are asked again, and so learn of it.
  void MeetAgain();
  // Whether the upstream would be asked now, if it were ours to ask.
  [[nodiscard]] bool UpstreamWanted() const;
  [[nodiscard]] bool WishesLead() const;
  [[nodiscard]] bool MayAskUpstream() const;
  // A peer that failed: the lead, perhaps.
  void MissLead(const Holder& holder);
  // The lead is lost, and what it alone had: peers bring the rest, but nothing that nobody has.
  [[nodiscard]] bool LeadIsNeeded() const;
  // Whether somebody has the piece who has not failed since it last delivered.
  [[nodiscard]] bool IsHeld(PieceIndex piece) const;
  void LoseLead();
  [[nodiscard]] bool WaitsForUpstream() const;
  void EndSwarm(bool whole);

  // Chains.
  void Adopt(Chain chain);
  void Learn(const std::vector<PieceIndex>& states);
  bool Place(Holder& holder, const Chain& vouched);
  [[nodiscard]] std::optional<CandidateId> FindPlace(CandidateId own, const Chain& vouched) const;
  void DropUnsupported();
  [[nodiscard]] bool ClaimsLast(CandidateId id) const;
  [[nodiscard]] int Supporters(CandidateId id) const;
  // Pieces here that would not stay verified under `chain`.
  [[nodiscard]] std::vector<PieceIndex> Losses(const Chain& chain) const;
  [[nodiscard]] bool AnyFromUpstream(const std::vector<PieceIndex>& pieces) const;
  void ReconsiderChain();
  [[nodiscard]] bool ShouldSwitch(CandidateId id, const Chain& chain) const;
  [[nodiscard]] std::optional<CandidateId> BestCandidate() const;
  void SwitchTo(CandidateId id);
  // Goes by `chain` from now on; the present one goes back to the candidates.
  void GoBy(CandidateId id, Chain chain);
  void Forget(const std::vector<PieceIndex>& pieces, const std::vector<PieceIndex>& states);
  // The last piece has passed: whoever claims another end is refuted.
  void RefuteOthers();
  [[nodiscard]] bool ContradictionKnown() const;

  // Pieces.
  void AskPieces();
  bool AskHolder(int holder);
  struct Choice {
    PieceRun run;
    bool exact = false;  // nothing else would do as well
  };
  [[nodiscard]] std::optional<Choice> Choose(int holder, std::int32_t budget);
  [[nodiscard]] std::optional<PieceIndex> ChooseDouble(const Holder& holder, int self);
  void AddOptions(Request& request);
  void DropOptions(Request& request);
  // What pieces were found to take, as far as it counts: whoever is slow must not make us wait
  // long.
  [[nodiscard]] Duration AtMost(Duration took) const {
    return std::min(took, limits_.stall * kStallTimesMax);
  }
  // How long a request for a piece may be without a byte.
  [[nodiscard]] Duration PieceStall() const;
  // Slots of it that may be used now.
  [[nodiscard]] int SlotsOf(const Holder& holder) const;
  [[nodiscard]] bool MayAsk(const Holder& holder) const {
    return holder.score.MayAsk(now_) && now_ >= holder.busy_until;
  }
  [[nodiscard]] bool WantsLastEarly() const;
  void Unmark(Request& request, PieceIndex piece);
  void OnPeerPiece(Request& request, PieceIndex piece, const ChainState& after, bool digest_ok);
  void PieceHere(PieceIndex piece, RequestId by);
  void CutLosers(PieceIndex piece, RequestId by);
  void Waste(Bytes count) { sources_.wasted += count; }
  [[nodiscard]] Bytes LengthOf(PieceIndex piece) const {
    return chain_->geometry().LengthOf(piece);
  }

  // Requests.
  Request& NewRequest(Request::Kind kind, int holder, Duration stall);
  // Takes a request out of the books: marks, slots, wasted bytes.
  Request Close(RequestId id);
  void Cancel(RequestId id);
  void CancelPieceRequests();
  [[nodiscard]] bool Live(RequestId id) const { return requests_.contains(id); }
  [[nodiscard]] Time AskedSince(PieceIndex piece) const;
  [[nodiscard]] Time StallAt(const Request& request) const;
  // When it is to be looked at next: it may have stalled, or be slow.
  [[nodiscard]] Time LookAt(const Request& request) const;
  void CancelStalled();
  // Rule 4: those that another holder would end far earlier.
  void CancelSlow();
  [[nodiscard]] bool IsSlow(const Request& request) const;

  // The upstream.
  [[nodiscard]] bool UpstreamUsable() const { return has_upstream_ && !upstream_error_; }
  void AskUpstream();
  [[nodiscard]] bool UpstreamDue() const;
  [[nodiscard]] bool UpstreamMayTake(PieceIndex piece) const;
  // Holders are left what they can give, while they give.
  [[nodiscard]] bool UpstreamShouldTake(PieceIndex piece) const;
  [[nodiscard]] std::optional<PieceIndex> UpstreamStart() const;
  void MarkAhead(Request& request);
  void OnUpstreamPiece(Request& request, PieceIndex piece, const ChainState& after, bool digest_ok);
  void OnUpstreamFailed(const Error& error);
  // Bytes of the upstream that lead to `found` before piece `at` contradict the chain; {count()}
  // for the digest itself, {0} for the size.
  void OnContradiction(RequestId id, PieceIndex at, const ChainState& found);
  void OnDigestMissed();
  void SetAlone(bool alone);
  // Whether a holder that may be asked vouches for states up to before `at`, and claims the end.
  [[nodiscard]] bool Backed(PieceIndex at) const;
  Result<Geometry> CutBlob(Bytes size) const;
  void TrustUpstreamFrom(PieceIndex piece, const ChainState& after);
  void ReadUpstreamAlone();
  [[nodiscard]] bool AllButLastFromUpstream() const;

  // Ends.
  void GiveUpIfHopeless();
  [[nodiscard]] bool AnyHope() const;
  void GiveUp();
  void Prove();
  void CancelAll();
  void LookForHolders();
  [[nodiscard]] bool ListedAreInVain() const;
  [[nodiscard]] Time ListedPatienceEnds() const { return looked_at_ + limits_.stall / 2; }
  [[nodiscard]] Duration NextLookPause() const;
  [[nodiscard]] Time LookAgainAt() const {
    return std::min(looked_at_ + look_pause_, std::max(looked_at_, peer_piece_at_) + kResolveAgain);
  }
  [[nodiscard]] bool Settled() const { return resolved_ || now_ >= resolve_by_; }
  void NoteProgress(bool from_peer);

  const Digest digest_;
  const DownloadLimits limits_;
  const bool has_upstream_;
  Rng rng_;
  Time now_{};
  DownloadActions* out_ = nullptr;
  SourceBytes sources_;

  // What we go by.
  std::optional<Chain> chain_;
  CandidateId chain_id_ = 0;
  PiecePicker picker_;
  PieceMap from_upstream_;
  std::vector<PieceIndex> unusable_;  // resumed without the states that prove them
  ChainChoice choice_;
  std::set<CandidateId> doubted_;  // the upstream contradicts them; never more than contradictions
  int switches_ = 0;

  std::vector<Holder> holders_;
  std::vector<std::uint64_t> heads_;  // of their ids
  std::string marks_;                 // a byte of each: what is searched
  // Most of the peers that we know have nothing for us: what happens at each event looks at lists
  // of those that matter, and at times before which nothing is due.
  std::vector<int> holding_;  // holders in State::kHolding, ascending
  std::vector<int> queued_;   // in State::kQueued, ascending
  std::vector<int> asking_;   // in State::kAsking, ascending
  Time room_at_{};            // no holder gives up its place before
  Duration room_pause_ = kRoomPause;
  int newcomer_ = -1;            // who was asked last in place of another
  bool room_changed_ = true;     // those that are queued may have a place now
  Time holders_at_ = kNever;     // nothing is due at any holder before
  std::int64_t first_maps_ = 0;  // asked in vain as far as we know, less those that time brought
  Time first_maps_since_{};
  Time first_maps_at_ = kNever;  // some that are queued may be asked then
  Time listed_at_{};             // since then those asked count for kListedAtOnce
  std::map<RequestId, Request> requests_;
  std::vector<Request*> byte_requests_;  // those that are not for maps, ascending
  Time requests_at_ = kNever;            // none is to be looked at before
  RequestId next_request_ = 1;
  int asked_pieces_ = 0;  // at peers
  std::map<int, PieceIndex> readers_;
  std::optional<PieceIndex> begins_at_;  // a reader's first piece, until it is here

  Time resolve_by_{};
  Time looked_at_{};  // for holders, last
  Duration look_pause_ = kResolveAgain;
  Time progress_at_{};
  Time peer_progress_at_{};
  Time peer_piece_at_{};     // when one came from a peer, last
  Bytes unproven_;           // bytes of peers since a piece last passed
  Bytes unproven_seen_;      // of them those that counted as progress
  Time double_at_ = kNever;  // when the end game wants another look
  std::optional<Error> peer_error_;

  Pipeline pipeline_;
  AnswerTime answer_time_;  // of pieces

  Time swarm_asked_at_{};
  Time swarm_at_{};  // when the arbiters are asked next
  Duration swarm_pace_ = index::kSwarmPace;
  int swarm_asked_ = 0;  // answers while nothing was here
  Time modest_until_{};
  std::optional<Time> busy_since_;
  std::optional<PeerId> lead_;  // somebody else
  int lead_at_ = -1;            // its place, unless another took it
  Time lead_named_{};           // since when we know of it
  std::optional<Time> lead_waits_since_;
  std::optional<PeerId> lost_lead_;  // it led, and failed us since
  bool lead_missed_ = false;         // that is to be told
  Time missed_again_{};              // not to be told before
  bool started_ = false;
  bool finished_ = false;
  bool end_failed_ = false;  // the last piece failed under the chain we go by
  bool swarm_asking_ = false;
  bool swarm_wished_ = false;  // the last asking wished the lead
  bool swarm_heard_ = false;   // an arbiter ever answered, or all were silent
  bool swarm_silent_ = false;  // no arbiter answered the last time
  bool we_lead_ = false;
  Time lead_since_{};  // while we lead
  bool resolving_ = false;
  bool resolved_ = false;
  bool any_map_ = false;  // a holder has ever answered

  RequestId upstream_request_ = 0;
  bool read_in_silence_ = false;  // it began because no arbiter answered
  Time upstream_at_{};            // not before
  int upstream_failures_ = 0;
  int misses_ = 0;
  int contradictions_ = 0;
  bool alone_ = false;  // only the upstream is read; rule 7
  bool held_ = false;   // holders had their chance to prove the present chain
  std::optional<Bytes> upstream_size_;
  std::optional<Error> upstream_error_;
};

}  // namespace shoal::fetch
