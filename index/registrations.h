// Registrations: what an index server knows. docs/PROTOCOL.md, "Index server (rendezvous)".
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "index/cookie.h"
#include "index/log_page.h"
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
  std::size_t peers_max = 125'000;       // about 1 KiB each
  std::size_t total_max = 10'000'000;    // 70 to 140 bytes each
  std::size_t per_peer_max = 10'000;     // blobs that one host fetches or holds and tells about
  std::size_t tombstones_max = 100'000;  // about 150 bytes each
  int discover_max = 1000;               // records an answer: at most 4 MiB
  Duration ttl_min = kTtlMin;
  Duration ttl_max = kTtlMax;
  Duration ttl_default = std::chrono::hours(2);  // for those who name none
};

// Whose word a registration is: ours, or that of another server, of whose log we keep a copy.
using Owner = std::uint16_t;
inline constexpr Owner kOurOwner = 0;

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
//
// Rules of federation (docs/FEDERATION.md)
// - What another server has registered is its claim, beside ours and those of others on the same
//   peer and namespace; nobody's word changes another's. What is told is one registration, until
//   the last claim on it ends, with the newest record.
// - Our own claims are a log: each that is made, extended or taken back gets the next number. What
//   was taken back is remembered until it would have ended, limits.tombstones_max at most.
// - A peer or registration of a copy for which there is no room is left out.
class Registrations {
 public:
  // Entries that one Sweep looks at: about 2 ms.
  static constexpr std::size_t kSweptAtOnce = 100'000;
  static constexpr Duration kClockApart = std::chrono::hours(1);
  // How many are dropped by one OnDeadline: about 1 ms of work.
  static constexpr std::size_t kDroppedAtOnce = 2000;

  // epoch  of our log, 1 to 2^53.
  Registrations(RegistrationLimits limits, const CookieSecret& secret, std::uint64_t epoch = 1);

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

