// SwarmTable: who takes part in the swarms of which blobs, and who leads each. The memory of an
// arbiter: an index server for the peers that use it, and every agent for the digests that it ranks
// highest for (docs/SWARM.md).
//
// Rules
// - A member is one that asked within kMemberLife, or three of its paces if that is longer
//   (fetching), or kHolderLife (whole); one that says it leaves is gone at once.
// - Members are told the pace at which to ask again, such that the arbiter is asked about a blob
//   about every kAskGap at most, however many they are (kSwarmPace to kSwarmPaceMax). Those that
//   wish the lead ask at the pace of as many as wish it: so a dead lead is replaced as soon in a
//   large swarm as in a small one. The lead renews at kSwarmPace whatever it is told.
// - At most one member of a blob has the lead, as a lease of kLeadLease from its last asking. It
//   goes to the first that asks and wishes it while nobody has it. A lead that asks without the
//   wish gives it back.
// - The lead says how far it got. When that has not grown for the blob's patience, the next other
//   member that wishes it takes the lease over, and the patience doubles (kLeadPatience to
//   kLeadPatienceMax). The old lead hears so in its next answer. A lead that waits for its turn at
//   the upstream is not stalled, for kLeadWaitMax.
// - When another member says that the lead does not answer it, the lead loses its lease kLeadDoubt
//   after its last asking: a living one asks again before that.
// - Members are given with the lead before all, then those that have all of it, then the others,
//   each those first that were heard of last; at most kMembersGiven, never the asker.
// - A full table forgets the blob that was asked about longest ago.
// - An asking costs O(kMembersGiven), amortized, whatever the swarm's size.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "index/registry_slots.h"

namespace shoal::index {

inline constexpr Duration kLeadLease = std::chrono::milliseconds(900);
inline constexpr Duration kLeadPatience = std::chrono::milliseconds(1500);
inline constexpr Duration kLeadPatienceMax = std::chrono::seconds(30);
inline constexpr Duration kLeadWaitMax = std::chrono::minutes(2);
// Members ask again at this pace, and the lead renews at it: a third of the lease.
inline constexpr Duration kSwarmPace = std::chrono::milliseconds(300);
// An index server checks a signature for each asking, about 0.1 ms: from 100 members of a blob on
// the pace is slower.
inline constexpr Duration kAskGap = std::chrono::milliseconds(3);
inline constexpr Duration kSwarmPaceMax = std::chrono::seconds(30);
inline constexpr Duration kLeadDoubt = kSwarmPace * 3 / 2;
inline constexpr Duration kMemberLife = std::chrono::seconds(5);
inline constexpr Duration kHolderLife = std::chrono::seconds(60);
inline constexpr std::size_t kMembersGiven = 48;

struct SwarmLimits {
  std::size_t blobs_max = 20'000;
  std::size_t members_max = 20'000;       // of a blob; the one that asked longest ago makes room
  std::size_t all_members_max = 200'000;  // of all blobs: about 150 bytes each
  RegistrySlots::Limits slots{};
};

// What a member says of itself.
struct SwarmAsk {
  PeerId peer;
  Digest digest;
  bool wants_lead = false;
  bool whole = false;         // it has all of the blob
  bool leaving = false;       // it fetches no longer, and holds nothing worth asking for
  std::int64_t progress = 0;  // bytes it has had from the upstream; grows while a lead is alive
  bool waiting = false;       // it would read the upstream, but has to wait for a slot
  bool misses_lead = false;   // the lead that it was told of does not answer it
  // Asks for slots of a registry instead; the digest is that of its name. Then nothing of the above
  // counts.
  std::optional<SlotAsk> slots{};
  bool operator==(const SwarmAsk&) const = default;
};

struct SwarmAnswer {
  std::optional<PeerId> lead;  // may be the asker
  Duration lease{0};           // what is left of it
  std::vector<PeerId> members;
  bool lead_waits = false;
  std::optional<int> slots{};  // how many the asker may have; only where it asked for some
  Duration pace = kSwarmPace;  // ask again after about this
  bool operator==(const SwarmAnswer&) const = default;
};

class SwarmTable {
 public:
  explicit SwarmTable(SwarmLimits limits) : limits_(limits), slots_(limits.slots) {}

  SwarmAnswer OnAsk(Time now, const SwarmAsk& ask);
  // A peer is gone: its leads are free at once.
  void OnPeerGone(Time now, const PeerId& peer);
  // Drops what is over. May be called at any time.
  void OnDeadline(Time now);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] std::size_t blob_count() const { return blobs_.size(); }
  void CheckInvariants() const;

 private:
  // Members that have all of it, or those that have not. Pointers are to keys of Blob::members.
  using Group = std::list<const PeerId*>;  // who asked last first
  struct Member {
    Time until;
    bool whole = false;
    bool wishes = false;
    Group::iterator place;
  };
  struct Blob {
    std::unordered_map<PeerId, Member> members;
    Group fetching;
    Group whole;
    std::size_t wishes = 0;
    std::optional<PeerId> lead;
    Time lease_until{};
    std::int64_t progress = 0;
    Time progress_at{};
    Duration patience = kLeadPatience;
    Time led_since{};
    Time lead_asked{};
    bool lead_waits = false;
    std::list<Digest>::iterator place;  // in order_
    Time used{};
  };

  using Members = std::unordered_map<PeerId, Member>;

  Blob& Touch(Time now, const Digest& digest);
  static Group& GroupOf(Blob& blob, const Member& member) {
    return member.whole ? blob.whole : blob.fetching;
  }
  void TakeIn(Time now, Blob& blob, const SwarmAsk& ask);
  void Drop(Blob& blob, Members::iterator it);
  void Expire(Time now, Blob& blob);
  [[nodiscard]] static Duration PaceOf(std::size_t askers);
  // Appends the names of some of the group, without those that `answer` has.
  static void Name(const Group& group, const PeerId& asker, SwarmAnswer& answer);
  static void DecideLead(Time now, Blob& blob, const SwarmAsk& ask);
  void Forget(const Digest& digest);
  [[nodiscard]] static SwarmAnswer AnswerFor(Time now, const Blob& blob, const PeerId& asker);

  SwarmLimits limits_;
  std::size_t members_ = 0;  // of all blobs
  std::unordered_map<Digest, Blob> blobs_;
  std::list<Digest> order_;  // the one asked about longest ago first
  RegistrySlots slots_;
};

// The `count` best of `peers` as arbiters of `digest`, best first: highest random weight of peer id
// and digest. Source: Thaler and Ravishankar, IEEE/ACM ToN 1998.
std::vector<PeerId> RankArbiters(const Digest& digest, const std::vector<PeerId>& peers,
                                 std::size_t count);

}  // namespace shoal::index
