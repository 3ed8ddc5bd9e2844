// A UDP socket in a multicast group on every interface that suits, as interfaces come and go.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/result.h"
#include "index/record.h"

namespace shoal::index {

// More than a host has real networks; and Linux lets a socket join 20 groups.
inline constexpr std::size_t kInterfacesMax = 16;

// Used by one thread. Non-blocking.
class MulticastSocket {
 public:
  // group  an IPv4 multicast address and a port; several sockets of one host may share it.
  // Errors: kInvalid for another address, kRetryLater or kDenied from the system.
  static Result<MulticastSocket> Open(const Endpoint& group);
  ~MulticastSocket();
  MulticastSocket(MulticastSocket&& other) noexcept;
  MulticastSocket& operator=(MulticastSocket&&) = delete;

  // Joins on interfaces that are new: up, with an IPv4 address, and able to multicast; loopback
  // only where there is no other. Returns whether there were any.
  bool Rescan();
  // Sends on every interface joined; returns on how many it could. No route is needed.
  int Send(std::string_view datagram);
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::string InterfaceNames() const;

 private:
  MulticastSocket(int fd, std::uint32_t group, std::uint16_t port)
      : fd_(fd), group_(group), port_(port) {}

  int fd_;
  std::uint32_t group_;  // network byte order
  std::uint16_t port_;
  std::map<int, std::string> joined_;  // by interface index
};

}  // namespace shoal::index
