// DhtDials: which of the endpoints that a DHT names are dialled, and when.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "index/record.h"

namespace shoal::index {

struct DialLimits {
  std::size_t at_once = 16;  // as many handshakes as a core does in some 20 ms
  // An endless supply of false endpoints costs us and those who are dialled no more than this.
  int per_second = 32;
  std::size_t waiting_max = 512;  // ten full answers of the DHT and more
  std::size_t known_max = 4096;   // of all kinds; the rest of a larger room is heard of from peers
};

// The first wait after an endpoint did not answer; each further one is twice as long.
inline constexpr Duration kDialAgainMin = std::chrono::seconds(2);
inline constexpr Duration kDialAgainMax = std::chrono::minutes(10);
// An endpoint that nobody names any more is not dialled.
inline constexpr Duration kDialWaitMax = std::chrono::seconds(30);

// Anybody can put any endpoint into a DHT, and anybody can be asked there. So what it names is
// worth a try, and no more.
//
// Rules
// - An endpoint that was named is dialled once: not while that is under way, not while its record
//   has more than half of its life before it, not before its wait is over after a failure.
// - Those that were named most often go first, for all who keep a key name its peers while a liar
//   is one of them; of equals a random one.
// - Never more than at_once are under way, nor more than per_second begun in a second.
// - Our own endpoints are not dialled, nor one at which we met ourselves.
// - When known_max are known, those make room that have failed, then those that wait, the oldest
//   first.
class DhtDials {
 public:
  DhtDials(DialLimits limits, PeerId self, Rng rng);

  // Where we listen, as far as we know.
  void OnOwn(std::vector<Endpoint> own);
  // weight  1 to 8: how often it was named, or how much it is wanted.
  void OnNamed(Time now, const Endpoint& endpoint, int weight);
  // What was dialled has answered with a record that verifies, or not.
  void OnRecord(Time now, WallTime wall, const Endpoint& endpoint, const SignedRecord& record);
  void OnFailure(Time now, const Endpoint& endpoint);

  // What is to be dialled now.
  void OnDeadline(Time now, std::vector<Endpoint>& dial);
  [[nodiscard]] Time NextDeadline() const;

  // The record of the peer that answered there, while it is fresh. Valid until the next event.
  [[nodiscard]] const SignedRecord* FreshAt(Time now, const Endpoint& endpoint) const;
  [[nodiscard]] bool IsDialling(const Endpoint& endpoint) const;
  // Endpoints at which a peer has answered.
  [[nodiscard]] std::size_t answered() const { return answered_; }
  [[nodiscard]] std::size_t known() const { return known_.size(); }
  void CheckInvariants() const;

 private:
  // In the order in which they make room.
  enum class State : std::uint8_t { kFailed, kWaiting, kAnswered, kDialling };
  struct Entry {
    State state = State::kWaiting;
    // Failed: not before then. Waiting: forgotten then. Answered: fresh until then.
    Time until;
    int weight = 0;
    int failures = 0;
    std::optional<SignedRecord> record;
  };
  using Place = std::tuple<State, Time, Endpoint>;

  void Move(const Endpoint& endpoint, Entry& entry, State state, Time until);
  void Remove(const Endpoint& endpoint);
  bool MakeRoom();
  void ForgetOldWaiting(Time now);
  std::optional<Endpoint> Choose();

  DialLimits limits_;
  PeerId self_;
  Rng rng_;
  std::set<Endpoint> own_;
  std::set<Endpoint> mirrors_;  // where we met ourselves
  std::map<Endpoint, Entry> known_;
  std::set<Place> places_;  // all of known_
  std::size_t waiting_ = 0;
  std::size_t dialling_ = 0;
  std::size_t answered_ = 0;
  Time second_begin_{};
  int second_count_ = 0;
  Time now_{};
};

}  // namespace shoal::index
