// LogPage: what one index server says of its own log, signed by it, so that others can pass it on.
// docs/FEDERATION.md; docs/PROTOCOL.md, "Federation".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "index/rendezvous_status.h"
#include "index/signing_key.h"
#include "index/verified_records.h"

namespace shoal::index {

inline constexpr std::size_t kLogPageBytesMax = std::size_t{4} << 20;
inline constexpr std::size_t kLogPeersMax = 1000;      // of a page that is read
inline constexpr std::size_t kLogEntriesMax = 10'000;  // likewise
inline constexpr std::size_t kLogPagesMax = 100;       // of an answer
inline constexpr std::size_t kFederatedMax = 64;       // servers
inline constexpr std::size_t kServerUrlBytesMax = 300;

// All of the log after one number and up to another, as it stood when the page was made.
struct LogPage {
  struct Peer {
    PeerId id;
    RecordPtr record;  // null when whoever has read up to `after` has it
    // Namespaces in which it is, until when in Unix seconds, and in which it is no longer.
    std::vector<std::pair<std::string, std::int64_t>> in;
    std::vector<std::string> out;
  };
  PeerId server;
  std::uint64_t epoch = 0;  // 1 to 2^53; a later log of the server has a higher one
  std::uint64_t after = 0;  // 0: a snapshot begins
  std::uint64_t cursor = 0;
  bool more = false;  // there was more when it was made
  std::vector<Peer> peers;
  // Read only: records that did not verify, and their peers with them.
  std::size_t refused = 0;
};

// A page as it is sent, by its server or by another: the exact bytes that were signed.
struct SignedPage {
  LogPage page;
  std::string text;
  PublicKey key;
  Signature signature{};
};
using PagePtr = std::shared_ptr<const SignedPage>;  // immutable; owners: all who pass it on

// As encoded in a page: the record's envelope, in place of page.peers[n].record.
struct PageToSign {
  LogPage page;
  std::vector<std::shared_ptr<const std::string>> envelopes;  // of each peer; null: only its id
};
PagePtr SignPage(PageToSign to_sign, const SigningKey& key);

// What a server answers when it is asked for a log.
std::string EncodePages(const std::vector<PagePtr>& pages);
struct PagesOrError {
  RendezvousError error;
  std::vector<PagePtr> pages;  // in order; all of the server's log
};
// Each page is verified: signed by the key whose id is `server`, and all of it read, but for
// records that do not verify, which are left out.
// Errors: kExhausted, kInvalid, kDenied when a page is not the server's.
Result<PagesOrError> DecodePages(std::string_view text, const PeerId& server,
                                 const ReadRecord& read);

// How far a server has read whom, and whom it knows.
struct ServerLine {
  PeerId id;
  std::string url;       // "" of who answers
  bool is_ours = false;  // in its own list: whoever follows it follows this one too
  std::uint64_t epoch = 0;
  std::uint64_t cursor = 0;
  std::int64_t heard_s = 0;        // ago
  std::int64_t registrations = 0;  // of that server
  bool works = false;              // it answers
};
std::string EncodeServers(const std::vector<ServerLine>& servers);
// Errors: kExhausted, kInvalid. The first is who answers.
Result<std::vector<ServerLine>> DecodeServers(std::string_view text);

}  // namespace shoal::index
