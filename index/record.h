// Record: a peer's signed statement of who it is, where it listens, and until when that holds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "base/time.h"
#include "index/signing_key.h"

namespace shoal::index {

// Where a peer can be dialled: an IPv4 or IPv6 literal or a host name, and a port.
struct Endpoint {
  std::string host;        // without brackets
  std::uint16_t port = 0;  // 1 to 65535
  auto operator<=>(const Endpoint&) const = default;
};

// Parses "10.0.0.1:7381", "[fe80::1]:7381", "host.example:7381".
Result<Endpoint> ParseEndpoint(std::string_view text);
// The same form; brackets for IPv6.
std::string ToString(const Endpoint& endpoint);

inline constexpr std::size_t kRecordBytesMax = 4096;  // of the encoded envelope
inline constexpr std::size_t kEndpointsMax = 16;
inline constexpr std::size_t kRoomsMax = 16;
inline constexpr std::string_view kOpenRoom = "open";

struct Record {
  PublicKey key;
  std::string name;                 // for people; at most 64 bytes, printable
  std::vector<Endpoint> endpoints;  // at most kEndpointsMax
  std::vector<std::string> rooms;   // at most kRoomsMax
  std::uint64_t sequence = 0;       // a later record has a higher one, over restarts too
  WallTime expires;

  [[nodiscard]] PeerId id() const { return PeerIdOf(key); }
};

// A record and the exact bytes that were signed. Only made by Sign and Parse, so it always verifies.
class SignedRecord {
 public:
  static SignedRecord Sign(const Record& record, const SigningKey& key);

  // Reads the JSON envelope of docs/PROTOCOL.md ("Records").
  //
  // Errors  kExhausted over kRecordBytesMax, kInvalid for a wrong form, kDenied for a signature
  //         that is not the key's. Expiry is not looked at: see Roster.
  static Result<SignedRecord> Parse(std::string_view envelope);

  [[nodiscard]] const Record& record() const { return record_; }
  [[nodiscard]] const PeerId& id() const { return id_; }
  [[nodiscard]] const std::string& envelope() const { return envelope_; }

 private:
  SignedRecord() = default;

  Record record_;
  PeerId id_;
  std::string envelope_;
};

}  // namespace shoal::index
