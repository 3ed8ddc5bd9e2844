// RangedCall: one Fetch of RangedUpstream, with its connections.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "registry-proxy/upstream/ranged_upstream.h"

namespace shoal::proxy {

// What the calls share. Thread-safe.
struct RangedShared {
  RangedUpstream::Ports ports;
  std::mutex mutex;  // guards what follows; never held while anybody is called
  std::condition_variable none_starts;
  int rooms = 0;     // ranges that may still be buffered
  int starting = 0;  // calls of ports.fetch under way
  bool stopping = false;
  fetch::UpstreamPort::CallId next = 1;
  std::map<fetch::UpstreamPort::CallId, std::shared_ptr<RangedCall>> calls;

  // Of calls to registries with a bound, until they are over and have nothing open.
  struct Slots {
    std::string registry;
    int share = 0;
    SlotShare::Use use;
  };
  std::map<fetch::UpstreamPort::CallId, Slots> slots;

  // Connections that the call may open now: counted as open until they are given back.
  int TakeSlots(fetch::UpstreamPort::CallId id, int wanted);
  void GiveSlots(fetch::UpstreamPort::CallId id, int count);
  void Wish(fetch::UpstreamPort::CallId id, int connections);
  void TellUse(fetch::UpstreamPort::CallId id);

  int TakeRooms(int wanted);
  void GiveRooms(int count);
  void Remove(fetch::UpstreamPort::CallId id);
};

class RangedCall : public std::enable_shared_from_this<RangedCall> {
 public:
  using CallId = fetch::UpstreamPort::CallId;
  using LaneId = RangePlan::LaneId;

  RangedCall(std::shared_ptr<RangedShared> shared, CallId id, fetch::UpstreamRef ref,
             const Digest& digest, Bytes end, RangePlan::Limits limits, bool bounded,
             std::shared_ptr<fetch::ByteSink> sink);

  void Start(Bytes offset);
  // The sink hears no more.
  void Cancel();

  // It may have so many connections now; only of a registry with a bound.
  void OnShare(int connections);
  // A connection of such a registry is closed.
  void OnClosed();

  // Of a lane's answer, each on a thread of its own.
  void OnTurn();
  bool OnStart(LaneId lane, Bytes size, Bytes offset);
  bool OnBytes(LaneId lane, ByteSpan bytes);
  void OnDone(LaneId lane, Status status);

 private:
  struct Lane {
    std::optional<CallId> call;
    bool open = false;
  };
  // What a lane brought before its turn. Holds a room until it is handed on.
  struct Early {
    Bytes begin;
    std::string bytes;
  };
  // What is to be done when the lock is no longer held.
  struct Todo {
    std::vector<RangePlan::Ask> asks;
    std::vector<CallId> cancels;
    std::shared_ptr<fetch::ByteSink> sink;  // hears `status`, and nothing after it
    Status status = Ok();
    bool remove = false;
  };

  // All with the lock held.
  bool HandOn(ByteSpan bytes);
  void HandOnEarly();
  void AskMore(Todo& todo);
  void End(Status status, Todo& todo);

  void Carry(Todo todo);
  void Open(const RangePlan::Ask& ask);

  const std::shared_ptr<RangedShared> shared_;
  const CallId id_;
  const fetch::UpstreamRef ref_;
  const Digest digest_;
  const RangePlan::Limits limits_;
  const bool bounded_;

  std::mutex mutex_;  // held while the sink is called, so that it hears one thing at a time
  Bytes end_;         // -1 until the size is known, if all of it is asked for
  Bytes size_;
  std::shared_ptr<fetch::ByteSink> sink_;  // owners: the asker and this; null when it is over
  RangePlan plan_;
  std::map<LaneId, Lane> lanes_;
  std::map<LaneId, Early> early_;
  Bytes handed_on_;
  bool stopped_ = false;  // the sink wants no more
  bool turn_told_ = false;
  std::optional<RangePlan::Ask> first_;  // waits for a slot
};

}  // namespace shoal::proxy
