// Registrations: what an index server knows. docs/PROTOCOL.md, "Index server (rendezvous)".
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "index/cookie.h"
#include "index/namespaces.h"
#include "index/record.h"
#include "index/registration_rows.h"
#include "index/rendezvous_status.h"
#include "index/slab.h"

namespace shoal::index {

// What no configuration may go beyond: docs/PROTOCOL.md.
inline constexpr Duration kTtlMin = std::chrono::seconds(5);
inline constexpr Duration kTtlMax = std::chrono::hours(72);

struct RegistrationLimits {
  std::size_t peers_max = 100'000;     // about 1 KiB each
  std::size_t total_max = 10'000'000;  // 60 to 110 bytes each
  std::size_t per_peer_max = 10'000;   // blobs that one host fetches or holds and tells about
  int discover_max = 1000;             // records an answer: at most 4 MiB
  Duration ttl_min = kTtlMin;
  Duration ttl_max = kTtlMax;
  Duration ttl_default = std::chrono::hours(2);  // for those who name none
};

// Rules
// - A registration is one peer's under one namespace, until its TTL has passed; to the second, and
//   not less. A peer has one record, its newest, under all its namespaces.
// - Requests of a peer must come with growing `sent`, and records with a sequence that does not
//   fall: what was seen before can not be said again by others. From a peer that has nothing here
//   `sent` must be within kClockApart of our clock.
// - Each registration that is new, or has a new record, gets the next number. A cookie names the
//   number up to which its owner has seen; DISCOVER with it gives what came after, oldest first. So
//   pages and increments are the same thing. Numbers and the secret outlive restarts, and so
//   cookies do.
// - DISCOVER without a namespace gives each peer once.
// - Expired registrations and records are never given out.
// - What is to be kept comes out as rows (TakeRows); fed to Load* they bring back the same.
class Registrations {
 public:
  static constexpr Duration kClockApart = std::chrono::hours(1);
  // How many are dropped by one OnDeadline: about 1 ms of work.
  static constexpr std::size_t kDroppedAtOnce = 2000;

  Registrations(RegistrationLimits limits, const CookieSecret& secret);

  struct Request {
    std::vector<std::string> namespaces;
    SignedRecord record;
    std::optional<Duration> ttl;  // not for Unregister
    std::int64_t sent_ms = 0;
  };
  struct Taken {
    RendezvousError error;
    Duration ttl{0};  // the bounded one
    // Namespaces where a peer is new, or says something new of itself: worth waking who waits.
    std::vector<std::string> news;
  };
  // All namespaces are taken, or none.
  Taken Register(Time now, WallTime wall, const Request& request);
  // What is not there is no error.
  RendezvousError Unregister(Time now, WallTime wall, const Request& request);

  struct Found {
    std::shared_ptr<const std::string> envelope;  // immutable; owners: we, and answers
    Duration ttl;                                 // what is left
  };
  struct Answer {
    RendezvousError error;
    std::vector<Found> found;
    std::string cookie;
  };
  // name    "" for all peers.
  // limit   1 to limits.discover_max.
  // cookie  "" at first.
  [[nodiscard]] Answer Discover(Time now, WallTime wall, const std::string& name, int limit,
                                std::string_view cookie) const;

  // Drops what has expired, at most kDroppedAtOnce. May be called at any time.
  void OnDeadline(Time now);
  // Not later than the next expiry.
  [[nodiscard]] Time NextDeadline() const;

  // What changed since the last call, in order.
  std::vector<Row> TakeRows();
  // Rows of an earlier life, in the order of their keys, before anything else is called.
  // Returns whether the row is still of use. Errors: kCorrupt.
  Result<bool> Load(Time now, WallTime wall, std::string_view key, std::string_view value);
  void Loaded();

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::size_t peer_count() const { return by_id_.size(); }
  [[nodiscard]] std::size_t namespace_count() const { return spaces_.size(); }
  void CheckInvariants() const;

 private:
  using Tick = std::uint32_t;  // whole seconds of Time
  struct Entry {               // 40 bytes
    std::uint64_t number = 0;
    Tick expires = 0;
    Handle peer = kNoHandle;
    Handle space = kNoHandle;
    Handle previous = kNoHandle;  // in the space, by number
    Handle next = kNoHandle;
    Handle slot_previous = kNoHandle;  // in the slot of the wheel
    Handle slot_next = kNoHandle;
  };
  struct Peer {
    PeerId id;
    std::shared_ptr<const std::string> envelope;
    WallTime expires;
    std::uint64_t sequence = 0;
    std::uint64_t saying = 0;  // of what the record says, besides its sequence and expiry
    std::uint64_t number = 0;
    std::int64_t sent_ms = 0;
    std::uint32_t count = 0;
  };

  [[nodiscard]] RendezvousError Check(WallTime wall, const Request& request) const;
  [[nodiscard]] bool HasRoom(Handle peer, const std::vector<std::string>& packed) const;
  Handle TakePeer(const Request& request, bool& is_record_new, bool& says_new);
  bool Put(Time now, WallTime wall, Handle peer, const std::string& packed, bool is_record_new,
           Tick expires);
  void Drop(Handle entry);
  void DropPeer(Handle peer);
  [[nodiscard]] Handle Find(Handle peer, Handle space) const;
  [[nodiscard]] std::uint64_t HashOf(Handle entry) const;
  void Append(Handle entry);
  void Unlink(Handle entry);
  void Wind(Handle entry);
  void Unwind(Handle entry);
  [[nodiscard]] Handle After(const Namespaces::Space& space, Handle handle,
                             const Cookie& cookie) const;
  void DiscoverPeers(WallTime wall, int limit, Cookie& cookie, Answer& answer) const;
  void DiscoverSpace(Time now, WallTime wall, const std::string& packed, int limit, Cookie& cookie,
                     Answer& answer) const;
  void PutPeerRow(Handle peer);
  Result<bool> LoadPeer(const PeerRow& row);
  Result<bool> LoadEntry(Time now, WallTime wall, const EntryRow& row);

  RegistrationLimits limits_;
  CookieSecret secret_;
  std::uint64_t next_number_ = 1;
  std::uint64_t stored_number_ = 0;
  Namespaces spaces_;
  Slab<Peer> peers_;
  std::unordered_map<PeerId, Handle> by_id_;
  std::map<std::uint64_t, Handle> by_number_;  // peers
  Slab<Entry> entries_;
  HandleTable table_;          // entries by peer and space
  std::vector<Handle> wheel_;  // entries by the second in which they expire
  Tick turned_ = 0;            // all that expired up to here is dropped
  std::vector<Row> rows_;
  std::vector<Handle> unsorted_;  // spaces, while rows are loaded
};

}  // namespace shoal::index
