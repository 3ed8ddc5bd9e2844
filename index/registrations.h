// Registrations: what an index server knows. docs/PROTOCOL.md, "Index server (rendezvous)".
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "index/record.h"

namespace shoal::index {

// The status words of the libp2p rendezvous specification.
enum class RendezvousStatus {
  kOk,
  kInvalidNamespace,
  kInvalidRecord,
  kInvalidTtl,
  kInvalidCookie,
  kNotAuthorized,
  kInternalError,
  kUnavailable,
};
// "OK", "E_INVALID_NAMESPACE" and so on.
std::string_view ToString(RendezvousStatus status);

struct RendezvousError {
  RendezvousStatus status = RendezvousStatus::kOk;
  std::string text;  // for people
  [[nodiscard]] bool ok() const { return status == RendezvousStatus::kOk; }
};

inline constexpr Duration kTtlMin = std::chrono::seconds(5);
inline constexpr Duration kTtlMax = std::chrono::hours(72);
inline constexpr std::size_t kNamespaceBytesMax = 255;
inline constexpr std::size_t kCookieBytesMax = 64;

struct RegistrationLimits {
  std::size_t peers_max = 20'000;
  std::size_t total_max = 1'000'000;  // about 300 MB
  std::size_t per_peer_max = 10'000;  // blobs that one host fetches or holds and tells about
  int discover_max = 1000;            // records an answer: at most 4 MiB
};

// 1 to kNamespaceBytesMax bytes of printable ASCII without spaces.
bool IsNamespace(std::string_view name);

// Rules
// - A registration is one peer's under one namespace, until its TTL (kTtlMin to kTtlMax) has
// passed.
//   A peer has one record, its newest, under all its namespaces.
// - Requests of a peer must come with growing `sent`, and records with a sequence that does not
//   fall: what was seen before can not be said again by others.
// - Each registration that is new, or has a new record, gets the next number. A cookie names the
//   number up to which its owner has seen; DISCOVER with it gives what came after, oldest first. So
//   pages and increments are the same thing. A cookie of another life of the server is refused, and
//   the asker begins anew.
// - Expired registrations and records are never given out.
class Registrations {
 public:
  // epoch  random at each start.
  Registrations(RegistrationLimits limits, std::uint64_t epoch);

  struct Request {
    std::vector<std::string> namespaces;
    SignedRecord record;
    Duration ttl{0};  // not for Unregister
    std::int64_t sent_ms = 0;
  };
  // `ttl` is set to the bounded one. All namespaces are taken, or none.
  RendezvousError Register(Time now, WallTime wall, const Request& request, Duration& ttl);
  RendezvousError Unregister(Time now, const Request& request);

  struct Found {
    SignedRecord record;
    Duration ttl;  // what is left
  };
  struct Answer {
    RendezvousError error;
    std::vector<Found> found;
    std::string cookie;
  };
  // limit   1 to limits.discover_max.
  // cookie  "" at first.
  Answer Discover(Time now, WallTime wall, const std::string& name, int limit,
                  std::string_view cookie) const;

  // Drops what has expired. May be called at any time.
  void OnDeadline(Time now);
  [[nodiscard]] Time NextDeadline() const;

  [[nodiscard]] std::size_t size() const { return expiries_.size(); }
  [[nodiscard]] std::size_t peer_count() const { return peers_.size(); }
  void CheckInvariants() const;

 private:
  struct Registration {
    std::uint64_t number = 0;
    Time expires;
  };
  struct Namespace {
    std::unordered_map<PeerId, Registration> by_peer;
    std::map<std::uint64_t, PeerId> by_number;
  };
  struct Peer {
    SignedRecord record;
    std::int64_t sent_ms = 0;
    std::size_t registrations = 0;
  };
  using Namespaces = std::map<std::string, Namespace, std::less<>>;

  [[nodiscard]] RendezvousError Check(const Request& request) const;
  void Put(Namespaces::iterator space, const PeerId& peer, bool is_record_new, Time expires);
  void Remove(Namespaces::iterator space, const PeerId& peer);

  RegistrationLimits limits_;
  std::uint64_t epoch_;
  std::uint64_t next_number_ = 1;
  Namespaces namespaces_;
  std::unordered_map<PeerId, Peer> peers_;
  // All registrations; the names are those of namespaces_.
  std::set<std::tuple<Time, std::string_view, PeerId>> expiries_;
};

}  // namespace shoal::index
