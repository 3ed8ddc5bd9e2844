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
std::map<int, std::string> SuitableInterfaces(int family) {
  std::map<int, std::string> out;
  std::map<int, std::string> loopback;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return out;
  for (const ifaddrs* it = list; it != nullptr; it = it->ifa_next) {
    if (it->ifa_addr == nullptr || it->ifa_addr->sa_family != family) continue;
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
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(group.port);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(group.port);
  Group to;
  if (::inet_pton(AF_INET, group.host.c_str(), &v4.sin_addr) == 1 &&
      IN_MULTICAST(ntohl(v4.sin_addr.s_addr))) {
    to = v4;
  } else if (::inet_pton(AF_INET6, group.host.c_str(), &v6.sin6_addr) == 1 &&
             IN6_IS_ADDR_MULTICAST(&v6.sin6_addr) && !IN6_IS_ADDR_MC_LINKLOCAL(&v6.sin6_addr)) {
    // A link-local one could not be bound to without naming an interface.
    to = v6;
  } else {
    return Error{Code::kInvalid,
                 "LAN: a group must be a multicast address and a port, like 239.255.73.80:7385 or "
                 "[ff15::7368:6f61]:7385, not " +
                     ToString(group)};
  }
  const bool is_v6 = std::holds_alternative<sockaddr_in6>(to);
  const int fd = ::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 && is_v6 && errno == EAFNOSUPPORT) {
    return Error{Code::kUnsupported, "LAN: this host has no IPv6"};
  }
  if (fd < 0) return Trouble("make a UDP socket");
  MulticastSocket out(fd, to);
  // Several agents of one host hear the group, and each other through the loop. Of groups only what
  // we joined ourselves, not what other programs of the host did.
  bool set = Set(fd, SOL_SOCKET, SO_REUSEADDR, 1) && Set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (is_v6) {
    set = set && Set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
          Set(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1) &&
          Set(fd, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1) &&
          Set(fd, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
  } else {
    set = set && Set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 1) &&
          Set(fd, IPPROTO_IP, IP_MULTICAST_LOOP, 1) && Set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
  }
  if (!set) return Trouble("set up a UDP socket");
  // Bound to the group, so that unicast datagrams never reach us.
  const auto bound = std::visit(
      [fd](const auto& local) {
        return ::bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local);
      },
      to);
  if (bound != 0) {
    return Trouble("listen on " + ToString(group) + " (does another program use the port?)");
  }
  return out;
}

MulticastSocket::MulticastSocket(MulticastSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), group_(other.group_), joined_(std::move(other.joined_)) {}

MulticastSocket::~MulticastSocket() {
  if (fd_ >= 0) ::close(fd_);
}

bool MulticastSocket::Join(int interface, bool in) {
  if (const auto* v6 = std::get_if<sockaddr_in6>(&group_)) {
    ipv6_mreq request{};
    request.ipv6mr_multiaddr = v6->sin6_addr;
    request.ipv6mr_interface = static_cast<unsigned int>(interface);
    return ::setsockopt(fd_, IPPROTO_IPV6, in ? IPV6_JOIN_GROUP : IPV6_LEAVE_GROUP, &request,
                        sizeof request) == 0;
  }
  ip_mreqn request{};
  request.imr_multiaddr = std::get<sockaddr_in>(group_).sin_addr;
  request.imr_ifindex = interface;
  return ::setsockopt(fd_, IPPROTO_IP, in ? IP_ADD_MEMBERSHIP : IP_DROP_MEMBERSHIP, &request,
                      sizeof request) == 0;
}

bool MulticastSocket::Rescan() {
  const bool is_v6 = std::holds_alternative<sockaddr_in6>(group_);
  const auto suitable = SuitableInterfaces(is_v6 ? AF_INET6 : AF_INET);
  std::erase_if(joined_, [&](const auto& entry) {
    if (suitable.contains(entry.first)) return false;
    Join(entry.first, false);
    return true;
  });
  bool is_new = false;
  for (const auto& [index, name] : suitable) {
    if (joined_.contains(index)) continue;
    // Gone again, or no memory: the next scan tries once more.
    if (!Join(index, true) && errno != EADDRINUSE) continue;
    joined_[index] = name;
    is_new = true;
  }
  return is_new;
}

bool MulticastSocket::SendOn(int interface, std::string_view datagram) {
  const auto send = [&](const auto& to) {
    return ::sendto(fd_, datagram.data(), datagram.size(), MSG_DONTWAIT,
                    reinterpret_cast<const sockaddr*>(&to),
                    sizeof to) == static_cast<ssize_t>(datagram.size());
  };
  if (const auto* v6 = std::get_if<sockaddr_in6>(&group_)) {
    sockaddr_in6 to = *v6;
    to.sin6_scope_id = static_cast<std::uint32_t>(interface);
    return Set(fd_, IPPROTO_IPV6, IPV6_MULTICAST_IF, interface) && send(to);
  }
  ip_mreqn out{};
  out.imr_ifindex = interface;
  return ::setsockopt(fd_, IPPROTO_IP, IP_MULTICAST_IF, &out, sizeof out) == 0 &&
         send(std::get<sockaddr_in>(group_));
}

int MulticastSocket::Send(std::string_view datagram) {
  int sent = 0;
  for (const auto& [index, name] : joined_) sent += SendOn(index, datagram) ? 1 : 0;
  return sent;
}

std::set<std::string> MulticastSocket::InterfaceNames() const {
  std::set<std::string> names;
  for (const auto& [index, name] : joined_) names.insert(name);
  return names;
}

}  // namespace shoal::index
