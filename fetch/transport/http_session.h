// HttpSession: one connection, from its first byte to its FIN. All of it on one loop thread.
//
// A coroutine reads a request, hands it to the handler, waits for the answer, sends it, and goes
// on. One timer guards whatever it waits for. While it waits for a handler or a gate it also
// watches whether the client is still there.
#pragma once

#include <utility>  // before Asio 1.74, which forgets it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include <memory>
#include <string>
#include <vector>

#include "fetch/transport/channel.h"
#include "fetch/transport/http_server.h"

namespace shoal::fetch {

class DataLoop;

class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(DataLoop& loop, int fd, std::string remote, bool refused);
  ~HttpSession();

  void Start();
  // Ends between requests; now if it is there.
  void FinishSoon();
  // Ends wherever it is.
  void Cut();

 private:
  using Executor = boost::asio::io_context::executor_type;
  template <class T>
  using Task = boost::asio::awaitable<T, Executor>;
  using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
  using Clock = std::chrono::steady_clock;
  using Timer = boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, Executor>;

  struct Request;
  struct Sending;

  Task<void> Run();
  Task<bool> Handshake();
  // Whether another request may follow.
  Task<bool> ServeOne();
  // Returns 0 when a request was read, -1 when the connection is over, else an HTTP status.
  Task<int> ReadRequest(Request& request);
  Task<bool> WaitForFirstByte();
  Task<std::optional<HttpReply>> Ask(Request& request);
  Task<bool> Refuse(int status);
  // The connection leaves us.
  Task<void> HandOver(HttpReply& reply);
  Task<bool> Send(HttpReply& reply, bool head_only, bool keep_alive);
  Task<bool> SendBody(Sending& sending);
  Task<bool> SendTexts(Sending& sending);
  Task<bool> SendFilePart(Sending& sending, const BodyPart& part);
  Task<bool> WaitForGate(Sending& sending, Bytes offset);
  // Waits until bytes of at most `wanted`, which become sending.allowed, may go out.
  Task<bool> AwaitTurn(Sending& sending, Bytes wanted);
  Task<bool> Flush();
  Task<void> Linger();

  // Waits for the socket. False when the time is over, or the session is cut.
  Task<bool> WaitFor(Io::Want want, Clock::time_point deadline);
  // Waits for Wake(). False also when the client has gone.
  Task<bool> WaitForWake(Clock::time_point deadline);
  // False when the session is cut.
  Task<bool> SleepUntil(Clock::time_point when);
  void Wake();
  void Guard(Clock::time_point deadline);
  void ArmTimer(Clock::time_point when);
  void OnTimer();
  void WatchClient();
  [[nodiscard]] bool over() const { return cut_ || expired_; }
  [[nodiscard]] const HttpServer::Limits& limits() const;

  DataLoop& loop_;
  Socket socket_;
  Timer timer_;
  Timer wake_;
  std::unique_ptr<Channel> channel_;
  boost::beast::flat_buffer in_;
  std::string remote_;
  Clock::time_point deadline_ = Clock::time_point::max();
  Clock::time_point armed_ = Clock::time_point::max();
  bool refused_;
  bool idle_ = false;       // between requests
  bool finishing_ = false;  // no further request
  bool cut_ = false;
  bool expired_ = false;
  bool woken_ = false;
  bool watching_ = false;
  bool gone_ = false;
  bool ended_ = false;  // only the farewell is left
  bool given_ = false;  // handed over
};

}  // namespace shoal::fetch
