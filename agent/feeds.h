// Feeds: an index::Feed for each room that we are in, and what is between them and the world: who
// is a member, sending, the disk. On the loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/rooms.h"
#include "base/executor.h"
#include "index/feed.h"
#include "index/lmdb/feed_table.h"

namespace shoal::agent {

class Feeds {
 public:
  struct Ports {
    Loop& loop;
    Executor& database;  // one thread
    Rooms& rooms;
    index::FeedTable& table;
    // Living peers that are in a room with us and can be dialled.
    std::function<std::vector<PeerId>()> living;
    // Sends a frame; `done` is called once, on any thread, with what came back.
    std::function<void(const PeerId&, const std::string& room, const index::FeedFrame&,
                       std::function<void(Result<index::FeedFrame>)> done)>
        send;
    // A message of a room, each once and in its writer's order; also at each start those that
    // stand.
    std::function<void(const std::string& room, const index::SharedFeedMessage&)> on_message;
  };

  Feeds(index::SigningKey key, Ports ports, Rng rng);

  void Start();
  // Nothing is sent any more.
  void Stop() { stopped_ = true; }
  // Members have come or gone, or our rooms are others.
  void OnPeersChanged() { LookSoon(); }
  // Who may write in our rooms has changed.
  void OnRoomsChanged();

  // What a peer sent: what to say back. Errors: kDenied when it or we are not in the room.
  Result<index::FeedFrame> OnFrame(const PeerId& from, const std::string& room,
                                   const index::FeedFrame& frame);
  // Our own word. Errors: kDenied when we are not in the room; else those of Feed::Publish.
  Result<index::FeedName> Publish(const std::string& room, const std::string& kind,
                                  const std::string& topic, const std::string& body, Duration life);

  // nullptr when we are in no such room.
  [[nodiscard]] const index::Feed* Find(const std::string& room) const;
  // Living members of a room, without us.
  [[nodiscard]] std::vector<PeerId> Members(const std::string& room) const;
  [[nodiscard]] index::FeedCounts Counts() const;
  [[nodiscard]] std::size_t Standing() const;

 private:
  // How late a member that was admitted to a second room, or a room that has ended, is noticed.
  static constexpr Duration kLookEvery = std::chrono::seconds(5);
  static constexpr Duration kLookSpacing = std::chrono::milliseconds(50);
  // Of one peer. One that is so slow is none of our neighbours.
  static constexpr std::size_t kQueuedMax = 64;

  struct Room {
    std::unique_ptr<index::Feed> feed;
    std::vector<PeerId> members;  // sorted; those that the feed knows
    Time scheduled = kNever;
  };
  // What goes to one peer, one after the other.
  struct Lane {
    std::deque<std::pair<std::string, index::FeedFrame>> queue;
    bool under_way = false;
  };

  void LookSoon();
  void Look();
  void OpenRoom(const std::string& name);
  // Who came and who went since the last look.
  void Reconcile(const std::string& name, Room& room, const std::vector<PeerId>& living);
  void Carry(const std::string& name, index::FeedActions actions);
  void Queue(const PeerId& to, const std::string& room, index::FeedFrame frame);
  void SendNext(const PeerId& to);
  void OnSent(const PeerId& to, const std::string& room, Result<index::FeedFrame> answer);
  void Failed(const PeerId& to, const std::string& room);
  void Schedule(const std::string& name);

  index::SigningKey key_;
  Ports ports_;
  Rng rng_;
  std::map<std::string, Room> rooms_;  // as records name them
  std::map<PeerId, Lane> lanes_;
  index::FeedCounts ended_;  // of rooms that we are not in any more
  bool look_pending_ = false;
  bool stopped_ = false;
};

}  // namespace shoal::agent
