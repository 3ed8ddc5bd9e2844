// IoThread: one thread that waits for the sockets and timers of all index adapters.
#pragma once

#include <utility>  // Asio 1.74 uses std::exchange without including it

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <thread>

#include "base/executor.h"
#include "base/time.h"

namespace shoal::index {

class IoThread : public Executor {
 public:
  // name  of the thread, at most 15 bytes.
  explicit IoThread(const std::string& name = "shoal-index");
  // Runs what is posted, drops what waits, and joins. Adapters that use it are gone before.
  ~IoThread() override;
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  void Post(std::function<void()> work) override;
  // Posts `work` and waits until it has run. Not from the thread itself.
  void Run(const std::function<void()>& work);
  [[nodiscard]] boost::asio::io_context& context() { return context_; }

 private:
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
  std::thread thread_;
};

// The clocks, for adapters.
Time SteadyNow();
WallTime WallNow();
std::uint64_t RandomSeed();
// For timers: `t` on the clock that Asio's steady_timer waits for.
std::chrono::steady_clock::time_point ToSteady(Time t);

}  // namespace shoal::index
