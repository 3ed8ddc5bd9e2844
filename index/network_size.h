// NetworkSize: how large the network is, judged by how far members' lists of peers overlap.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "base/digest.h"
#include "index/members.h"
#include "index/peer_names.h"

namespace shoal::index {

struct NetworkSize {
  double peers = 0;
  double error = 0;  // one standard error
};

// Kept of a list: those with the lowest names. A member's names are hashes, so they are a fair
// sample of it, and of any two lists the same part is kept.
inline constexpr std::size_t kNamesSampled = 1024;
// Lists of others: with half a dozen a few may lie.
inline constexpr std::size_t kSizeListsMax = 8;

// Two lists as capture and recapture: if all members were as likely to be in one as in the other,
// the second would name the same part of the first as of the whole network.
//
// Rules
// - A pair's estimate is Chapman's. Of a list its median over the others' is taken, and of these
//   the median again: so as long as the greater part of the lists is honest, those that invent
//   members, or name others than anybody else, do not move it beyond what honest ones say.
//   Of two in the middle the lower one is taken: to seem large is what a liar would gain by.
// - The error is the larger of that of the pair by Chapman's formula, with what sampling adds, and
//   of the spread of the lists' medians.
// - Lists about other rooms are not compared. Of several rooms the largest counts.
// Source: Chapman 1951; Seber, "The Estimation of Animal Abundance", 1982, section 3.1; the
// repeated median: Siegel, Biometrika 1982.
//
// What members have heard of is no independent draw: all have heard of those that are there for
// long. So the estimate is rather too low while a network grows, and right once lists are whole.
class NetworkSizeEstimate {
 public:
  // Who tells; the rooms that it shares with us; whom it has heard from lately, itself included,
  // ascending. Takes the place of its list before.
  void OnList(const PeerId& from, RoomMask rooms, const std::vector<PeerName>& names);
  void Forget(const PeerId& from) { lists_.erase(from); }

  // nullopt with fewer than two lists of the same rooms.
  [[nodiscard]] std::optional<NetworkSize> Estimate() const;

 private:
  struct List {
    RoomMask rooms{};
    std::uint64_t order = 0;
    PeerName highest = 0;  // that would have been kept
    std::vector<PeerName> names;
  };

  static NetworkSize OfPair(const List& one, const List& other);
  static std::optional<NetworkSize> OfGroup(const std::vector<const List*>& lists);

  std::map<PeerId, List> lists_;
  std::uint64_t order_ = 0;
};

}  // namespace shoal::index
