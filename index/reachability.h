// Reachability: whether others can dial us, and which relays we hold a place at. Owns no socket.
//
// Rules
// - A round asks up to `asked` of the peers that we reach ourselves, drawn at random, to dial us
//   back. It is over when all have answered or failed to. Half or more that say no make us
//   kUndialable, fewer kDialable: where some reach us and some do not, a relay is of use.
//   A round without any answer changes nothing.
// - The next round comes after again_dialable when `asked` peers answered and we are kDialable,
//   else after `again`. The first begins `first` after the first peer was reached, so that several
//   are.
// - While kUndialable, places are asked for at peers that we reach, drawn at random, until `relays`
//   are held or asked for. One that refuses is not asked again for `refused`, one that was lost not
//   for `lost`: it may be back.
// - kDialable lets go of all places.
#pragma once

#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/digest.h"
#include "base/rng.h"
#include "base/time.h"

namespace shoal::index {

struct ReachabilityLimits {
  int asked = 3;
  Duration first = std::chrono::milliseconds(500);
  Duration again = std::chrono::seconds(30);
  Duration again_dialable = std::chrono::minutes(5);
  int relays = 2;
  Duration refused = std::chrono::minutes(5);
  Duration lost = std::chrono::seconds(10);
};

enum class Reach { kUnknown, kDialable, kUndialable };
std::string_view ToString(Reach reach);  // "unknown", "yes", "no"

struct AskDialBack {
  PeerId peer;
};
struct AskForPlace {
  PeerId peer;
};
struct LetGo {
  PeerId peer;
};
using ReachAction = std::variant<AskDialBack, AskForPlace, LetGo>;
using ReachActions = std::vector<ReachAction>;

class Reachability {
 public:
  Reachability(ReachabilityLimits limits, Rng rng) : limits_(limits), rng_(rng) {}

  // The peers that we reach ourselves, without a relay, now.
  void OnPeers(Time now, std::vector<PeerId> peers, ReachActions& out);
  // What a peer that was asked to dial us back says; nullopt: it did not answer.
  void OnAnswer(Time now, const PeerId& peer, std::optional<bool> dialled, ReachActions& out);
  // A place that was asked for is ours.
  void OnPlace(Time now, const PeerId& peer, ReachActions& out);
  // It was not given.
  void OnRefused(Time now, const PeerId& peer, ReachActions& out);
  // The relay does not answer any more.
  void OnLost(Time now, const PeerId& peer, ReachActions& out);
  void OnDeadline(Time now, ReachActions& out);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] Reach reach() const { return reach_; }
  // Where we hold a place, in the order of their ids.
  [[nodiscard]] std::vector<PeerId> Relays() const { return {held_.begin(), held_.end()}; }

  void CheckInvariants() const;

 private:
  void StartRound(Time now, ReachActions& out);
  void EndRound(Time now, ReachActions& out);
  void AskForPlaces(Time now, ReachActions& out);
  void LetGoOfAll(ReachActions& out);
  // `count` of `from` at random.
  std::vector<PeerId> Draw(std::vector<PeerId> from, int count);

  ReachabilityLimits limits_;
  Rng rng_;
  std::vector<PeerId> peers_;
  Reach reach_ = Reach::kUnknown;
  Time next_round_ = kNever;
  std::set<PeerId> asked_;  // of this round, who have not answered
  int yes_ = 0;
  int no_ = 0;
  std::set<PeerId> held_;
  std::set<PeerId> wanted_;                  // places that were asked for
  std::unordered_map<PeerId, Time> paused_;  // not asked for a place before
};

}  // namespace shoal::index
