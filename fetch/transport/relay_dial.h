// DialRelay: a TLS connection to a relay that it has turned into a circuit.
#pragma once

#include "fetch/transport/splicer.h"
#include "fetch/transport/splicer_asio.h"

namespace shoal::fetch::splice {

// On the splicer's thread, as Splicer::Dial.
void DialRelay(boost::asio::io_context& io, std::span<std::byte> scratch,
               const index::Endpoint& relay, const std::shared_ptr<SSL_CTX>& context,
               const std::string& target, Duration limit, const Splicer::Dialled& done);

}  // namespace shoal::fetch::splice
