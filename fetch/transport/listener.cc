#include "fetch/transport/listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace shoal::fetch {
namespace {

index::Endpoint EndpointOf(const sockaddr_storage& address, socklen_t size) {
  char host[NI_MAXHOST] = "";
  char port[NI_MAXSERV] = "0";
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof host, port,
              sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  std::string text(host);
  if (text.starts_with("::ffff:")) text.erase(0, 7);
  return {text, static_cast<std::uint16_t>(std::atoi(port))};  // NOLINT: getnameinfo wrote it
}

Error CannotListen(const index::Endpoint& at, const std::string& name, int error) {
  const std::string what = "the " + name + " cannot listen on " + index::ToString(at) + ": ";
  const std::string key = name + ".listen";
  switch (error) {
    case EADDRINUSE:
      return {Code::kExhausted,
              what + "the address is in use; stop what listens there or set " + key};
    case EACCES:
      return {Code::kDenied,
              what + "this port needs privileges; set " + key + " to a port from 1024 on"};
    case EADDRNOTAVAIL:
      return {Code::kInvalid,
              what + "it is no address of this host; set " + key + " to one that is"};
    case EMFILE:
    case ENFILE:
      return {Code::kExhausted, what + "too many open files; raise LimitNOFILE"};
    default:
      return {Code::kInvalid, what + std::strerror(error) + "; set " + key};  // NOLINT: at start
  }
}

}  // namespace

Result<Listener> Listen(const index::Endpoint& at, const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  const std::string host = at.host == "localhost" ? "127.0.0.1" : at.host;
  addrinfo* found = nullptr;
  if (host.empty() ||
      getaddrinfo(host.c_str(), std::to_string(at.port).c_str(), &hints, &found) != 0) {
    return Error{Code::kInvalid, "the " + name + " cannot listen on " + index::ToString(at) +
                                     ": the host must be an IP address; set " + name + ".listen"};
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> address(found, freeaddrinfo);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return CannotListen(at, name, errno);
  const int on = 1;
  const int off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (found->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(fd, found->ai_addr, found->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
    const int error = errno;
    close(fd);
    return CannotListen(at, name, error);
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
  return Listener{fd, {at.host, EndpointOf(bound, size).port}};
}

Accepted AcceptOne(int listener) {
  sockaddr_storage from{};
  socklen_t size = sizeof from;
  const int fd =
      accept4(listener, reinterpret_cast<sockaddr*>(&from), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    return {-1, "", errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM};
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return {fd, index::ToString(EndpointOf(from, size)), false};
}

}  // namespace shoal::fetch
