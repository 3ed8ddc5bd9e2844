// ServerSession: all that an agent has at one index server: its registrations, how far it has read
// each room, its askings about swarms. On the io thread.
#pragma once

#include "index/net/io_thread.h"  // <utility> before Asio

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "index/net/gate.h"
#include "index/peer_index.h"
#include "index/rendezvous/server_link.h"
#include "index/rendezvous/swarm_asker.h"
#include "index/signing_key.h"

namespace shoal::index {

// Rules
// - Keys are given and taken by the owner. Rooms are registered with `ttl`, again when our record
//   changes and at half of it; other keys with `blob_ttl`.
// - Rooms are asked for what is new all the time: the server waits for up to sync_interval until
//   there is something. Several are asked one after the other at each Tick.
// - A server that has forgotten us (it refuses our cookie) is told everything at once.
// - After a failure, which is told once, everything begins anew when it is used again.
class ServerSession : public std::enable_shared_from_this<ServerSession> {
 public:
  struct Options {
    Duration sync_interval;
    Duration ttl;
    Duration blob_ttl;
  };
  struct Ports {
    boost::asio::io_context& context;
    std::shared_ptr<Gate> gate;  // to the io thread; shut when the owner stops
    const SigningKey& key;
    // Our record, once there is one.
    std::function<const std::optional<SignedRecord>&()> self;
    std::function<void(std::vector<SignedRecord> records)> on_records;
    // Brings records, then answers, to those who wait.
    std::function<void(std::vector<SignedRecord> records, std::function<void()> answers)> deliver;
    // A request was answered as it should be; or the server failed.
    std::function<void()> on_works;
    std::function<void(const std::string& text)> on_failed;
  };
  ServerSession(std::unique_ptr<ServerLink> link, Options options, Ports ports, Rng rng);
  // After construction.
  void Start();
  void Stop();

  [[nodiscard]] const ServerLink& link() const { return *link_; }

  void Add(const Key& key, bool is_room);
  // Takes it back from the server too.
  void Withdraw(const Key& key);
  // Uses it here no longer; what is registered ends by itself.
  void Leave(const Key& key);
  // Our record has changed.
  void OnSelf();
  // Asks for rooms, unless that is under way, and registers what is due.
  void Tick();
  // Whether it answers at all, and as it should: on_works or on_failed follows.
  void Probe();

  // done: once, on the io thread; the records of others than us.
  void Resolve(const Key& key, std::function<void(std::vector<SignedRecord>)> done);
  void AskSwarm(const SwarmAsk& ask, PeerIndex::OnSwarm done) { asker_->Ask(ask, std::move(done)); }

 private:
  struct Registered {
    bool is_room = false;
    std::optional<Time> due;  // nullopt: now
  };

  ServerLink::OnAnswer OnIo(std::function<void(const Result<ServerAnswer>&)> handler);
  bool SendSwarm(SwarmRequest request, const ServerLink::OnAnswer& done);
  void Discover();
  void DiscoverNext(Duration wait);
  void OnDiscovered(const Key& room, int life, const Result<ServerAnswer>& answer);
  void AskAgain();
  void Flush();
  void OnChanged(RendezvousVerb verb, const std::vector<Key>& names, Time due, int life,
                 std::uint64_t sequence, const Result<ServerAnswer>& answer);
  Time DueAfter(Time now, std::optional<Duration> ttl);
  std::string Trouble(const RendezvousError& error) const;
  void Forgotten();
  void Fail(const std::string& text, int life);
  [[nodiscard]] std::vector<Key> Rooms() const;

  std::unique_ptr<ServerLink> link_;
  const Options options_;
  const Ports ports_;
  Rng rng_;
  boost::asio::steady_timer poll_timer_;
  std::shared_ptr<SwarmAsker> asker_;  // owners: we; its timers hold it weakly
  int life_ = 0;  // grows with each failure; answers of earlier ones are dropped
  bool stopped_ = false;
  std::map<Key, Registered> registered_;  // what we want there
  std::set<Key> withdrawn_;
  std::map<Key, std::string> cookies_;
  std::vector<Key> to_ask_;
  bool discovering_ = false;
  bool flushing_ = false;
  std::int64_t last_sent_ms_ = 0;
  std::int64_t last_swarm_sent_ms_ = 0;
};

}  // namespace shoal::index
