#include "index/lan/multicast_socket.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace shoal::index {
namespace {

Error Trouble(const std::string& what) {
  const int number = errno;
  const auto code = number == EACCES || number == EPERM ? Code::kDenied : Code::kRetryLater;
  return {code, "LAN: cannot " + what + ": " + std::generic_category().message(number)};
}

bool Set(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// By index. Loopback only where nothing else suits.
std::map<int, std::string> SuitableInterfaces() {
  std::map<int, std::string> out;
  std::map<int, std::string> loopback;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return out;
  for (const ifaddrs* it = list; it != nullptr; it = it->ifa_next) {
    if (it->ifa_addr == nullptr || it->ifa_addr->sa_family != AF_INET) continue;
    if ((it->ifa_flags & IFF_UP) == 0) continue;
    const int index = static_cast<int>(::if_nametoindex(it->ifa_name));
    if (index == 0) continue;
    if ((it->ifa_flags & IFF_LOOPBACK) != 0) {
      loopback[index] = it->ifa_name;
    } else if ((it->ifa_flags & IFF_MULTICAST) != 0 && out.size() < kInterfacesMax) {
      out[index] = it->ifa_name;
    }
  }
  ::freeifaddrs(list);
  return out.empty() ? loopback : out;
}

}  // namespace

Result<MulticastSocket> MulticastSocket::Open(const Endpoint& group) {
  in_addr address{};
  if (::inet_pton(AF_INET, group.host.c_str(), &address) != 1 ||
      !IN_MULTICAST(ntohl(address.s_addr))) {
    return Error{Code::kInvalid,
                 "LAN: lan.group must be an IPv4 multicast address and a port, "
                 "like 239.255.73.80:7385, not " +
                     ToString(group)};
  }
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Trouble("make a UDP socket");
  MulticastSocket out(fd, address.s_addr, group.port);
  // Several agents of one host hear the group, and each other through the loop.
  const bool set = Set(fd, SOL_SOCKET, SO_REUSEADDR, 1) && Set(fd, SOL_SOCKET, SO_REUSEPORT, 1) &&
                   Set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1) &&
                   Set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1) &&
                   // Only what we joined ourselves, not what other programs of the host did.
                   Set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  if (!set) return Trouble("set up a UDP socket");
  // Bound to the group, so that unicast datagrams never reach us.
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_addr = address;
  local.sin_port = htons(group.port);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) {
    return Trouble("listen on " + ToString(group) + " (does another program use the port?)");
  }
  return out;
}

MulticastSocket::MulticastSocket(MulticastSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      group_(other.group_),
      port_(other.port_),
      joined_(std::move(other.joined_)) {}

MulticastSocket::~MulticastSocket() {
  if (fd_ >= 0) ::close(fd_);
}

bool MulticastSocket::Rescan() {
  const auto suitable = SuitableInterfaces();
  ip_mreqn request{};
  request.imr_multiaddr.s_addr = group_;
  std::erase_if(joined_, [&](const auto& entry) {
    if (suitable.contains(entry.first)) return false;
    request.imr_ifindex = entry.first;
    ::setsockopt(fd_, IPPROTO_IP, IP_DROP_MEMBERSHIP, &request, sizeof request);
    return true;
  });
  bool is_new = false;
  for (const auto& [index, name] : suitable) {
    if (joined_.contains(index)) continue;
    request.imr_ifindex = index;
    if (::setsockopt(fd_, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) != 0 &&
        errno != EADDRINUSE) {
      continue;  // gone again, or no memory: the next scan tries once more
    }
    joined_[index] = name;
    is_new = true;
  }
  return is_new;
}

int MulticastSocket::Send(std::string_view datagram) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = group_;
  to.sin_port = htons(port_);
  int sent = 0;
  for (const auto& [index, name] : joined_) {
    ip_mreqn out{};
    out.imr_ifindex = index;
    if (::setsockopt(fd_, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out) != 0) continue;
    const auto n = ::sendto(fd_, datagram.data(), datagram.size(), MSG_DONTWAIT,
                            reinterpret_cast<const sockaddr*>(&to), sizeof to);
    if (n == static_cast<ssize_t>(datagram.size())) ++sent;
  }
  return sent;
}

std::string MulticastSocket::InterfaceNames() const {
  std::string out;
  for (const auto& [index, name] : joined_) out += (out.empty() ? "" : ", ") + name;
  return out;
}

}  // namespace shoal::index
