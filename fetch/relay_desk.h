// RelayDesk: who holds a place at us as a relay, and which circuits run through us. Owns no socket.
//
// Rules
// - A peer that asks gets a reservation while fewer than slots are held; each further request
//   renews it. It ends `reservation` after the last one, or when it is released, and its calls that
//   were not taken end with it. Circuits that run already go on.
// - A call names a callee with a reservation. It is told to the callee once, and ends when it is
//   not taken within `accept`. Only the callee of a call can take it, and only once.
// - A circuit ends when one of its ends does, or `life` after it was taken.
// - Calls and circuits together are at most circuits_max, and circuits_per_peer_max of one caller
//   and to one callee.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"

namespace shoal::fetch {

struct RelayLimits {
  int slots = 16;
  // Three of the requests that a relay holds for kReserveWaitMax.
  Duration reservation = std::chrono::seconds(30);
  // A callee that lives takes a call within two round trips and a handshake.
  Duration accept = std::chrono::seconds(2);
  Duration life = std::chrono::minutes(15);
  // Each may buffer 128 KiB: 16 MiB together.
  int circuits_max = 128;
  // What an agent opens to one peer (8 connections for pieces, some for questions), and others.
  int circuits_per_peer_max = 32;
};

// How long a relay holds a request for a reservation at most.
inline constexpr Duration kReserveWaitMax = std::chrono::seconds(10);

class RelayDesk {
 public:
  using CircuitId = std::uint64_t;
  struct Reservation {
    PeerId peer;
    Time until;
  };

  explicit RelayDesk(RelayLimits limits) : limits_(limits) {}

  // Takes or renews a place. Errors: kExhausted when all are taken.
  Status OnReserve(Time now, const PeerId& peer);
  // Ids of calls that end by it are added to `ended`.
  void OnRelease(const PeerId& peer, std::vector<CircuitId>& ended);
  // Errors: kNotFound when the callee holds no place, kExhausted at a bound.
  Result<CircuitId> OnCall(Time now, const PeerId& caller, const PeerId& callee);
  // The callee's calls that it has not been told of.
  std::vector<CircuitId> TakeCalls(const PeerId& callee);
  // Errors: kNotFound when there is no such call to this peer, or it was taken.
  Status OnTake(Time now, const PeerId& callee, CircuitId id);
  void OnEnd(CircuitId id);
  // Ids of calls and circuits that end now are added to `ended`; OnEnd need not be told of them.
  void OnDeadline(Time now, std::vector<CircuitId>& ended);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] std::vector<Reservation> Reservations() const;
  [[nodiscard]] bool Holds(const PeerId& peer) const { return reservations_.contains(peer); }
  [[nodiscard]] int circuits() const { return circuits_running_; }
  [[nodiscard]] const RelayLimits& limits() const { return limits_; }

  void CheckInvariants() const;

 private:
  struct Circuit {
    PeerId caller;
    PeerId callee;
    Time until;
    bool told = false;
    bool taken = false;
  };
  using Circuits = std::map<CircuitId, Circuit>;

  Circuits::iterator Remove(Circuits::iterator it);
  void EndCalls(const PeerId& callee, std::vector<CircuitId>& ended);

  RelayLimits limits_;
  std::map<PeerId, Time> reservations_;
  Circuits circuits_;
  std::map<PeerId, int> of_caller_;
  std::map<PeerId, int> to_callee_;
  int circuits_running_ = 0;  // that were taken
  CircuitId next_ = 1;
};

}  // namespace shoal::fetch
