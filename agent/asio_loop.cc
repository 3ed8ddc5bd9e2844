#include "agent/asio_loop.h"

#include <pthread.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>

namespace shoal::agent {

AsioLoop::AsioLoop() : guard_(io_.get_executor()) {}

AsioLoop::~AsioLoop() { Stop(); }

void AsioLoop::Start() {
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "loop");
    io_.run();
  });
}

void AsioLoop::Stop() {
  if (!thread_.joinable()) return;
  boost::asio::post(io_, [this] { io_.stop(); });
  thread_.join();
}

void AsioLoop::Post(std::function<void()> work) { boost::asio::post(io_, std::move(work)); }

Time AsioLoop::Now() const {
  return Time(
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

WallTime AsioLoop::Wall() const {
  return WallTime(
      std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()));
}

void AsioLoop::After(Duration delay, std::function<void()> work) {
  auto timer = std::make_shared<boost::asio::steady_timer>(io_, delay);
  timer->async_wait([timer, work = std::move(work)](const boost::system::error_code& error) {
    if (!error) work();
  });
}

}  // namespace shoal::agent
