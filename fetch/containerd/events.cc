#include "fetch/containerd/events.h"

#include <grpc/support/time.h>

#include <algorithm>

namespace shoal::fetch {

namespace {

namespace events_api = containerd::services::events::v1;

events_api::SubscribeRequest Topics() {
  events_api::SubscribeRequest request;
  request.add_filters(R"(topic~="^/images/")");
  request.add_filters(R"(topic~="^/content/")");  // 2.1 and later
  return request;
}

gpr_timespec In(Duration wait) {
  const auto us = std::max<Duration::rep>(wait.count(), 0);
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(us, GPR_TIMESPAN));
}

}  // namespace

// Only one operation is ever under way, so one tag is enough.
EventStream::EventStream(Session& session)
    : name_space_(session.name_space()),
      call_(session.calls(), "", Duration::max()),
      stub_(session.channel()),
      reader_(stub_.AsyncSubscribe(call_.context(), Topics(), &queue_, this)) {}

EventStream::~EventStream() {
  call_.context()->TryCancel();
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

EventStream::Heard EventStream::Next(Duration wait) {
  const gpr_timespec deadline = In(wait);
  while (!ended_) {
    void* tag = nullptr;
    bool ok = false;
    if (queue_.AsyncNext(&tag, &ok, deadline) != grpc::CompletionQueue::GOT_EVENT) {
      return Heard::kNothing;
    }
    if (!ok) {
      OnEnd();
      break;
    }
    const bool ours = started_ && envelope_.namespace_() == name_space_;
    started_ = true;
    reader_->Read(&envelope_, this);
    if (ours) return Heard::kChange;
  }
  return Heard::kEnd;
}

void EventStream::OnEnd() {
  ended_ = true;
  reader_->Finish(&status_, this);
  void* tag = nullptr;
  bool ok = false;
  queue_.Next(&tag, &ok);
}

}  // namespace shoal::fetch
