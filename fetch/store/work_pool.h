// WorkPool: the threads that hash and write, so that neither the loop nor the data threads wait.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/executor.h"

namespace shoal::fetch {

class WorkPool final : public Executor {
 public:
  explicit WorkPool(int threads);
  ~WorkPool() override;  // runs what is queued, then joins

  void Post(std::function<void()> work) override;

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace shoal::fetch
