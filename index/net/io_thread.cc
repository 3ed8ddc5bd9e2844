#include "index/net/io_thread.h"

#include <pthread.h>

#include <boost/asio/post.hpp>
#include <chrono>
#include <future>
#include <random>

namespace shoal::index {

IoThread::IoThread(const std::string& name) : guard_(context_.get_executor()) {
  thread_ = std::thread([this] { context_.run(); });
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

IoThread::~IoThread() {
  Post([this] { context_.stop(); });
  thread_.join();
}

void IoThread::Post(std::function<void()> work) { boost::asio::post(context_, std::move(work)); }

void IoThread::Run(const std::function<void()>& work) {
  std::promise<void> done;
  Post([&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

Time SteadyNow() {
  return Time(
      std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

WallTime WallNow() {
  return WallTime(
      std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()));
}

std::uint64_t RandomSeed() {
  std::random_device device;
  return (static_cast<std::uint64_t>(device()) << 32) | device();
}

std::chrono::steady_clock::time_point ToSteady(Time t) {
  // kNever in nanoseconds would overflow; nobody waits for a year.
  const auto most = SteadyNow() + std::chrono::hours(24 * 365);
  return std::chrono::steady_clock::time_point(std::min(t, most).time_since_epoch());
}

}  // namespace shoal::index
