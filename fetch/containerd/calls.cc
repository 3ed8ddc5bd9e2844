#include "fetch/containerd/calls.h"

#include <chrono>

namespace shoal::fetch {

void Calls::Cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : contexts_) context->TryCancel();
  changed_.notify_all();
}

bool Calls::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

bool Calls::Wait(Duration duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return cancelled_; });
}

void Calls::Add(grpc::ClientContext* context) {
  const std::lock_guard lock(mutex_);
  contexts_.insert(context);
  if (cancelled_) context->TryCancel();
}

void Calls::Remove(grpc::ClientContext* context) {
  const std::lock_guard lock(mutex_);
  contexts_.erase(context);
}

Call::Call(Calls& calls, const std::string& name_space, Duration timeout) : calls_(calls) {
  if (!name_space.empty()) context_.AddMetadata("containerd-namespace", name_space);
  if (timeout != Duration::max()) {
    context_.set_deadline(std::chrono::system_clock::now() + timeout);
  }
  calls_.Add(&context_);
}

Call::~Call() { calls_.Remove(&context_); }

namespace {

Code CodeOf(const grpc::Status& status) {
  // containerd has no code of its own for a full disk.
  if (status.error_message().find("no space left on device") != std::string::npos) {
    return Code::kExhausted;
  }
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND:
      return Code::kNotFound;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return Code::kDenied;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Code::kExhausted;
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::OUT_OF_RANGE:
      return Code::kInvalid;
    case grpc::StatusCode::UNIMPLEMENTED:
      return Code::kUnsupported;
    case grpc::StatusCode::DATA_LOSS:
      return Code::kCorrupt;
    default:
      // Away, slow, cancelled by a restart, or containerd's catch-all UNKNOWN.
      return Code::kRetryLater;
  }
}

}  // namespace

Error ToError(const grpc::Status& status, std::string_view what) {
  const Code code = CodeOf(status);
  return Error{code, "containerd: " + std::string(what) + ": " + status.error_message()};
}

}  // namespace shoal::fetch
