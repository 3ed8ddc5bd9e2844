// A UDP socket in a multicast group on every interface that suits, as interfaces come and go.
#pragma once

#include <netinet/in.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <variant>

#include "base/result.h"
#include "index/record.h"

namespace shoal::index {

// More than a host has real networks; and Linux lets a socket join 20 groups.
inline constexpr std::size_t kInterfacesMax = 16;

// Used by one thread. Non-blocking.
class MulticastSocket {
 public:
  // group  an IPv4 or IPv6 multicast address and a port; several sockets of one host may share it.
  // Errors: kInvalid for another address, kRetryLater or kDenied from the system, kUnsupported
  //         where there is no IPv6.
  static Result<MulticastSocket> Open(const Endpoint& group);
  ~MulticastSocket();
  MulticastSocket(MulticastSocket&& other) noexcept;
  MulticastSocket& operator=(MulticastSocket&&) = delete;

  // Joins on interfaces that are new: up, with an address of the group's kind, and able to
  // multicast; loopback only where there is no other. Returns whether there were any.
  bool Rescan();
  // Sends on every interface joined; returns on how many it could. No route is needed.
  int Send(std::string_view datagram);
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::set<std::string> InterfaceNames() const;

 private:
  using Group = std::variant<sockaddr_in, sockaddr_in6>;
  MulticastSocket(int fd, const Group& group) : fd_(fd), group_(group) {}
  bool Join(int interface, bool in);
  bool SendOn(int interface, std::string_view datagram);

  int fd_;
  Group group_;                        // and the port
  std::map<int, std::string> joined_;  // by interface index
};

}  // namespace shoal::index
