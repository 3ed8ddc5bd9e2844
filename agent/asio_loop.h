// AsioLoop: the loop thread that owns every core.
#pragma once

#include <utility>
// <utility> first: Asio 1.74 with g++ 12 forgets it.
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <thread>

#include "base/executor.h"

namespace shoal::agent {

class AsioLoop final : public Loop {
 public:
  AsioLoop();
  ~AsioLoop() override;  // as Stop

  void Start();
  // Runs what is queued, then joins the thread. Timers are dropped.
  void Stop();
  [[nodiscard]] bool running() const { return thread_.joinable(); }

  void Post(std::function<void()> work) override;
  [[nodiscard]] Time Now() const override;
  [[nodiscard]] WallTime Wall() const override;
  void After(Duration delay, std::function<void()> work) override;

  // Runs `work` on the loop and waits for what it returns. Not from the loop itself.
  template <class Work>
  auto Ask(Work work) -> decltype(work());

 private:
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_;
  std::thread thread_;
};

}  // namespace shoal::agent

#include <future>

namespace shoal::agent {

template <class Work>
auto AsioLoop::Ask(Work work) -> decltype(work()) {
  std::promise<decltype(work())> answer;
  auto future = answer.get_future();
  Post([&] { answer.set_value(work()); });
  return future.get();
}

}  // namespace shoal::agent
