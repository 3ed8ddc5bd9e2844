// Which of the addresses that strangers name may be dialled for them.
#pragma once

#include <optional>
#include <string>

#include "index/record.h"

namespace shoal::agent {

// What DialBound counts by: an IPv4 address, or the /64 of an IPv6 one.
//
// Returns  nullopt for what is not to be dialled. A name could stand for any address, and for
//          another one each time; loopback, link-local (a cloud's metadata service is there),
//          multicast, broadcast and unspecified addresses are this host's or its link's own
//          matter; an IPv4 address written as an IPv6 one would be counted twice.
std::optional<std::string> NetworkToDial(const index::Endpoint& endpoint);

}  // namespace shoal::agent
