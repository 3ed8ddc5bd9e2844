// RoomFeeds: an index::Feed for each host of an index room, and the frames between them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/rng.h"
#include "index/feed.h"
#include "tests/sim/engine.h"

namespace shoal::sim {

class RoomFeeds {
 public:
  struct Said {
    index::FeedName name;
    Time at;
    std::vector<std::uint8_t> given;  // by host: how often
    std::vector<Duration> delays;     // of those who were there when it was said
  };

  // alive: whether a host is.
  RoomFeeds(Engine& engine, Rng rng, std::function<bool(std::uint32_t)> alive)
      : engine_(engine), rng_(rng), alive_(std::move(alive)) {}

  // Hosts have numbers from 0, in order.
  void Add(const index::SigningKey& key);
  void Remove(std::uint32_t host) { feeds_[host].reset(); }
  // Two members know each other now, if they still live.
  void Meet(std::uint32_t one, std::uint32_t other);
  void OnMemberGone(std::uint32_t host, std::uint32_t member);
  void Say(std::uint32_t host);

  // Events: kFlow, a: slot of a frame; kHashed, a: the same, which was lost; kPoll, a: host.
  void OnArrived(std::uint32_t slot);
  void OnLost(std::uint32_t slot);
  void OnDue(std::uint32_t host);

  [[nodiscard]] const std::vector<Said>& said() const { return said_; }
  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  // Messages that came to anybody, of all who ever were there.
  [[nodiscard]] std::int64_t copies() const { return copies_; }
  [[nodiscard]] bool has(std::uint32_t host) const { return feeds_[host] != nullptr; }
  void CheckInvariants() const;

 private:
  struct Frame {
    std::uint32_t from = 0;
    std::uint32_t to = 0;
    std::shared_ptr<const index::FeedFrame> frame;  // owners: this
  };

  [[nodiscard]] WallTime Wall() const;
  void OnMember(std::uint32_t host, std::uint32_t member);
  void Do(std::uint32_t host, index::FeedActions& actions);

  Engine& engine_;
  Rng rng_;
  std::function<bool(std::uint32_t)> alive_;
  std::vector<std::unique_ptr<index::Feed>> feeds_;
  std::vector<Time> due_;
  std::vector<Time> since_;
  std::vector<PeerId> ids_;
  std::unordered_map<PeerId, std::uint32_t> numbers_;
  std::map<index::FeedName, std::size_t> said_by_name_;
  std::vector<Said> said_;
  Pool<Frame> in_flight_;
  std::uint64_t frames_ = 0;
  std::uint64_t bytes_ = 0;
  std::int64_t copies_ = 0;
};

}  // namespace shoal::sim
