// CallQueue: whose turn it is among calls that want a connection.
//
// A lane is a host and a kind of call; each has a limit of calls that run at once. Who comes over
// the limit waits in order of arrival. Between lanes the oldest goes first, and all together keep
// to one limit as well, so a host that many want cannot shut others out of theirs.
// Lanes keep kinds apart: an answer that a peer holds back, or a few bytes about a tag, must not
// wait behind gigabytes to the same host, nor they behind it.
// Nor do many of a lane dial at once where dials take long: they are few connections later on, and
// each handshake would make the others slower.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

namespace shoal::fetch {

class CallQueue {
 public:
  using Id = std::uint64_t;

  // running_max  calls, all lanes together: descriptors and read buffers are bounded by it.
  explicit CallQueue(int running_max);

  // A new call stands at the end of its lane. lane_max: calls of that lane that run at once.
  // Returns false when kWaitingMax wait already.
  [[nodiscard]] bool Add(Id id, const std::string& lane, int lane_max);
  // One that is running dials, and those of its lane had better wait for that; until DialEnds.
  void Dials(Id id);
  void DialEnds(Id id);
  // It is over, or no longer wanted. Unknown ones are ignored.
  void Remove(Id id);
  // Whose turn it is: counted as running from now on. nullopt when nobody may start.
  std::optional<Id> Next();

  [[nodiscard]] std::size_t waiting() const { return waiting_; }
  [[nodiscard]] int running() const { return running_; }
  void CheckInvariants() const;

  // Each is a request's few strings. A thousand blobs at sixteen pieces each are less.
  static constexpr std::size_t kWaitingMax = 20'000;
  // Of a lane, those that dial and are waited for.
  static constexpr int kDialsMax = 2;

 private:
  struct Waiting {
    Id id;
    std::uint64_t arrival;
  };
  struct Lane {
    int running_max = 0;
    int running = 0;
    int dialling = 0;
    std::deque<Waiting> waiting;
  };
  struct Place {
    std::string lane;
    bool running = false;
    bool dials = false;
  };

  int running_max_;
  int running_ = 0;
  std::size_t waiting_ = 0;
  std::uint64_t arrivals_ = 0;
  std::map<std::string, Lane> lanes_;  // those with a call
  std::unordered_map<Id, Place> places_;
};

}  // namespace shoal::fetch
