#include "registry-proxy/upstream/ranged_call.h"

#include <algorithm>
#include <utility>

namespace shoal::proxy {
namespace {

class LaneSink : public fetch::ByteSink {
 public:
  // slot  to be given back when this goes: with the last thing that the client knows of the call.
  LaneSink(std::shared_ptr<RangedCall> call, RangePlan::LaneId lane, bool slot)
      : call_(std::move(call)), lane_(lane), slot_(slot) {}
  ~LaneSink() override {
    if (slot_) call_->OnClosed();
  }
  LaneSink(const LaneSink&) = delete;
  LaneSink& operator=(const LaneSink&) = delete;

  void OnTurn() override { call_->OnTurn(); }
  bool OnStart(Bytes blob, Bytes offset) override { return call_->OnStart(lane_, blob, offset); }
  bool OnBytes(ByteSpan bytes) override { return call_->OnBytes(lane_, bytes); }
  void OnDone(Status status) override { call_->OnDone(lane_, std::move(status)); }

 private:
  std::shared_ptr<RangedCall> call_;  // owners: its connections' sinks, and RangedShared
  RangePlan::LaneId lane_;
  bool slot_;
};

}  // namespace

int RangedShared::TakeRooms(int wanted) {
  const std::lock_guard lock(mutex);
  const int taken = std::clamp(rooms, 0, wanted);
  rooms -= taken;
  return taken;
}

void RangedShared::GiveRooms(int count) {
  const std::lock_guard lock(mutex);
  rooms += count;
}

int RangedShared::TakeSlots(fetch::UpstreamPort::CallId id, int wanted) {
  const std::lock_guard lock(mutex);
  const auto found = slots.find(id);
  if (found == slots.end() || found->second.use.over) return 0;
  SlotShare::Use& use = found->second.use;
  const int taken = std::clamp(found->second.share - use.open, 0, wanted);
  use.open += taken;
  use.begun = use.begun || taken > 0;
  return taken;
}

void RangedShared::GiveSlots(fetch::UpstreamPort::CallId id, int count) {
  const std::lock_guard lock(mutex);
  if (const auto found = slots.find(id); found != slots.end()) found->second.use.open -= count;
}

void RangedShared::Wish(fetch::UpstreamPort::CallId id, int connections) {
  {
    const std::lock_guard lock(mutex);
    const auto found = slots.find(id);
    if (found == slots.end() || found->second.use.wish == connections) return;
    found->second.use.wish = connections;
  }
  TellUse(id);
}

void RangedShared::TellUse(fetch::UpstreamPort::CallId id) {
  std::string registry;
  {
    const std::lock_guard lock(mutex);
    const auto found = slots.find(id);
    if (found == slots.end() || stopping) return;
    registry = found->second.registry;
    const SlotShare::Use& use = found->second.use;
    if (use.over && use.open == 0) slots.erase(found);
  }
  if (ports.on_use) ports.on_use(id, registry);
}

void RangedShared::Remove(fetch::UpstreamPort::CallId id) {
  std::shared_ptr<RangedCall> last;  // goes after the lock
  const std::lock_guard lock(mutex);
  if (const auto found = calls.find(id); found != calls.end()) {
    last = std::move(found->second);
    calls.erase(found);
  }
}

RangedCall::RangedCall(std::shared_ptr<RangedShared> shared, CallId id, fetch::UpstreamRef ref,
                       const Digest& digest, Bytes end, RangePlan::Limits limits, bool bounded,
                       std::shared_ptr<fetch::ByteSink> sink)
    : shared_(std::move(shared)),
      id_(id),
      ref_(std::move(ref)),
      digest_(digest),
      limits_(limits),
      bounded_(bounded),
      end_(end),
      sink_(std::move(sink)),
      plan_(limits) {}

void RangedCall::Start(Bytes offset) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    handed_on_ = offset;
    todo.asks.push_back(plan_.Start(offset));
    // The first stream asks for what was asked for, which may have an end.
    if (end_ >= Bytes(0)) todo.asks.back().end = end_;
    lanes_[todo.asks.back().lane].open = true;
    if (bounded_) {
      plan_.SetMost(1);
      first_ = todo.asks.back();
      todo.asks.clear();
    }
  }
  Carry(std::move(todo));
  if (bounded_) shared_->TellUse(id_);
}

void RangedCall::OnShare(int connections) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    if (!sink_) return;
    plan_.SetMost(std::max(1, connections));
    AskMore(todo);
  }
  Carry(std::move(todo));
}

void RangedCall::OnClosed() {
  shared_->GiveSlots(id_, 1);
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    if (sink_ && !stopped_) AskMore(todo);
  }
  Carry(std::move(todo));
  shared_->TellUse(id_);
}

void RangedCall::OnTurn() {
  // Once is enough: from then on its own time runs.
  const std::lock_guard lock(mutex_);
  if (sink_ && !turn_told_) sink_->OnTurn();
  turn_told_ = true;
}

void RangedCall::Cancel() {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    if (sink_) {
      sink_.reset();
      End(Ok(), todo);
    }
  }
  Carry(std::move(todo));
}

bool RangedCall::OnStart(LaneId lane, Bytes size, Bytes offset) {
  const std::lock_guard lock(mutex_);
  if (!sink_) return false;
  if (size_ > Bytes(0)) return size == size_ && plan_.PositionOf(lane) == offset;
  size_ = size;
  end_ = end_ < Bytes(0) ? size : std::min(end_, size);
  plan_.OnSize(end_);
  stopped_ = !sink_->OnStart(size, offset);
  return !stopped_;
}