  // Our log after a number, as it stands: see LogPage.
  struct LogLimits {
    std::size_t peers_max = 500;
    std::size_t entries_max = 2000;
  };
  [[nodiscard]] PageToSign Log(Time now, WallTime wall, std::uint64_t epoch, std::uint64_t after,
                               const LogLimits& limits) const;
  // Whether Log has something to tell; else a page after that number would be empty.
  [[nodiscard]] bool HasLog(std::uint64_t epoch, std::uint64_t after) const;
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] std::uint64_t log_end() const { return log_end_; }

  // Copies of other servers' logs. A number that DropCopy was called with comes back from AddCopy
  // some time.
  Owner AddCopy();
  // One of an earlier life, of which nothing may be left. After Loaded.
  void UseCopy(Owner owner);
  // What is put from here on replaces what the copy has when EndSnapshot is called.
  void BeginSnapshot(Owner owner);
  void EndSnapshot(Owner owner);
  struct Copied {
    std::vector<std::string> news;  // as in Taken
    std::size_t left_out = 0;       // registrations, for which there is no room
    std::size_t unknown = 0;        // registrations of whom we should know, and do not
  };
  Copied PutCopied(Time now, WallTime wall, Owner owner, const LogPage::Peer& peer);
  void DropCopy(Owner owner);
  // Goes on with what EndSnapshot and DropCopy left to be removed. Returns whether there is more.
  bool Sweep(Time now, WallTime wall);
  // Whether nothing of the copy waits for that.
  [[nodiscard]] bool IsSwept(Owner owner) const;
  // Copies of which there is something here, after Loaded.
  [[nodiscard]] std::vector<Owner> copies() const;
  // Registrations that are this server's word.
  [[nodiscard]] std::size_t CountOf(Owner owner) const;

  // For people: peers in an order that lasts, from a number on.
  struct Shown {
    std::uint64_t number = 0;
    std::shared_ptr<const std::string> envelope;
    Owner owner = kOurOwner;  // where it registered last
    std::uint32_t registrations = 0;
  };
  [[nodiscard]] std::vector<Shown> Peers(std::uint64_t after, std::size_t limit) const;

  // What changed since the last call, in order.
  std::vector<Row> TakeRows();
  // How rows of an earlier life come back, before anything else is called: each is read and, in the
  // order of the keys, loaded.
  struct ReadRow {  // as long as its texts live
    std::string_view key;
    std::string_view value;
    EntryRowView entry;      // of a registration
    std::uint64_t hash = 0;  // likewise, of its name
  };
  // Any thread, while others are loaded. Errors: kCorrupt.
  [[nodiscard]] Result<ReadRow> Read(std::string_view key, std::string_view value) const;
  // Adds to `useless` the keys of rows that are of no use any more. Errors: kCorrupt.
  Status Load(Time now, WallTime wall, std::span<const ReadRow> rows,
              std::vector<std::string_view>& useless);
  // There may come as many registrations.
  void ExpectRows(std::size_t rows);
  // Ends the loading; by two pieces of work that touch nothing of each other's, so that `both` may
  // do them at the same time.
  using Both = std::function<void(const std::function<void()>&, const std::function<void()>&)>;
  void Loaded(const Both& both = InTurn);

  [[nodiscard]] std::size_t size() const { return entries_.size(); }
  [[nodiscard]] std::size_t peer_count() const { return by_id_.size(); }
  [[nodiscard]] std::size_t namespace_count() const { return spaces_.size(); }
  void CheckInvariants() const;

 private:
  void CheckLog() const;
  using Tick = std::uint32_t;  // whole seconds of Time
  struct Entry {               // 56 bytes
    std::uint64_t number = 0;
    std::uint64_t logged = 0;  // its number in our log; 0: we claim nothing
    Tick expires = 0;          // of the claim that lasts longest
    Handle peer = kNoHandle;
    Handle space = kNoHandle;
    Handle previous = kNoHandle;  // in the space, by number
    Handle next = kNoHandle;
    Handle slot_previous = kNoHandle;  // in the slot of the wheel
    Handle slot_next = kNoHandle;
    Handle log_previous = kNoHandle;  // in our log
    Handle log_next = kNoHandle;
    Owner owner = kOurOwner;      // of the only claim
    std::uint8_t generation = 0;  // of the only claim
    bool is_shared = false;       // there are several claims, all of them in claims_
  };
  struct Claim {
    Owner owner = kOurOwner;
    std::uint8_t generation = 0;  // of the copy
    Tick expires = 0;
  };
  struct Peer {
    PeerId id;
    std::shared_ptr<const std::string> envelope;
    WallTime expires;
    std::uint64_t sequence = 0;
    std::uint64_t saying = 0;  // of what the record says, besides its sequence and expiry
    std::uint64_t number = 0;
    std::int64_t sent_ms = 0;
    std::uint64_t logged = 0;  // in our log, the number with which its record was new
    Owner owner = kOurOwner;   // who told its record
    std::uint32_t count = 0;
    std::uint32_t ours = 0;  // of which so many are in our log
  };
  struct Tombstone {
    std::uint64_t number = 0;
    Tick expires = 0;
    PeerId id;
    std::string name;  // packed
  };
  struct Copy {
    bool is_used = false;
    std::uint8_t generation = 0;
    std::size_t count = 0;  // claims
  };
  struct Sweeping {
    Owner owner = kOurOwner;
    std::optional<std::uint8_t> keep;  // claims of this generation; nullopt: none
    Handle at = 0;
  };

  [[nodiscard]] RendezvousError Check(WallTime wall, const Request& request) const;
  [[nodiscard]] bool HasRoom(Handle peer, const std::vector<std::string>& packed) const;
  Handle TakePeer(Owner owner, const SignedRecord& record, bool& is_record_new, bool& says_new);
  bool Put(Time now, WallTime wall, Handle peer, const std::string& packed, bool is_record_new,
           const Claim& claim);
  void Drop(Handle entry);
  // Several claims on one registration.
  [[nodiscard]] std::vector<Claim> ClaimsOf(Handle entry) const;
  [[nodiscard]] std::optional<Claim> FindClaim(Handle entry, Owner owner) const;
  void SetClaims(Handle entry, std::vector<Claim> claims);
  void SetClaim(Time now, Handle entry, const Claim& claim);
  // The registration goes with its last claim.
  void DropClaim(Time now, WallTime wall, Handle entry, Owner owner);
  void AppendToLog(Handle entry, std::uint64_t number);
  void UnlinkFromLog(Handle entry);
  [[nodiscard]] Handle LogAfter(std::uint64_t number) const;
  void Bury(Time now, WallTime wall, Handle entry, Tick expires);
  void DropTombstones(Time now);
  void PutEntryRow(Time now, WallTime wall, Handle entry);
  [[nodiscard]] bool HasRoomForCopy(bool is_new_peer, Handle peer) const;
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
  static void InTurn(const std::function<void()>& one, const std::function<void()>& other);
  Result<bool> LoadPeer(const PeerRow& row);
  // Returns how many of the rows were registrations: those at the front.
  std::size_t LoadEntries(Time now, WallTime wall, std::span<const ReadRow> rows,
                          std::vector<std::string_view>& useless);
  Handle LoadEntry(Time now, WallTime wall, const ReadRow& row);
  Result<bool> LoadOther(Time now, WallTime wall, const ReadRow& row);
  Result<bool> LoadTombstone(Time now, WallTime wall, const TombstoneRow& row);
  // By number, of type std::uint64_t(const Entry&); entries without one, 0, are left out.
  template <class Number>
  [[nodiscard]] std::vector<Handle> InOrder(const Number& number) const;
  void LinkSpaces();
  void LinkLog();

  RegistrationLimits limits_;
  CookieSecret secret_;
  std::uint64_t epoch_;
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
  std::unordered_map<Handle, std::vector<Claim>> claims_;  // of shared entries, two or more each
  std::vector<Copy> copies_;                               // by owner; ours is the first
  std::deque<Sweeping> sweeps_;
  Handle log_first_ = kNoHandle;
  Handle log_last_ = kNoHandle;
  std::uint64_t log_end_ = 0;         // the last number given in it
  std::uint64_t floor_ = 0;           // who has read up to here, or further, lacks no tombstone
  std::deque<Tombstone> tombstones_;  // by number
  // Where pages of Log have ended: the next is asked for soon.
  mutable std::map<std::uint64_t, Handle> log_hints_;
};

}  // namespace shoal::index
