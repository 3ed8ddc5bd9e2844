// What the parts of the splicer share: sockets and coroutines of its thread.
#pragma once

#include <utility>  // before Asio 1.74, which forgets it

#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <chrono>
#include <span>
#include <string_view>

#include "fetch/transport/channel.h"

namespace shoal::fetch::splice {

using Executor = boost::asio::io_context::executor_type;
template <class T>
using Task = boost::asio::awaitable<T, Executor>;
using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, Executor>;
using Clock = std::chrono::steady_clock;
using Timer = boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, Executor>;
inline constexpr auto kUseTask = boost::asio::use_awaitable_t<Executor>();

// Waits until the socket is ready for it. False when the wait was cancelled, or `over` is set
// before or after it.
Task<bool> WaitFor(Socket& socket, Io::Want want, const bool& over);
// All of `bytes`, and out. False also when the connection is of no use any more.
Task<bool> Put(Socket& socket, Channel& channel, std::string_view bytes, const bool& over);

}  // namespace shoal::fetch::splice
