// The JSON between agents and index servers. docs/PROTOCOL.md, "Index server (rendezvous)".
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "index/record.h"
#include "index/registrations.h"
#include "index/signed_request.h"
#include "index/swarm_request.h"

namespace shoal::index {

inline constexpr std::size_t kNamespacesPerRequestMax = 100;
inline constexpr std::size_t kRendezvousAnswerBytesMax = std::size_t{8} << 20;

enum class RendezvousVerb { kRegister, kUnregister };

// The signature is by the record's key, over the request for this one server.
std::string EncodeRequest(RendezvousVerb verb, const Registrations::Request& request,
                          const PeerId& server, const SigningKey& key);
struct RequestOrError {
  RendezvousError error;
  std::vector<Registrations::Request> request;  // one when there is no error
};
// Verified. `verb` and `server` must be those the request was made for.
RequestOrError DecodeRequest(std::string_view text, RendezvousVerb verb, const PeerId& server,
                             const ReadRecord& read = ReadAnew,
                             const std::optional<PeerId>& shown = std::nullopt);

// {"status": "...", "text": "..."}
std::string EncodeError(const RendezvousError& error);
std::string EncodeRegistered(Duration ttl);
std::string EncodeDiscovered(const std::string& name, const Registrations::Answer& answer);

// An answer of a server; records that do not verify are left out. A failure is the status word
// and its text in `error`.
struct ServerAnswer {
  RendezvousError error;
  Duration ttl{0};                    // of REGISTER
  std::vector<SignedRecord> records;  // of DISCOVER and SWARM
  std::size_t given = 0;              // records, with those left out
  std::string cookie;
  std::vector<std::pair<Digest, SwarmAnswer>> swarms;  // of SWARM
};
// Errors: kExhausted over kRendezvousAnswerBytesMax, kInvalid when it is no answer of a server.
Result<ServerAnswer> DecodeAnswer(std::string_view text, const ReadRecord& read = ReadAnew);

}  // namespace shoal::index