bool RangedCall::OnBytes(LaneId lane, ByteSpan bytes) {
  Todo todo;
  bool more = false;
  {
    const std::lock_guard lock(mutex_);
    const auto at = plan_.PositionOf(lane);
    if (!sink_ || stopped_ || !at) return false;
    bool done = false;
    const Bytes count(static_cast<std::int64_t>(bytes.size()));
    const Bytes taken = plan_.OnBytes(shared_->ports.now(), lane, count, &done);
    const ByteSpan mine = bytes.first(static_cast<std::size_t>(taken.count()));
    if (*at == handed_on_) {
      if (!HandOn(mine)) return false;
      HandOnEarly();
      if (stopped_) return false;
    } else {
      early_[lane].bytes.append(AsText(mine));
    }
    // A stream that asked for everything and was cut short has to be ended by us.
    more = taken == count && !(done && lanes_[lane].open && *at + taken < end_);
    AskMore(todo);
  }
  Carry(std::move(todo));
  return more;
}

void RangedCall::OnDone(LaneId lane, Status status) {
  Todo todo;
  {
    const std::lock_guard lock(mutex_);
    lanes_.erase(lane);
    if (!sink_) return;
    if (stopped_) {
      End(Error{Code::kCancelled, "the transfer is no longer wanted"}, todo);
    } else if (size_ == Bytes(0) && status.ok()) {
      End(std::move(status), todo);  // an empty blob
    } else if (plan_.PositionOf(lane) || (!status.ok() && size_ == Bytes(0))) {
      if (status.ok())
        status = Error{Code::kRetryLater, "the upstream sent less than was asked for"};
      const bool refused = status.error().code != Code::kRetryLater;
      const bool wait = status.error().retry_after > Duration(0);
      if (wait || size_ == Bytes(0) || !plan_.OnFailed(lane, refused)) {
        End(std::move(status), todo);
      } else {
        AskMore(todo);
      }
    } else if (plan_.Complete() && lanes_.empty()) {
      End(Ok(), todo);
    }
  }
  Carry(std::move(todo));
}

bool RangedCall::HandOn(ByteSpan bytes) {
  handed_on_ += Bytes(static_cast<std::int64_t>(bytes.size()));
  // When it wants no more, all lanes are ended as soon as the end of this one is told.
  stopped_ = !bytes.empty() && !sink_->OnBytes(bytes);
  return !stopped_;
}

void RangedCall::HandOnEarly() {
  for (bool found = true; found;) {
    found = false;
    for (auto it = early_.begin(); it != early_.end(); ++it) {
      if (it->second.begin != handed_on_) continue;
      const std::string bytes = std::move(it->second.bytes);
      early_.erase(it);
      shared_->GiveRooms(1);
      if (!HandOn(AsBytes(std::string_view(bytes)))) return;
      found = true;
      break;
    }
  }
}

void RangedCall::AskMore(Todo& todo) {
  if (bounded_) shared_->Wish(id_, plan_.Wish());
  if (first_) {
    if (shared_->TakeSlots(id_, 1) == 1) todo.asks.push_back(*std::exchange(first_, std::nullopt));
    return;
  }
  if (plan_.lanes() >= limits_.lanes_max) return;
  const int slots = bounded_ ? shared_->TakeSlots(id_, limits_.lanes_max) : limits_.lanes_max;
  if (slots == 0) return;
  const int rooms = shared_->TakeRooms(limits_.lanes_max);
  int used = 0;
  const auto asks = plan_.Next(rooms, slots);
  for (const auto& ask : asks) {
    lanes_[ask.lane].open = !ask.end;
    if (ask.begin > handed_on_) {
      early_[ask.lane].begin = ask.begin;
      ++used;
    }
    todo.asks.push_back(ask);
  }
  shared_->GiveRooms(rooms - used);
  if (bounded_) shared_->GiveSlots(id_, slots - static_cast<int>(asks.size()));
}

void RangedCall::End(Status status, Todo& todo) {
  for (const auto& [id, lane] : lanes_) {
    if (lane.call) todo.cancels.push_back(*lane.call);
  }
  shared_->GiveRooms(static_cast<int>(early_.size()));
  early_.clear();
  todo.sink = std::exchange(sink_, nullptr);
  todo.status = std::move(status);
  todo.remove = true;
  if (!bounded_) return;
  const std::lock_guard lock(shared_->mutex);
  if (const auto found = shared_->slots.find(id_); found != shared_->slots.end()) {
    found->second.use.over = true;
  }
}

void RangedCall::Carry(Todo todo) {
  const auto self = shared_from_this();
  if (todo.sink) todo.sink->OnDone(std::move(todo.status));
  for (const auto call : todo.cancels) shared_->ports.cancel(call);
  for (const auto& ask : todo.asks) Open(ask);
  if (todo.remove) {
    if (bounded_) shared_->TellUse(id_);
    shared_->Remove(id_);
  }
}

void RangedCall::Open(const RangePlan::Ask& ask) {
  {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->stopping) return;
    ++shared_->starting;
  }
  const CallId call =
      shared_->ports.fetch(ref_, digest_, ask.begin, ask.end.value_or(Bytes(-1)), ask.exact,
                           std::make_shared<LaneSink>(shared_from_this(), ask.lane, bounded_));
  bool unwanted = false;
  {
    const std::lock_guard lock(mutex_);
    unwanted = !sink_;
    if (const auto found = lanes_.find(ask.lane); found != lanes_.end()) found->second.call = call;
  }
  if (unwanted) shared_->ports.cancel(call);
  const std::lock_guard lock(shared_->mutex);
  --shared_->starting;
  shared_->none_starts.notify_all();
}

}  // namespace shoal::proxy
