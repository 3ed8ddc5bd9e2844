// EventStream: containerd's announcements that images or content changed.
//
// What exactly changed is not read: 1.6 tells of no content at all, so a change always means
// listing again, which costs containerd milliseconds.
#pragma once

#include <github.com/containerd/containerd/api/services/events/v1/events.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "base/time.h"
#include "fetch/containerd/calls.h"
#include "fetch/containerd/session.h"

namespace shoal::fetch {

// For one thread. Calls::Cancel ends it from another.
class EventStream {
 public:
  enum class Heard {
    kChange,   // an image or a blob of our namespace came, went or changed
    kNothing,  // the wait is over
    kEnd,      // containerd went away, or Cancel
  };

  explicit EventStream(Session& session);
  ~EventStream();
  EventStream(const EventStream&) = delete;
  EventStream& operator=(const EventStream&) = delete;

  // Listens for at most `wait`.
  Heard Next(Duration wait);
  // Why it ended. Only after kEnd.
  [[nodiscard]] const grpc::Status& status() const { return status_; }

 private:
  void OnEnd();

  std::string name_space_;
  grpc::CompletionQueue queue_;
  Call call_;
  containerd::services::events::v1::Events::Stub stub_;
  containerd::services::events::v1::Envelope envelope_;  // being read into
  std::unique_ptr<grpc::ClientAsyncReader<containerd::services::events::v1::Envelope>> reader_;
  bool started_ = false;
  bool ended_ = false;
  grpc::Status status_;
};

}  // namespace shoal::fetch
