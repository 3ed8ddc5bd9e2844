// DataLoop: one data thread, its connections, and what they share.
#pragma once

#include <utility>  // before Asio 1.74, which forgets it

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <atomic>
#include <condition_variable>
#include <ctime>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "fetch/transport/http_server.h"
#include "fetch/transport/reply_slot.h"

namespace shoal::fetch {

class HttpSession;

// How many sessions there are. Thread-safe.
class SessionCount {
 public:
  void Add(bool refused);
  void Remove(bool refused);
  // Counted against Limits::connections_max.
  [[nodiscard]] int served() const;
  // Over that limit, and being told so.
  [[nodiscard]] int refused() const;
  // Returns whether the last one ended within `limit`.
  [[nodiscard]] bool WaitForNone(Duration limit) const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable none_;
  int served_ = 0;
  int refused_ = 0;
};

// What all data threads of a server share. Outlives them.
struct ServerShared {
  HttpServer::Options options;
  HttpServer::Handler handler;
  std::shared_ptr<SSL_CTX> tls;  // null: plain
  SessionCount sessions;
};

class DataLoop {
 public:
  explicit DataLoop(std::shared_ptr<ServerShared> shared);
  ~DataLoop();
  DataLoop(const DataLoop&) = delete;
  DataLoop& operator=(const DataLoop&) = delete;

  boost::asio::io_context& context() { return context_; }
  ServerShared& shared() { return *shared_; }
  [[nodiscard]] const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }

  // From any thread. Takes the descriptor of an accepted, non-blocking socket.
  // refused: over the limit; told so and closed.
  void Adopt(int fd, std::string remote, bool refused);
  [[nodiscard]] int load() const { return load_.load(std::memory_order_relaxed); }
  // From any thread: sessions end after the answers under way, or at once with `cut`.
  void EndSessions(bool cut);
  // Stops and joins the thread. What still waits is destroyed.
  void Join();

  // On the loop thread.
  std::span<std::byte> scratch() { return scratch_; }
  const std::string& date();
  void Remove(HttpSession* session, bool refused);

 private:
  using Work = boost::asio::executor_work_guard<boost::asio::io_context::executor_type>;

  void Start(int fd, std::string remote, bool refused);
  void Run();

  std::shared_ptr<ServerShared> shared_;
  boost::asio::io_context context_{1};
  std::shared_ptr<Mailbox> mailbox_;
  std::atomic<int> load_ = 0;
  std::unordered_set<HttpSession*> sessions_;
  bool ending_ = false;
  bool cutting_ = false;
  std::vector<std::byte> scratch_;
  std::string date_;
  std::time_t date_of_ = 0;
  Work work_;
  std::thread thread_;
};

}  // namespace shoal::fetch
