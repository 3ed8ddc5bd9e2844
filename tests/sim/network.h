// Network: how fast bytes move, and what gets through.
//
// A flow is the bytes of one answer on their way from a link's sending end to another's receiving
// end. The flows of a link share it max-min fairly: each gets the link's water level, unless the
// other end or a cap of its own gives it less, and what those leave is for the rest. A change works
// on the flows at the two ends first; whoever is touched noticeably by it is worked out again, in
// turn. TCP's own dynamics are not modelled, nor headers: rates are of payload.
//
// Progress is lazy: a flow's bytes are brought up to date when its rate changes or somebody asks.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "tests/sim/engine.h"

namespace shoal::sim {

using LinkId = std::uint32_t;
using FlowId = std::uint32_t;

inline constexpr FlowId kNoFlow = ~FlowId{0};
inline constexpr double kUncapped = 1e30;
inline constexpr double kFull = 0.98;  // of a link's rate: what comes to it waits

class Network {
 public:
  explicit Network(Engine& engine) : engine_(engine) {}

  // rate: bytes a second, in one direction.
  LinkId AddLink(double rate);
  void SetRate(LinkId link, double rate);
  [[nodiscard]] double rate(LinkId link) const { return links_[link].rate * 1e6; }
  [[nodiscard]] std::size_t flows(LinkId link) const { return links_[link].flows.size(); }
  // Its flows fill it, so that what comes to it waits in a queue.
  [[nodiscard]] bool Full(LinkId link) const;

  // user: whose flow it is, given back when a mark is reached. cap: bytes a second.
  FlowId Start(LinkId from, LinkId to, double cap, std::uint32_t user);
  void Stop(FlowId flow);
  // A blocked flow neither moves nor takes a share.
  void SetBlocked(FlowId flow, bool blocked);
  // An event comes when so many bytes of the flow have moved.
  void SetMark(FlowId flow, Bytes mark);
  [[nodiscard]] Bytes Moved(FlowId flow);
  [[nodiscard]] std::uint32_t user(FlowId flow) const { return flows_[flow].user; }

  // For EventKind::kFlow. Returns whether the mark is reached; the flow goes on.
  bool OnEvent(FlowId flow, std::uint32_t turn);
  // Works out the rates that changed. To be called before time moves on.
  void Settle();
  [[nodiscard]] bool settled() const { return dirty_from_ == dirty_.size(); }

  // No link is above its rate and none of its flows starves. For checkers; slow.
  void CheckInvariants() const;

 private:
  struct Link {
    double rate = 0;   // bytes a microsecond, as all rates in here
    double level = 0;  // what a flow may have here
    double told = 0;   // the level that the other ends last reckoned with
    bool dirty = false;
    std::vector<FlowId> flows;
  };
  struct Flow {
    LinkId from = 0;
    LinkId to = 0;
    std::uint32_t at_from = 0;  // place in the links' lists
    std::uint32_t at_to = 0;
    std::uint32_t user = 0;
    std::uint32_t turn = 0;  // of the event that counts
    double cap = 0;
    double rate = 0;
    double moved = 0;
    double mark = 0;
    Time updated{};
    Time event_at = kNever;
    bool blocked = false;
    bool listed = false;  // in the lists of its links
  };

  void Enlist(FlowId id);
  void Delist(FlowId id);
  void Remove(LinkId link, std::uint32_t at);
  void Touch(LinkId link);
  void Advance(Flow& flow) const;
  void Rerate(FlowId id, double rate);
  void Plan(FlowId id);
  void WorkOut(LinkId link);
  [[nodiscard]] double Bound(const Flow& flow, LinkId here) const;

  Engine& engine_;
  std::vector<Link> links_;
  Pool<Flow> flows_;
  std::vector<LinkId> dirty_;
  std::size_t dirty_from_ = 0;  // those before are worked out
  std::vector<double> bounds_;  // scratch
};

}  // namespace shoal::sim
