// TestLoop: a Loop for tests, on a thread of its own. Its clock can be moved.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/executor.h"

namespace shoal::test {

class TestLoop final : public Loop {
 public:
  // kManual: time stands still but for Advance. kReal: it also runs, for tests with real sockets.
  enum class Clock { kManual, kReal };

  explicit TestLoop(Clock clock = Clock::kManual) : clock_(clock), thread_([this] { Run(); }) {}
  ~TestLoop() override { Stop(); }
  TestLoop(const TestLoop&) = delete;
  TestLoop& operator=(const TestLoop&) = delete;

  // Runs what is queued, drops the timers, and joins.
  void Stop() {
    if (!thread_.joinable()) return;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
    queue_.clear();
    timers_.clear();
  }

  void Post(std::function<void()> work) override {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
    wake_.notify_all();
  }
  [[nodiscard]] Time Now() const override {
    const std::lock_guard lock(mutex_);
    return NowLocked();
  }
  [[nodiscard]] WallTime Wall() const override {
    return WallTime(std::chrono::hours(24 * 365 * 50) + Now().time_since_epoch());
  }
  void After(Duration delay, std::function<void()> work) override {
    const std::lock_guard lock(mutex_);
    timers_.emplace(NowLocked() + delay, std::move(work));
    wake_.notify_all();
  }

  // Moves the clock and waits until all that was due by it has run.
  void Advance(Duration by) {
    {
      const std::lock_guard lock(mutex_);
      moved_ += by;
      wake_.notify_all();
    }
    Settle();
  }
  // Waits until nothing is queued or due.
  void Settle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return !busy_ && queue_.empty() && !AnyDue(); });
  }

  // Runs `work` on the loop and waits for what it returns. Not from the loop itself.
  template <class Work>
  auto Ask(Work work) -> decltype(work()) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto answer = task.get_future();
    Post([&task] { task(); });
    return answer.get();
  }

 private:
  // Not zero, which means nothing.
  static constexpr Time kStart{std::chrono::hours(1)};

  Time NowLocked() const {
    const Time now = kStart + moved_;
    if (clock_ == Clock::kManual) return now;
    return now + std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - made_);
  }
  bool AnyDue() const { return !timers_.empty() && timers_.begin()->first <= NowLocked(); }

  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      std::function<void()> work;
      if (!queue_.empty()) {
        work = std::move(queue_.front());
        queue_.pop_front();
      } else if (stopping_) {
        return;
      } else if (AnyDue()) {
        work = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
      } else {
        idle_.notify_all();
        if (clock_ == Clock::kReal && !timers_.empty()) {
          wake_.wait_for(lock, timers_.begin()->first - NowLocked());
        } else {
          wake_.wait(lock);
        }
        continue;
      }
      busy_ = true;
      lock.unlock();
      work();
      work = nullptr;
      lock.lock();
      busy_ = false;
    }
  }

  const Clock clock_;
  const std::chrono::steady_clock::time_point made_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::deque<std::function<void()>> queue_;
  std::multimap<Time, std::function<void()>> timers_;
  Duration moved_{0};
  bool busy_ = false;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

// What a test waits for: values given by any thread.
template <class T>
class Inbox {
 public:
  void Put(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    came_.notify_all();
  }
  // The oldest value; nullopt when none comes in time.
  std::optional<T> Take(std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    std::unique_lock lock(mutex_);
    if (!came_.wait_for(lock, patience, [this] { return !values_.empty(); })) return std::nullopt;
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable came_;
  std::deque<T> values_;
};

}  // namespace shoal::test
