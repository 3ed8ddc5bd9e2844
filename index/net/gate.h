// Gate: a way to an Executor for those who may outlive it.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

#include "base/executor.h"

namespace shoal::index {

// Held by shared_ptr: by the adapter, which shuts it, and by requests in other libraries' threads.
class Gate {
 public:
  explicit Gate(Executor& executor) : executor_(&executor) {}

  // Returns whether the work was posted.
  bool Post(std::function<void()> work) {
    const std::scoped_lock lock(mutex_);
    if (executor_ == nullptr) return false;
    executor_->Post(std::move(work));
    return true;
  }
  // Nothing reaches the executor from here on.
  void Shut() {
    const std::scoped_lock lock(mutex_);
    executor_ = nullptr;
  }

 private:
  std::mutex mutex_;
  Executor* executor_;
};

}  // namespace shoal::index
