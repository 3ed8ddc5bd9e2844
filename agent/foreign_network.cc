#include "agent/foreign_network.h"

#include <boost/asio/ip/address.hpp>

namespace shoal::agent {
namespace {

bool IsForeign(const boost::asio::ip::address_v4& address) {
  const auto bytes = address.to_bytes();
  const bool is_link_local = bytes[0] == 169 && bytes[1] == 254;
  const bool is_broadcast = address == boost::asio::ip::address_v4::broadcast();
  // 0.0.0.0/8 is "this network", which Linux takes for this host in part.
  return bytes[0] != 0 && !address.is_loopback() && !address.is_multicast() && !is_link_local &&
         !is_broadcast;
}

bool IsForeign(const boost::asio::ip::address_v6& address) {
  return !address.is_unspecified() && !address.is_loopback() && !address.is_multicast() &&
         !address.is_link_local() && !address.is_v4_mapped() && address.scope_id() == 0;
}

}  // namespace

std::optional<std::string> NetworkToDial(const index::Endpoint& endpoint) {
  boost::system::error_code wrong;
  const auto address = boost::asio::ip::make_address(endpoint.host, wrong);
  if (wrong) return std::nullopt;
  if (address.is_v4()) {
    if (!IsForeign(address.to_v4())) return std::nullopt;
    return address.to_string();
  }
  if (!IsForeign(address.to_v6())) return std::nullopt;
  const auto bytes = address.to_v6().to_bytes();
  return std::string(bytes.begin(), bytes.begin() + 8);
}

}  // namespace shoal::agent
