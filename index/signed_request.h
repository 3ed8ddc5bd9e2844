// What a peer signs for one index server. docs/PROTOCOL.md, "Index server (rendezvous)".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "index/rendezvous_status.h"
#include "index/verified_records.h"

namespace shoal::index {

inline constexpr std::size_t kRendezvousRequestBytesMax = std::size_t{64} << 10;

struct SignedRequest {
  RecordPtr record;
  std::int64_t sent_ms = 0;
  Json payload;  // what was signed
};

// Adds verb, server and time to `payload`, signs it by the record's key, and puts the record beside
// it.
std::string EncodeSigned(std::string_view verb, Json payload, std::int64_t sent_ms,
                         const PeerId& server, const SignedRecord& record, const SigningKey& key);

struct SignedRequestOrError {
  RendezvousError error;
  std::optional<SignedRequest> request;  // when there is no error
};
// Verified: it was signed by the record's key, for this verb and this server.
//
// shown  whose key the connection has proved to be at its other end. When that is the record's, the
//        request is its owner's word as it is, and its signature is not verified (0.1 ms).
SignedRequestOrError DecodeSigned(std::string_view text, std::string_view verb,
                                  const PeerId& server, const ReadRecord& read,
                                  const std::optional<PeerId>& shown);

}  // namespace shoal::index
