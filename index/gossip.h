// Gossip: whom to ask whom it knows, and when. docs/PROTOCOL.md, "Peers of peers".
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "index/network_size.h"
#include "index/peer_bag.h"
#include "index/peer_names.h"

namespace shoal::index {

struct GossipLimits {
  // Asked for those it has met lately. They are told for kFresh after that.
  Duration fresh_every = std::chrono::seconds(10);
  // Asked for all, 8 bytes each: a list of 15,000 every 10 minutes.
  Duration whole_every = std::chrono::seconds(30);
  Duration whole_each = std::chrono::milliseconds(40);  // longer for each member
  std::size_t at_once = 4;                              // members that are being asked
  std::size_t members = 20'000;                         // as many as a roster takes
};

// Who has missed one question of this kind hears the same from the next.
inline constexpr Duration kFresh = std::chrono::seconds(40);
// Of one list; two seconds of verifying a minute at most. What is left comes with later lists.
inline constexpr std::size_t kWantedMax = 2000;

// Ask it whom it has heard from.
struct AskNames {
  PeerId peer;
  bool whole = false;  // else those that it first heard from within kFresh
};
// Ask it for the records of these, at most kRecordsAskedMax.
struct AskRecords {
  PeerId peer;
  std::vector<PeerName> names;
};
using GossipAction = std::variant<AskNames, AskRecords>;
using GossipActions = std::vector<GossipAction>;

// Rules
// - Who has come to a room asks the first members that it meets for all; so does each of some
//   kGreeters members whom a newcomer meets: it may come from a part of the room that was cut off.
// - Every fresh_every, give or take a quarter, a random member is asked whom it has met lately;
//   every so often one is asked for all, which also says how large the network is.
// - Of names that we do not know the records are asked for, of the one who named them: it must have
//   them. What it does not give is let go. But for the first lists, kWantedMax at most of a list,
//   by chance: a member that invents others costs no more than that.
// - A member is asked one thing at a time, and at_once of them at once.
// Whom it may name (only those it has heard from itself) is the roster's matter.
class Gossip {
 public:
  Gossip(GossipLimits limits, PeerId self, Rng rng);

  // A living peer of a room with us; and that it is none any more.
  void OnMember(Time now, const PeerId& peer, GossipActions& out);
  void OnMemberGone(const PeerId& peer);
  // What it was asked for.
  // rooms   those that it shares with us; own: whom we have heard from in these lately, ascending,
  //         ourselves included. Both are looked at for a whole list alone.
  // known   whether we need no record of this name; `whole`: it is of a whole list.
  struct View {
    RoomMask rooms{};
    std::function<std::vector<PeerName>()> own;
    std::function<bool(PeerName, bool whole)> known;
  };
  void OnNames(const PeerId& peer, std::vector<PeerName> names, const View& view,
               GossipActions& out);
  // The records came and have been told to the roster.
  void OnRecords(const PeerId& peer, const View& view, GossipActions& out);
  void OnFailed(Time now, const PeerId& peer);
  void OnDeadline(Time now, GossipActions& out);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] std::optional<NetworkSize> Size() const { return size_.Estimate(); }
  void CheckInvariants() const;

 private:
  // Of the members that a newcomer meets so many ask it; so many it asks itself.
  static constexpr double kGreeters = 4;
  static constexpr int kFirstAsked = 3;
  static constexpr int kDrawsMax = 8;

  struct Asking {
    bool whole = false;
    bool first = false;
    std::vector<PeerName> wanted;
  };

  [[nodiscard]] Duration Spread(Duration wait);
  [[nodiscard]] Duration WholeEvery() const;
  void Ask(const PeerId& peer, bool whole, bool first, GossipActions& out);
  void AskRandom(bool whole, GossipActions& out);
  // The next records that it has named; ends with it when there are none.
  void GoOn(const PeerId& peer, const View& view, GossipActions& out);

  GossipLimits limits_;
  PeerId self_;
  Rng rng_;
  NetworkSizeEstimate size_;
  PeerBag members_;
  std::map<PeerId, Asking> asking_;
  int first_asked_ = 0;
  Time fresh_at_ = kNever;
  Time whole_at_ = kNever;
};

}  // namespace shoal::index
