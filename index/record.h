// Record: a peer's signed statement of who it is, where it listens, and until when that holds.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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
  // The peer is not there itself: this relay is, through which it is reached.
  std::optional<PeerId> relay = std::nullopt;
  auto operator<=>(const Endpoint&) const = default;
};

// Parses "10.0.0.1:7381", "[fe80::1]:7381", "host.example:7381".
Result<Endpoint> ParseEndpoint(std::string_view text);
// "<id of the relay>@10.0.0.1:7381".
Result<Endpoint> ParseRelayed(std::string_view text);
// The same forms; brackets for IPv6.
std::string ToString(const Endpoint& endpoint);

inline constexpr std::size_t kRecordBytesMax = 4096;  // of the encoded envelope
inline constexpr std::size_t kEndpointsMax = 16;
inline constexpr std::size_t kRelaysMax = 4;
inline constexpr std::size_t kRoomsMax = 16;
inline constexpr std::size_t kPeerNameBytesMax = 64;
inline constexpr std::size_t kRoomNameBytesMax = 64;
// Whole numbers that every JSON reader keeps exact. Source: RFC 8259, section 6.
inline constexpr std::int64_t kJsonIntMax = std::int64_t{1} << 53;
inline constexpr std::string_view kOpenRoom = "open";

struct Record {
  PublicKey key;
  std::string name;                 // for people; at most 64 bytes, printable
  std::vector<Endpoint> endpoints;  // at most kEndpointsMax, none through a relay
  std::vector<Endpoint> relays;     // at most kRelaysMax, each through one
  std::vector<std::string> rooms;   // at most kRoomsMax
  std::uint64_t sequence = 0;       // a later record has a higher one, over restarts too
  WallTime expires;                 // kept in whole milliseconds

  [[nodiscard]] PeerId id() const { return PeerIdOf(key); }
};

// Whether a record keeps the limits of docs/PROTOCOL.md ("Records") and fits into an envelope.
// For what people configure, before it is signed. Errors: kInvalid, naming the member.
Status Valid(const Record& record);
// 1 to 64 bytes of a-z 0-9 . _ -
bool IsRoomName(std::string_view room);

// A record and the exact bytes that were signed. Only made by Sign and Parse, so it always
// verifies.
class SignedRecord {
 public:
  // The record must be Valid and carry `key`'s public key.
  static SignedRecord Sign(const Record& record, const SigningKey& key);

  // Reads the JSON envelope of docs/PROTOCOL.md ("Records").
  //
  // Errors  kExhausted over kRecordBytesMax, kInvalid for a wrong form, kDenied for a signature
  //         that is not the key's. Expiry is not looked at: see Roster.
  static Result<SignedRecord> Parse(std::string_view envelope);

  [[nodiscard]] const Record& record() const { return content_->record; }
  [[nodiscard]] const PeerId& id() const { return content_->id; }
  [[nodiscard]] const std::string& envelope() const { return content_->envelope; }

 private:
  struct Content {
    Record record;
    PeerId id;
    std::string envelope;
  };
  explicit SignedRecord(Content content)
      : content_(std::make_shared<const Content>(std::move(content))) {}

  std::shared_ptr<const Content> content_;  // owners: the copies of this
};

}  // namespace shoal::index
