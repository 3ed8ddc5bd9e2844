// A loop that a test runs on its own thread, for as long as it waits for something.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "base/executor.h"

namespace shoal::index {

class TestLoop : public Executor {
 public:
  void Post(std::function<void()> work) override {
    // Told under the lock: the test may end as soon as it has the work.
    const std::scoped_lock lock(mutex_);
    queue_.push_back(std::move(work));
    ready_.notify_one();
  }

  // Runs what is posted until `done` holds, which nothing posted may tell of: it is looked at every
  // few milliseconds. Returns whether it came to that. `done` may call it again.
  bool RunUntil(const std::function<bool()>& done,
                std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    const auto end = std::chrono::steady_clock::now() + patience;
    while (!done()) {
      if (std::chrono::steady_clock::now() >= end) return false;
      std::function<void()> work;
      {
        std::unique_lock lock(mutex_);
        if (!ready_.wait_for(lock, kLook, [&] { return !queue_.empty(); })) continue;
        work = std::move(queue_.front());
        queue_.pop_front();
      }
      work();
    }
    return true;
  }

  // Waits until `count` messages wait. None of them is run.
  bool WaitFor(std::size_t count, std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex_);
    return ready_.wait_for(lock, patience, [&] { return queue_.size() >= count; });
  }

  void RunWhatWaits() {
    std::deque<std::function<void()>> work;
    {
      const std::scoped_lock lock(mutex_);
      work.swap(queue_);
    }
    for (auto& one : work) one();
  }

 private:
  static constexpr std::chrono::milliseconds kLook{5};

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> queue_;
};

}  // namespace shoal::index
