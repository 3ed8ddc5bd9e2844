// PeerIndex: the port behind which lan, rendezvous, dht and static stand.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/time.h"
#include "index/record.h"
#include "index/swarm_table.h"

namespace shoal::index {

// What is advertised under: `room/<name>` or `blob/sha256:<hex>`. At most 255 bytes.
using Key = std::string;
Key RoomKey(std::string_view room);
Key BlobKey(const Digest& digest);

// Shown by `shoal status` as it is.
struct PeerIndexStatus {
  std::string kind;    // "lan", "rendezvous", "static", "dht"
  std::string target;  // group, URL or endpoints
  bool ok = false;
  std::string text;  // the last trouble, or what it is doing
  // Of a DHT: nodes in its routing table, and endpoints that were dialled because it named them.
  std::optional<int> nodes;
  std::int64_t dials = 0;
};

// All methods are called on the loop thread; all callbacks arrive there.
class PeerIndex {
 public:
  using OnRecord = std::function<void(SignedRecord)>;
  // Somebody that has no record yet answers at this endpoint (static configuration).
  using OnEndpoint = std::function<void(Endpoint)>;
  using OnResolved = std::function<void(std::vector<SignedRecord>)>;

  using OnSwarm = std::function<void(std::optional<SwarmAnswer>)>;

  virtual ~PeerIndex() = default;

  // Advertises our record under our rooms from now on, in place of the one before. Called again
  // whenever the record or `head` changes; `head` is the sequence of our inventory's last entry,
  // carried where the index can, so that others learn of news early.
  virtual void Advertise(const SignedRecord& self, std::uint64_t epoch, std::uint64_t head) = 0;

  // Advertises us under `key` too, until Withdraw or the end. Kinds that cannot do nothing.
  virtual void AdvertiseKey(const Key& key) = 0;
  virtual void Withdraw(const Key& key) = 0;

  // Asks who advertises under `key`. `done` is called once, with what was found by `timeout`.
  virtual void Resolve(const Key& key, Duration timeout, OnResolved done) = 0;

  // Asks the arbiter behind this index, where there is one, about a blob's swarm (`ask.peer` is
  // us, whatever it says). `done` is called once, within a second: with the answer, after the
  // records of members that came with it went to OnRecord; with nullopt when nobody answers. Kinds
  // without an arbiter call it at once.
  virtual void AskSwarm(const SwarmAsk& ask, OnSwarm done);

  [[nodiscard]] virtual PeerIndexStatus status() const = 0;
};

}  // namespace shoal::index
